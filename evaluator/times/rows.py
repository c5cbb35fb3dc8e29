"""The rows of `evaluations.jsonl`, schema 2, as far as times are read from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any, cast

from evaluator.experience import Kind
from evaluator.memory.measures import Measure

SCHEMA = 2
"""Schema of the rows that are read; earlier ones have no halves."""

type Json = Mapping[str, Any]
"""One line."""


class RowError(ValueError):
    """A row that says that it is of schema 2 and is not."""


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One weights version that was measured.

    Attributes:
        version: Weights version.
        step: Optimiser steps done.
        system_time: When it was made, pamiq-core system time, s.
        created_ns: The same by the wall clock, ns since the epoch.
        health: What is known of the health of the network: RankMe and feature deviation of the trained encoder on the
            probe set; of the learner's own batches where there is no probe set. NaN where the number was not finite.
        worlds: Measure of each world on frames that nobody trained on, oriented so that more is better.
    """

    version: int
    step: int
    system_time: float
    created_ns: int
    health: Mapping[str, float]
    worlds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ExperienceRow:
    """One experience at one version.

    Attributes:
        version: Weights version.
        name: Id of the experience.
        kind: What learners could do with it.
        visit: Id of the visit; of the walk for a placebo.
        world: Name of the world.
        start: System time of its first frame, s; NaN for a placebo.
        end: System time of its last frame, s; NaN for a placebo.
        value: The measure, oriented so that more is better remembered; NaN where it is not measurable.
        even: The same on the even numbered of its frames.
        odd: On the odd numbered.
        exposures: Uses in gradients; 0 where it was never admitted, NaN where nobody knows.
        admitted_step: Optimiser steps at its admission; NaN where it was not admitted.
        first_step: Step of its first use; NaN before it; likewise the next three.
        last_step: Step of its last use so far.
        first_ns: Wall clock of its first use.
        last_ns: Wall clock of its last use so far.
        near_ceiling: Whether bits are so high that they can hardly rise.
    """

    version: int
    name: str
    kind: Kind
    visit: str
    world: str
    start: float
    end: float
    value: float
    even: float
    odd: float
    exposures: float
    admitted_step: float
    first_step: float
    last_step: float
    first_ns: float
    last_ns: float
    near_ceiling: bool


def read_row(row: Json, measure: Measure) -> VersionRow | ExperienceRow | None:
    """Reads one row.

    Returns:
        The row; None for one of another schema or kind.

    Raises:
        RowError: A field of schema 2 is missing or of another type, with its name.
    """
    if row.get("schema") != SCHEMA:
        return None
    try:
        match row.get("row"):
            case "evaluation":
                return _version(row, measure)
            case "experience":
                return _experience(row, measure)
            case _:
                return None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RowError(f"{row.get('row')} row of version {row.get('version')!r}: {error!r}") from None


def _version(row: Json, measure: Measure) -> VersionRow:
    probed, learner = row["health"]["trained"], row["learner_health"]
    health = probed if "rankme" in probed or "feature_std" in probed else learner
    worlds: Json = row.get("worlds") or {}
    return VersionRow(
        int(row["version"]),
        int(row["step"]),
        float(row["system_time"]),
        int(row["created_ns"]),
        {name: _number(health[name]) for name in ("rankme", "feature_std") if name in health},
        {str(world): _oriented(of_world.get(measure), measure)[0] for world, of_world in worlds.items()},
    )


def _experience(row: Json, measure: Measure) -> ExperienceRow:
    value, even, odd = _oriented(row["measures"].get(measure), measure)
    exposures = _number(row["exposures"])
    if row["exposures"] is None and row.get("ledger") == "none":
        exposures = 0.0
    return ExperienceRow(
        int(row["version"]),
        str(row["experience"]),
        Kind(row["kind"]),
        str(row["visit"]),
        str(row["world"]),
        _number(row["start"]),
        _number(row["end"]),
        value,
        even,
        odd,
        exposures,
        _moment(row["admitted_step"]),
        _moment(row["first_step"]),
        _moment(row["last_step"]),
        _moment(row["first_ns"]),
        _moment(row["last_ns"]),
        bool(row.get("near_ceiling", False)),
    )


def _oriented(found: Any, measure: Measure) -> tuple[float, float, float]:
    """Gives value, even and odd half, so that more is better; NaN where not all of them are there."""
    if not isinstance(found, Mapping) or "value" not in found:
        return nan, nan, nan
    entry = cast(Json, found)
    even, odd = entry["halves"]
    sign = 1.0 if measure is Measure.BITS else -1.0
    value, even, odd = (sign * float(number) for number in (entry["value"], even, odd))
    return (value, even, odd) if isfinite(value + even + odd) else (nan, nan, nan)


def _number(value: float | None) -> float:
    return nan if value is None else float(value)


def _moment(value: float | None) -> float:
    return nan if value is None or value < 0 else float(value)
