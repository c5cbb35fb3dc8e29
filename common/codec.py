"""How an entry's `data` is packed: raw frames, JPEG frames, tensors.

| codec | data | `shape` | bytes |
|---|---|---|---|
| `raw` | frame uint8 [H, W, 3] | `H,W,3` | C order |
| `jpeg` | frame uint8 [H, W, 3] | `H,W,3` | JFIF, 4:4:4, lossy |
| `tensors` | an array, or arrays by name | number of arrays | safetensors; a lone array has the empty name |

A decoder trusts no length that it has not checked: a JPEG's header must agree with `shape`, and its length must be one
that so many pixels can have, before a pixel is decoded.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import cast

import numpy as np
import safetensors.numpy
import simplejpeg
from numpy.typing import NDArray

from common.errors import WireError
from common.messages import Data

MAX_SIDE = 8192
MAX_TENSORS = 256
MAX_RATIO = 256
"""Times that a JPEG may be smaller than its picture: ours have at least 6 bits for 192 bytes, while a progressive one
can be made of a few bytes and millions of pixels."""
LONE = ""
"""Name of an array that stands alone."""


class Codec(StrEnum):
    """How frames are packed; what is no frame always goes as tensors."""

    RAW = "raw"
    """Every bit as captured: H × W × 3 bytes."""
    JPEG = "jpeg"
    """About a tenth of the bytes; the learner sees JPEG's artefacts."""
    TENSORS = "tensors"
    """Any numeric arrays, bit for bit."""


def frame_shape(data: Data) -> tuple[int, ...] | None:
    """Shape of an RGB frame, (H, W, 3); None for what is none."""
    if isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 3 and data.shape[2] == 3:
        return data.shape
    return None


def pack_data(data: Data, codec: Codec, quality: int) -> tuple[Codec, bytes, bytes]:
    """Packs the data of one datum.

    Args:
        data: A frame uint8 [H, W, 3], another array, or arrays by name.
        codec: For frames; anything else goes as tensors.
        quality: Of JPEG, 1 to 100.

    Returns:
        The codec used, the `shape` field, the `data` field.

    Raises:
        WireError: The data are no numeric arrays, or no reader would take so many or such large ones.
    """
    if frame_shape(data) is not None and codec is not Codec.TENSORS:
        frame = np.ascontiguousarray(cast(NDArray[np.uint8], data))
        shape = b"%d,%d,3" % frame.shape[:2]
        _sides(shape)
        if codec is Codec.JPEG:
            packed = simplejpeg.encode_jpeg(frame, quality=quality, colorsubsampling="444")
            return codec, shape, packed
        return codec, shape, cast(bytes, memoryview(frame).cast("B"))
    named = dict(data) if isinstance(data, Mapping) else {LONE: data}
    if LONE in named and len(named) > 1:
        raise WireError("data: the empty name is reserved for a lone array")
    if not 1 <= len(named) <= MAX_TENSORS:
        raise WireError(f"data: {len(named)} arrays; 1 to {MAX_TENSORS} are allowed")
    try:
        arrays = {name: np.require(array, requirements="C") for name, array in named.items()}
        packed = safetensors.numpy.save(arrays)
    except Exception as error:  # object arrays, strings, names that are no text: whatever safetensors makes of them
        raise WireError(f"data: has no codec ({type(error).__name__}: {error}); numeric arrays are allowed") from None
    return Codec.TENSORS, b"%d" % len(arrays), packed


def unpack_data(codec: str, shape: bytes, packed: bytes) -> Data:
    """Unpacks the data of one datum; raw frames are read-only views of `packed`.

    Raises:
        WireError: Unknown codec, malformed shape, or bytes that do not agree with it.
    """
    match codec:
        case Codec.RAW:
            sides = _sides(shape)
            if len(packed) != sides[0] * sides[1] * 3:
                raise WireError(f"data: {len(packed)} bytes for a frame of shape {sides}")
            return np.frombuffer(packed, dtype=np.uint8).reshape(sides)
        case Codec.JPEG:
            return _jpeg(_sides(shape), packed)
        case Codec.TENSORS:
            return _tensors(shape, packed)
        case _:
            raise WireError(f"codec: {codec!r} is unknown; {', '.join(Codec)} are allowed")


@lru_cache(256)
def _sides(shape: bytes) -> tuple[int, int, int]:
    sides = shape.split(b",")
    if len(sides) != 3 or not all(len(s) <= 4 and s.isdigit() and 1 <= int(s) <= MAX_SIDE for s in sides):
        raise WireError(f"shape: {shape!r} is not three sides from 1 to {MAX_SIDE}")
    height, width, channels = map(int, sides)
    if channels != 3:
        raise WireError(f"shape: {channels} channels; 3 are allowed")
    return height, width, channels


def _jpeg(sides: tuple[int, int, int], packed: bytes) -> NDArray[np.uint8]:
    if sides[0] * sides[1] * 3 > MAX_RATIO * len(packed):
        raise WireError(f"data: a JPEG of {len(packed)} bytes for a frame of shape {sides}")
    try:
        height, width = simplejpeg.decode_jpeg_header(packed)[:2]
        if (height, width) != sides[:2]:
            raise WireError(f"data: a JPEG of {height}×{width} for a frame of shape {sides}")
        return np.asarray(simplejpeg.decode_jpeg(packed, colorspace="RGB"), np.uint8)
    except (ValueError, MemoryError) as error:
        raise WireError(f"data: no JPEG ({error})") from None


def _tensors(shape: bytes, packed: bytes) -> Data:
    if not (len(shape) <= 3 and shape.isdigit() and 1 <= int(shape) <= MAX_TENSORS):
        raise WireError(f"shape: {shape!r} is not a number of tensors from 1 to {MAX_TENSORS}")
    try:
        arrays = safetensors.numpy.load(packed)
    except Exception as error:  # safetensors raises its own error, KeyError for dtypes unknown to NumPy, and others
        raise WireError(f"data: no safetensors ({type(error).__name__}: {error})") from None
    if len(arrays) != int(shape):
        raise WireError(f"data: {len(arrays)} tensors, {int(shape)} announced")
    return arrays[LONE] if arrays.keys() == {LONE} else arrays
