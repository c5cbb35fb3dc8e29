"""What any pamiq-core agent collects, as arrays for the wire: nested values of the kinds below, nothing pickled.

| Python | kept |
|---|---|
| numeric or boolean arrays, NumPy scalars | dtype, shape, every bit |
| torch tensors, bfloat16 too | likewise; they come back on the CPU, detached |
| `None`, `bool`, `int` (64 bits), `float`, `str`, `bytes` | as they are |
| `list`, `tuple`, mappings with such keys | as `list`, `tuple`, `dict` |

A lone array travels as it is, so that frames keep their codec; else the arrays go under their numbers, and how they
hang together as msgpack under `STRUCTURE`.
"""

from collections.abc import Mapping
from typing import Any, cast

import msgpack
import numpy as np
import torch
from numpy.typing import NDArray

from common.codec import MAX_TENSORS
from common.errors import WireError
from common.messages import Data

STRUCTURE = "structure"
"""Name of the array that says how the others hang together, uint8 [bytes]."""
_DEEPEST = 32
_PLAIN = (type(None), bool, int, float, str, bytes)
_ALLOWED = "arrays, tensors, None, bool, int, float, str, bytes, and lists, tuples and dicts of them are allowed"
_UNSIGNED = {1: torch.uint8, 2: torch.uint16, 4: torch.uint32, 8: torch.uint64}
"""By size in bytes, what a dtype that NumPy does not have is kept as."""


def pack_value(value: Any) -> Data:
    """Takes a value apart; what comes out shares no memory with it.

    Raises:
        WireError: It holds something of another kind, is nested too deeply, or holds too many arrays.
    """
    if isinstance(value, np.ndarray):
        return _copied(cast(NDArray[Any], value), "data")
    arrays: list[NDArray[Any]] = []
    structure = _take_apart(value, arrays, "data", 0)
    if len(arrays) >= MAX_TENSORS:
        raise WireError(f"data: {len(arrays)} arrays, fewer than {MAX_TENSORS} are allowed: stack some")
    try:
        packed = cast(bytes, cast(Any, msgpack).packb(structure))
    except (OverflowError, ValueError) as error:
        raise WireError(f"data: cannot be packed ({error})") from None
    return {STRUCTURE: np.frombuffer(packed, np.uint8)} | {str(number): array for number, array in enumerate(arrays)}


def unpack_value(data: Data) -> Any:
    """Puts a value together again; its arrays and tensors are its own and may be written to.

    Raises:
        WireError: What describes it is malformed, or an array that it names is not there.
    """
    if not isinstance(data, Mapping):
        return np.array(data)
    try:
        structure = cast(Any, msgpack).unpackb(data[STRUCTURE].tobytes(), strict_map_key=False)
        return _put_together(structure, data, 0)
    except WireError:
        raise
    except Exception as error:  # whatever a forged description makes its reader raise
        raise WireError(f"data: no value ({type(error).__name__}: {error})") from None


def _take_apart(value: Any, arrays: list[NDArray[Any]], where: str, depth: int) -> list[Any]:
    if depth > _DEEPEST:
        raise WireError(f"{where}: nested more than {_DEEPEST} deep")
    match value:
        case np.ndarray() | np.generic():
            kind = "array" if isinstance(value, np.ndarray) else "scalar"
            arrays.append(_copied(np.asarray(cast(Any, value)), where))
            return [kind, len(arrays) - 1]
        case torch.Tensor():
            array, dtype = _of_tensor(value, where)
            arrays.append(array)
            return ["tensor", len(arrays) - 1, dtype]
        case list() | tuple():
            items = cast("list[Any] | tuple[Any, ...]", value)
            kind = "list" if isinstance(value, list) else "tuple"
            return [kind, [_take_apart(one, arrays, f"{where}[{n}]", depth + 1) for n, one in enumerate(items)]]
        case Mapping():
            return ["dict", [_pair(*pair, arrays, where, depth) for pair in cast(Mapping[Any, Any], value).items()]]
        case _ if type(value) in _PLAIN:
            return ["plain", value]
        case _:
            raise WireError(f"{where}: {type(value).__module__}.{type(value).__qualname__} is unknown; {_ALLOWED}")


def _pair(key: Any, item: Any, arrays: list[NDArray[Any]], where: str, depth: int) -> list[Any]:
    if type(key) not in _PLAIN:
        raise WireError(f"{where}: a key is {key!r}; None, bool, int, float, str and bytes are allowed")
    return [key, _take_apart(item, arrays, f"{where}[{key!r}]", depth + 1)]


def _put_together(structure: Any, arrays: Mapping[str, NDArray[Any]], depth: int) -> Any:
    if depth > _DEEPEST:
        raise WireError(f"data: nested more than {_DEEPEST} deep")
    match structure:
        case ["plain", value] if type(value) in _PLAIN:
            return value
        case ["array" | "scalar" | "tensor" as kind, int(number), *dtype]:
            return _of_array(kind, np.array(arrays[str(number)]), *dtype)
        case ["list" | "tuple" as kind, [*items]]:
            found = [_put_together(item, arrays, depth + 1) for item in items]
            return found if kind == "list" else tuple(found)
        case ["dict", [*pairs]]:
            return {key: _put_together(item, arrays, depth + 1) for key, item in pairs}
        case _:
            raise WireError(f"data: {str(structure)[:80]} describes no value")


def _of_array(kind: str, array: NDArray[Any], dtype: str = "") -> Any:
    if kind == "tensor":
        tensor = torch.from_numpy(array)  # pyright: ignore[reportUnknownMemberType]
        return tensor.view(_dtype(dtype)) if dtype else tensor
    return array if kind == "array" else array[()]


def _copied(array: NDArray[Any], where: str) -> NDArray[Any]:
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise WireError(f"{where}: an array of {array.dtype}; numeric arrays up to 64 bits are allowed")
    return np.array(array, array.dtype.newbyteorder("="), order="C")


def _of_tensor(tensor: torch.Tensor, where: str) -> tuple[NDArray[Any], str]:
    """Gives a copy of a tensor as an array, and its dtype where NumPy does not have it."""
    if tensor.layout is not torch.strided or tensor.is_complex() or tensor.is_quantized:
        raise WireError(f"{where}: a tensor of {tensor.dtype}, {tensor.layout}; dense real ones are allowed")
    own = tensor.detach().to("cpu", copy=True).contiguous()
    try:
        return own.numpy(), ""  # pyright: ignore[reportUnknownMemberType]
    except TypeError:
        name = str(own.dtype).removeprefix("torch.")
        return own.view(_UNSIGNED[own.itemsize]).numpy(), name  # pyright: ignore[reportUnknownMemberType]


def _dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise WireError(f"data: the dtype {name!r} is unknown")
    return dtype
