"""What a study set out to do: `study.json`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, cast

from common.errors import ConfigError

FILE = "study.json"
"""Name of the file that makes a folder a study."""
VERSION = 1

type Row = Mapping[str, Any]


class FieldError(ValueError):
    """A field that is missing or of another kind, with its name."""


def take[T](row: Row, name: str, kind: type[T]) -> T:
    """Takes a field of a row.

    Raises:
        FieldError: It is missing or of another kind.
    """
    value = row.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise FieldError(f"{name} = {value!r} is not of the kind {kind.__name__}")
    return value


def take_number(row: Row, name: str) -> float:
    """Takes a number; NaN where it is missing, null or not finite."""
    value = row.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
        return float(value)
    return float("nan")


def take_list(row: Row, name: str) -> list[Any]:
    """Takes a list."""
    return cast("list[Any]", take(row, name, list))


def take_row(row: Row, name: str) -> Row:
    """Takes an object."""
    return cast(Row, take(row, name, dict))


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """A place on an axis.

    Attributes:
        name: Its name.
        value: Its number; NaN on an axis that is not numeric.
    """

    name: str
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """What is varied.

    Attributes:
        name: Its name.
        label: What it says beside an axis of a figure.
        unit: Unit of its values; may be empty.
        numeric: Whether its levels are numbers.
        log: Whether these are shown on a logarithmic scale.
        levels: Its levels, in the order in which they are shown.
    """

    name: str
    label: str
    unit: str
    numeric: bool
    log: bool
    levels: Sequence[Level]

    @property
    def title(self) -> str:
        """Label with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def value(self, level: str | None) -> float:
        """Number of a level; NaN where there is none."""
        return next((of.value for of in self.levels if of.name == level), float("nan"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One condition that was asked for.

    Attributes:
        name: Its name.
        levels: Its level on each axis that it is on.
        iid: Whether it had the whole stream before its first step.
    """

    name: str
    levels: Mapping[str, str]
    iid: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Design:
    """A study as it was asked for.

    Attributes:
        folder: Where it is.
        name: Its name.
        title: Heading.
        question: What it asks.
        match: What trials have in common: `steps` or `clock`.
        rate: Operations a second of the imagined machine, for `clock`.
        preset: What all variants begin with.
        scale: Size of the study.
        seeds: Seeds of every variant.
        bound: Variant that is the i.i.d. bound; None for none.
        reference: Variant that others are compared with; None for none.
        axes: What is varied.
        variants: All variants, in the order in which they are shown.
        trials: Names of all trials.
        command: What was typed.
        code: Version of the code that planned it.
    """

    folder: Path
    name: str
    title: str
    question: str
    match: str
    rate: float
    preset: str
    scale: str
    seeds: Sequence[int]
    bound: str | None
    reference: str | None
    axes: Sequence[Axis]
    variants: Sequence[Variant]
    trials: Sequence[str]
    command: str
    code: str

    def variant(self, name: str) -> Variant | None:
        """The variant of this name."""
        return next((of for of in self.variants if of.name == name), None)


def is_study(folder: Path) -> bool:
    """Whether a folder is a study's."""
    return (folder / FILE).is_file()


def read_design(folder: Path) -> Design:
    """Reads `study.json`.

    Raises:
        ConfigError: It is missing, damaged, or of another version.
    """
    path = folder / FILE
    try:
        row: Any = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError("run_dirs", str(folder), f"{FILE} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError("run_dirs", str(path), f"must be JSON: {error}") from None
    if not isinstance(row, dict):
        raise ConfigError("run_dirs", str(path), "must be a JSON object")
    known = cast(Row, row)
    if known.get("v") != VERSION:
        raise ConfigError("run_dirs", str(path), f"is of version {known.get('v')!r}; this code reads {VERSION}")
    try:
        return _design(folder, known)
    except FieldError as error:
        raise ConfigError("run_dirs", str(path), f"is damaged: {error}") from None


def _design(folder: Path, row: Row) -> Design:
    design = Design(
        folder=folder,
        name=take(row, "name", str),
        title=str(row.get("title") or row["name"]),
        question=str(row.get("question") or ""),
        match=str(row.get("match") or ""),
        rate=take_number(row, "rate"),
        preset=str(row.get("preset") or ""),
        scale=str(row.get("scale") or ""),
        seeds=[take({"seeds": seed}, "seeds", int) for seed in take_list(row, "seeds")],
        bound=_name(row, "bound"),
        reference=_name(row, "reference"),
        axes=[_axis(axis) for axis in take_list(row, "axes")],
        variants=[_variant(variant) for variant in take_list(row, "variants")],
        trials=[take({"trials": name}, "trials", str) for name in take_list(row, "trials")],
        command=str(row.get("command") or ""),
        code=str(row.get("code") or ""),
    )
    for name in ("bound", "reference"):
        wanted = getattr(design, name)
        if wanted is not None and design.variant(wanted) is None:
            raise FieldError(f"{name} = {wanted!r} is none of the variants")
    return design


def _name(row: Row, name: str) -> str | None:
    return None if row.get(name) is None else take(row, name, str)


def _axis(row: Any) -> Axis:
    of = take_row({"axes": row}, "axes")
    levels = [take_row({"levels": level}, "levels") for level in take_list(of, "levels")]
    numeric = take(of, "numeric", bool)
    found = [Level(name=take(level, "name", str), value=take_number(level, "value")) for level in levels]
    known = [level.value for level in found if isfinite(level.value)]
    return Axis(
        name=take(of, "name", str),
        label=str(of.get("label") or of["name"]),
        unit=str(of.get("unit") or ""),
        numeric=numeric and len(known) == len(found),
        log=bool(of.get("log")) and all(value > 0 for value in known),
        levels=found,
    )


def _variant(row: Any) -> Variant:
    of = take_row({"variants": row}, "variants")
    levels = take_row(of, "levels")
    return Variant(
        name=take(of, "name", str),
        levels={str(axis): str(level) for axis, level in levels.items()},
        iid=bool(of.get("iid")),
    )
