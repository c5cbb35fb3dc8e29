"""Checks that every config class makes of itself; each failure names field, value and what is allowed."""

import math
from collections.abc import Collection
from operator import attrgetter
from typing import ClassVar, Protocol

from common.errors import ConfigError


class Group(Protocol):
    """A config class: knows where in the whole configuration it stands."""

    GROUP: ClassVar[str]


def refuse(config: Group, field: str, allowed: str) -> ConfigError:
    """Makes the error for a field of `config`, named by its place in the whole configuration."""
    return ConfigError(f"{config.GROUP}.{field}".lstrip("."), attrgetter(field)(config), allowed)


def positive(config: Group, *fields: str) -> None:
    """Every value is finite and above zero."""
    for field in fields:
        value = getattr(config, field)
        if not (math.isfinite(value) and value > 0):
            raise refuse(config, field, "must be above 0")


def not_negative(config: Group, *fields: str) -> None:
    """Every value is finite and zero or more."""
    for field in fields:
        value = getattr(config, field)
        if not (math.isfinite(value) and value >= 0):
            raise refuse(config, field, "must be 0 or more")


def between(config: Group, low: float, high: float, *fields: str) -> None:
    """Every value lies in the closed interval [low, high]."""
    for field in fields:
        if not low <= getattr(config, field) <= high:
            raise refuse(config, field, f"must be from {low:g} to {high:g}")


def interval(config: Group, low: float, high: float, *fields: str) -> None:
    """Every pair is ordered and lies in (low, high]."""
    for field in fields:
        first, last = getattr(config, field)
        if not low < first <= last <= high:
            raise refuse(config, field, f"must be two rising numbers above {low:g}, at most {high:g}")


def one_of(config: Group, allowed: Collection[str], *fields: str) -> None:
    """Every value is one of the names allowed."""
    for field in fields:
        if getattr(config, field) not in allowed:
            raise refuse(config, field, f"must be one of {', '.join(sorted(allowed))}")
