"""Any value that a pamiq-core agent may collect comes back from the wire as it was."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportCallIssue=false, reportArgumentType=false
# msgpack is untyped.

from contextlib import suppress
from typing import Any

import msgpack
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from common.codec import Codec, pack_data, unpack_data
from common.errors import WireError
from common.values import STRUCTURE, pack_value, unpack_value

PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
DTYPES = st.sampled_from(["bool", "uint8", "int16", "int64", "float16", "float32", "float64"])
ARRAYS = arrays(DTYPES, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
TENSOR_DTYPES = st.sampled_from([torch.bfloat16, torch.float32, torch.int64, torch.bool, torch.float8_e4m3fn])
TENSORS = st.builds(lambda size, dtype: torch.arange(size).to(dtype), st.integers(0, 5), TENSOR_DTYPES)
VALUES = st.recursive(
    PLAIN | ARRAYS | TENSORS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=4) | st.integers(0, 99), inner, max_size=4)
    ),
    max_leaves=12,
)


def through_the_wire(value: Any) -> Any:
    codec, shape, packed = pack_data(pack_value(value), Codec.RAW, 95)
    return unpack_value(unpack_data(codec, shape, bytes(packed)))


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    match one:
        case torch.Tensor():
            return one.dtype == other.dtype and one.shape == other.shape and bits(one) == bits(other)
        case np.ndarray() | np.generic():
            return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
        case list() | tuple():
            return len(one) == len(other) and all(map(same, one, other))
        case dict():
            return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
        case float():
            return np.float64(one).tobytes() == np.float64(other).tobytes()
        case _:
            return one == other


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


@given(VALUES)
def test_values_come_back_as_they_were(value: Any) -> None:
    assert same(through_the_wire(value), value)


def test_what_comes_back_can_be_written_to() -> None:
    for value in (np.zeros((2, 2, 3), np.uint8), {"a": np.zeros(3)}, [torch.zeros(3)]):
        back = through_the_wire(value)
        lone = back if isinstance(back, np.ndarray) else back["a"] if isinstance(back, dict) else back[0]
        lone[0] = 1


def test_what_is_packed_does_not_change_with_its_source() -> None:
    array, tensor = np.zeros(3), torch.zeros(3, requires_grad=True)
    packed = pack_value({"array": array, "tensor": tensor})
    array[0] = 1
    with torch.no_grad():
        tensor[0] = 1
    back = unpack_value(packed)
    assert back["array"][0] == 0
    assert back["tensor"][0] == 0


def test_numpy_scalars_stay_what_they_are() -> None:
    assert same(
        through_the_wire((np.float32(1.5), np.int64(3), np.bool_(True))), (np.float32(1.5), np.int64(3), np.True_)
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "data: builtins.object is unknown"),
        ({"a": [1, {2}]}, r"data\['a'\]\[1\]: builtins.set"),
        (np.array(["a"]), "numeric arrays"),
        ([np.array([1j])], r"data\[0\]: an array of complex128"),
        ({(1, 2): 3}, r"a key is \(1, 2\)"),
        (2**70, "cannot be packed"),
        ([np.zeros(1)] * 300, "300 arrays, fewer than 256"),
        (torch.zeros(2, dtype=torch.complex64).to_sparse(), "dense real ones"),
    ],
)
def test_what_has_no_place_on_the_wire_is_named(value: Any, words: str) -> None:
    with pytest.raises(WireError, match=words):
        pack_value(value)


def test_what_is_nested_too_deeply_is_refused() -> None:
    deep: Any = 1
    for _ in range(50):
        deep = [deep]
    with pytest.raises(WireError, match="deep"):
        pack_value(deep)


@given(st.binary(max_size=60) | VALUES.map(lambda value: msgpack.packb(str(value))))
def test_a_forged_description_is_refused(forged: bytes) -> None:
    with suppress(WireError):
        unpack_value({STRUCTURE: np.frombuffer(forged, np.uint8)})


@pytest.mark.parametrize(
    "structure",
    [["array", 7], ["tensor", 0, "save"], ["tensor", 0, "int3"], ["plain", [1]], ["dict", [[1]]], ["object", 1], [], 3],
)
def test_a_description_of_nothing_is_refused(structure: Any) -> None:
    packed = np.frombuffer(msgpack.packb(structure), np.uint8)
    with pytest.raises(WireError):
        unpack_value({STRUCTURE: packed, "0": np.zeros(3)})
