"""Weights out of a payload into a module that is to act next, beside a frame loop that must not notice.

A payload is safetensors. It is read in place: its tensors are views of it, made once all of its header has been
checked, and each is cast and copied straight into the module. Copying goes in slices with rests between them, since a
copy at full speed takes the memory bandwidth that the frame loop's network lives on (measured: 100 MB at once made a
frame of 50 ms take 130).
"""

import json
import math
import time
import warnings
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from common.errors import WireError

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""Element types by the name that safetensors gives them."""
MAX_HEADER = 16 * 2**20
SLICE = 2**19
"""Elements copied at once: about half a millisecond."""
REST = 0.002
"""Seconds between two slices."""

# Ray's objects are read-only, and nothing writes to these views.
warnings.filterwarnings("ignore", message="The given buffer is not writable")


def views(payload: bytes | memoryview) -> dict[str, Tensor]:
    """Reads a payload in place.

    Args:
        payload: Safetensors; must outlive the tensors, which must not be written to.

    Raises:
        WireError: It is malformed.
    """
    whole = memoryview(payload)
    try:
        length = int.from_bytes(whole[:8], "little")
        _require(2 <= length <= min(MAX_HEADER, len(whole) - 8), f"a header of {length} bytes")
        header = cast(dict[str, Any], json.loads(bytes(whole[8 : 8 + length])))
        header.pop("__metadata__", None)
        return {name: _view(whole[8 + length :], **entry) for name, entry in header.items()}
    except Exception as error:  # whatever a malformed header makes of itself
        raise WireError(f"weights: {type(error).__name__}: {error}") from None


def _view(body: memoryview, *, dtype: str, shape: list[int], data_offsets: list[int]) -> Tensor:
    kind, (begin, end) = DTYPES[dtype], data_offsets
    count = math.prod(shape)
    _require(all(type(side) is int and side >= 0 for side in shape), f"shape {shape}")
    _require(0 <= begin <= end <= len(body), f"bytes {begin} to {end} of {len(body)}")
    _require(end - begin == count * kind.itemsize, f"{end - begin} bytes for {count} elements of {dtype}")
    if not count:
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(body[begin:end], dtype=kind, count=count).reshape(shape)  # pyright: ignore[reportUnknownMemberType]


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


def copy_gently(source: Mapping[str, Tensor], target: Mapping[str, Tensor], *, rest: float = REST) -> None:
    """Copies tensors by name, cast to the targets' types, slowly enough to leave the machine to others.

    Args:
        source: What is copied.
        target: Contiguous tensors that are overwritten.
        rest: Seconds between two slices.

    Raises:
        WireError: Names or shapes differ; nothing was copied.
    """
    for name in sorted(source.keys() | target.keys()):
        found, wanted = (tuple(side[name].shape) if name in side else None for side in (source, target))
        if found != wanted:
            raise WireError(f"weights: {name} has shape {found}, expected {wanted}")
    with torch.no_grad():
        for name, tensor in target.items():
            into, out = tensor.view(-1), source[name].view(-1)
            for first in range(0, len(into), SLICE):
                into[first : first + SLICE].copy_(out[first : first + SLICE])
                time.sleep(rest)
