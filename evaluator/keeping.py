"""What an evaluator must not forget when its process dies, as bytes: safetensors around one JSON text.

Evaluator.save ─► pack ─► driver ─► evaluator/state.safetensors ─► driver ─► unpack ─► Evaluator.restore
"""

import json
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from common.errors import CheckpointError

SCHEMA = 1
_TEXT = "state"

type Arrays = Mapping[str, NDArray[Any]]


def pack(state: Mapping[str, Any], arrays: Arrays) -> bytes:
    """Serialises plain JSON and arrays."""
    text = json.dumps({"schema": SCHEMA, **state}, allow_nan=False).encode()
    return safetensors.numpy.save({_TEXT: np.frombuffer(text, np.uint8), **arrays})


def unpack(content: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Reads what `pack` gave.

    Raises:
        CheckpointError: It is damaged, or of another schema.
    """
    try:
        arrays = cast("dict[str, NDArray[Any]]", cast(Any, safetensors.numpy).load(content))
        state: dict[str, Any] = json.loads(arrays.pop(_TEXT).tobytes())
        schema = state["schema"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"the evaluator's state cannot be read ({type(error).__name__}: {error})") from error
    if schema != SCHEMA:
        raise CheckpointError(f"the evaluator's state has schema {schema!r}; {SCHEMA} is allowed")
    return state, arrays
