"""Payloads as they arrive, in the dtype that the config asks for, and what is known of each version's making."""

import random
import time
from collections.abc import Callable

import pytest
import torch

from common.config import ModelConfig
from common.config.learner import PayloadDtype
from common.ijepa.model import IJepa
from common.weights import DTYPES, PayloadKind, digest, unpack
from learner.publication import REMEMBERED, Publisher
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


def remembering(births: list[int]) -> Publisher:
    """A publisher that knows of these moments of birth, ns, of the versions from 1 on."""
    moments = {str(version): born for version, born in enumerate(births, 1)}
    return Publisher(Sink(), every=0.0, version=len(births), moments=moments)


def test_the_newest_version_of_any_moment_is_found_also_where_the_clock_went_back() -> None:
    generator = random.Random(0)
    for spread in (0, 1, 15, 100):
        births = [10 * version + generator.randint(-spread, spread) for version in range(1, 40)]
        publisher = remembering(births)
        assert {version: publisher.born(version) for version in range(1, 40)} == dict(enumerate(births, 1))
        for moment in range(-100, 550):
            there = [version for version, born in enumerate(births, 1) if born <= moment]
            assert publisher.newest_at(moment) == max(there, default=0)
    assert Publisher(Sink(), every=0.0).newest_at(time.time_ns()) == 0


def test_a_publication_is_found_and_the_oldest_is_forgotten() -> None:
    publisher = remembering(list(range(1, REMEMBERED + 1)))
    before = time.time_ns()
    info = publisher.publish(IJepa(TINY, (24, 24), seed=1), step=1, health={})
    assert info.version == REMEMBERED + 1
    assert publisher.newest_at(before - 1) == REMEMBERED
    assert publisher.newest_at(info.created_ns) == info.version
    assert publisher.born(info.version) == info.created_ns
    assert publisher.born(1) is None
    assert publisher.newest_at(1) == 0
    assert len(publisher.moments()) == REMEMBERED
    restored = Publisher(Sink(), every=0.0, version=info.version, moments=publisher.moments())
    assert restored.newest_at(info.created_ns) == info.version


def test_a_look_at_many_versions_takes_about_as_long_as_at_few() -> None:
    def seconds(look: Callable[[], object]) -> float:
        began = time.perf_counter()
        for _ in range(100):
            look()
        return time.perf_counter() - began

    few, many = remembering([1, 2, 3, 4]), remembering(list(range(1, REMEMBERED + 1)))
    best = [min(seconds(lambda of=of: of.newest_at(REMEMBERED)) for _ in range(10)) for of in (few, many)]
    assert best[1] < 8 * best[0]
