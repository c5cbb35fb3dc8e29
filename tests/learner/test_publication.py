"""Payloads as they arrive, in the dtype that the config asks for."""

import pytest
import torch

from common.config import ModelConfig
from common.config.model import PayloadDtype
from common.ijepa.model import IJepa
from common.weights import DTYPES, PayloadKind, digest, unpack
from learner.publication import Publisher
from tests.learner.source import Launch, Sink, Source

TINY = ModelConfig(patch_size=4, dim=24, depth=1, heads=2, predictor_dim=12, predictor_depth=1, predictor_heads=2)


def test_fp32_arrives_bit_for_bit_with_the_hash_of_what_the_learner_has() -> None:
    model, sink = IJepa(TINY, (24, 24), seed=1), Sink()
    Publisher(sink, every=0.0, dtype=DTYPES[PayloadDtype.FP32]).publish(model, step=1, health={})
    (info, payloads), *_ = sink.offers
    full, encoder = unpack(payloads[PayloadKind.FULL]), unpack(memoryview(payloads[PayloadKind.ENCODER]))
    own = model.state_dict()
    assert full.keys() == own.keys()
    for name, tensor in own.items():
        assert full[name].dtype == tensor.dtype
        assert torch.equal(full[name].view(torch.uint8), tensor.view(torch.uint8))
    acting = IJepa(TINY, (24, 24), seed=2).target_encoder
    acting.load_state_dict(encoder)
    for there in (encoder, acting.state_dict(), model.target_encoder.state_dict()):
        assert digest(there, torch.float32) == info.digest


@pytest.mark.parametrize("dtype", PayloadDtype)
def test_a_learner_sends_what_its_config_says(launch: Launch, source: Source, dtype: PayloadDtype) -> None:
    learner, sink = launch(payload_dtype=dtype)
    while len(sink.offers) < 2:
        source.write(100)
    learner.close()
    for info, payloads in sink.offers:
        encoder = unpack(payloads[PayloadKind.ENCODER])
        assert {tensor.dtype for tensor in encoder.values() if tensor.is_floating_point()} == {DTYPES[dtype]}
        assert digest(encoder, DTYPES[dtype]) == info.digest
    assert learner.status().versions_acknowledged == len(sink.offers)
