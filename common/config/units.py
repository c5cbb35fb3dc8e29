"""Durations and byte counts as a person writes them: `90s`, `10m`, `256MiB`."""

import re
from collections.abc import Callable
from math import isinf
from typing import Annotated, Any

_SECONDS = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)\s*")


def _quantity(text: str, factors: dict[str, float] | dict[str, int], example: str) -> float:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in factors:
        units = ", ".join(unit for unit in factors if unit)
        raise ValueError(f"{text!r} is not a number with one of the units {units}, for example {example}")
    return float(match[1]) * factors[match[2]]


def parse_seconds(text: str) -> float:
    """Reads a duration in seconds, or with a unit: `500ms`, `90s`, `10m`, `2h`, `1d`.

    Raises:
        ValueError: The text is no such duration.
    """
    return _quantity(text, _SECONDS, "90s or 10m")


def parse_bytes(text: str) -> int:
    """Reads a byte count, plain or with a unit: `64MiB`, `2GB`.

    Raises:
        ValueError: The text is no such count.
    """
    return int(_quantity(text, _BYTES, "256MiB"))


def format_seconds(seconds: float) -> str:
    """Writes a duration in its largest whole unit, so that `parse_seconds` gives it back."""
    if isinf(seconds):
        return "inf"
    for unit in ("d", "h", "m", "s"):
        count = seconds / _SECONDS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return f"{seconds!r}s"


def format_bytes(count: int) -> str:
    """Writes a byte count in its largest whole binary unit, so that `parse_bytes` gives it back."""
    for unit in ("GiB", "MiB", "KiB"):
        if count and count % _BYTES[unit] == 0:
            return f"{count // _BYTES[unit]}{unit}"
    return str(count)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read_by_tyro(metavar: str, parse: Callable[[str], Any], format: Callable[[Any], str]) -> Any:
    """Says to tyro how a value is read and written.

    Python evaluates a `type` when somebody looks into it, which only the command line does: nothing else needs tyro.
    """
    from tyro.constructors import PrimitiveConstructorSpec

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda args: parse(args[0]),
        is_instance=_is_number,
        str_from_instance=lambda value: [format(value)],
    )


type Seconds = Annotated[float, _read_by_tyro("DURATION", parse_seconds, format_seconds)]
"""A duration in seconds; on the command line also `90s`, `10m`, `2h`."""

type ByteCount = Annotated[int, _read_by_tyro("BYTES", parse_bytes, format_bytes)]
"""A number of bytes; on the command line also `256MiB`, `2GB`."""
