"""Checks that every config class makes of itself; each failure names field, value and what is allowed."""

import math
from collections.abc import Collection

from common.errors import ConfigError


def positive(**fields: float) -> None:
    """Every value is finite and above zero."""
    for name, value in fields.items():
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(name, value, "must be above 0")


def not_negative(**fields: float) -> None:
    """Every value is finite and zero or more."""
    for name, value in fields.items():
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(name, value, "must be 0 or more")


def between(low: float, high: float, **fields: float) -> None:
    """Every value lies in the closed interval [low, high]."""
    for name, value in fields.items():
        if not low <= value <= high:
            raise ConfigError(name, value, f"must be from {low:g} to {high:g}")


def interval(low: float, high: float, **fields: tuple[float, float]) -> None:
    """Every pair is ordered and lies in (low, high]."""
    for name, (first, last) in fields.items():
        if not low < first <= last <= high:
            raise ConfigError(name, (first, last), f"must be two rising numbers above {low:g}, at most {high:g}")


def one_of(allowed: Collection[str], **fields: str) -> None:
    """Every value is one of the names allowed."""
    for name, value in fields.items():
        if value not in allowed:
            raise ConfigError(name, value, f"must be one of {', '.join(sorted(allowed))}")
