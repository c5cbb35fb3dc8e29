"""Weights read in place and copied with rests."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.config import ModelConfig
from common.errors import WireError
from common.ijepa.vit import VisionTransformer
from common.payload import copy_gently, views
from common.weights import digest, pack, unpack

TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.tensor(2**40),
    "c": torch.zeros(0, 4),
    "d": torch.tensor([True, False]),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_views_are_what_safetensors_reads(dtype: torch.dtype) -> None:
    payload = pack(TENSORS, dtype)
    ours, theirs = views(payload), unpack(payload)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype
        assert torch.equal(ours[name], tensor)


def test_nothing_is_copied() -> None:
    payload = bytearray(pack({"a": torch.zeros(4)}, torch.float32))
    (seen,) = views(memoryview(payload)).values()
    payload[-4:] = np.float32(7).tobytes()
    assert seen[-1] == 7


@settings(max_examples=2000, deadline=None)
@given(st.data())
def test_a_damaged_payload_is_refused_or_read_within_its_bounds(data: st.DataObject) -> None:
    payload = bytearray(pack(TENSORS, torch.float32))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(payload)))
    try:
        found = views(bytes(payload[:cut]))
    except WireError:
        return
    assert sum(tensor.nbytes for tensor in found.values()) <= 4 * len(payload)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [4], "data_offsets": [4, 20]},
        {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]},
        {"dtype": "object", "shape": [4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [4]},
        7,
    ],
)
def test_a_header_that_does_not_fit_is_refused(entry: object) -> None:
    header = json.dumps({"a": entry}).encode()
    with pytest.raises(WireError, match="weights"):
        views(len(header).to_bytes(8, "little") + header + bytes(16))


def test_a_module_gets_the_weights_of_another() -> None:
    config = ModelConfig(patch_size=8, dim=48, depth=1, heads=2)
    source, target = (VisionTransformer(config, (48, 48)) for _ in range(2))
    payload = pack(source.state_dict())
    copy_gently(views(payload), target.state_dict(), rest=0.0)
    assert digest(target.state_dict()) == digest(source.state_dict())


def test_weights_of_another_network_are_refused_whole() -> None:
    small, large = (
        VisionTransformer(ModelConfig(patch_size=8, dim=dim, depth=1, heads=2), (48, 48)) for dim in (24, 48)
    )
    before = digest(large.state_dict())
    with pytest.raises(WireError, match="has shape"):
        copy_gently(views(pack(small.state_dict())), large.state_dict(), rest=0.0)
    assert digest(large.state_dict()) == before
