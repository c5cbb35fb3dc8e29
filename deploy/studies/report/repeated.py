"""Whether a study that was done again elsewhere has found the same, within what another seed would change.

To the bit trials agree on one kind of processor alone (`engram sweep --expect`). On another, sums are rounded otherwise
and training multiplies the difference, until a trial is no nearer to its namesake than to one of another seed. So that
is the tolerance: for two draws of a number whose standard deviation over seeds is s, known from ν degrees of freedom,

    |ours − theirs| ≤ t(0.975, ν) · √2 · s

holds in 95 % of the cases, and less often only where something else than the rounding differs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pa_parquet
from scipy import stats

from common.errors import ConfigError
from deploy.studies.report import quantities as q
from deploy.studies.report.findings import Half, What

TABLE = Path("data") / "trials.parquet"
ENOUGH = 0.9
"""Share of numbers that must be within the tolerance."""
_NEGLIGIBLE = 1e-6
"""Relative difference of numbers that no seed changes."""
_OF_THE_MACHINE = (q.CPU, q.IMAGES_A_SECOND, q.ENERGY)
_TIMES = tuple(f"{time}." for time in (*What, *Half))

type Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlier:
    """A number that differs by more than a seed would explain; None is one that could not be measured."""

    trial: str
    number: str
    ours: float | None
    theirs: float | None
    tolerance: float

    def text(self) -> str:
        """One line."""
        ours, theirs = ("not measurable" if one is None else f"{one:.4g}" for one in (self.ours, self.theirs))
        return f"{self.trial}: {self.number} {ours}, before {theirs} (tolerance {self.tolerance:.2g})"


@dataclass(frozen=True, kw_only=True, eq=False)
class Repetition:
    """A study beside an earlier one of the same trials.

    Attributes:
        trials: How many both have.
        numbers: Numbers of these that at least one of both could measure.
        equal: Those of them that are equal to the bit.
        outside: Those that differ by more than the tolerance, or that only one of both could measure.
        largest: Largest difference that is within the tolerance, as a share of it.
    """

    trials: int
    numbers: int
    equal: int
    outside: Sequence[Outlier]
    largest: float

    @property
    def agrees(self) -> bool:
        """Whether the same was found."""
        return len(self.outside) <= (1 - ENOUGH) * self.numbers

    def text(self) -> str:
        """One paragraph, then one line for each number that is outside."""
        within = self.numbers - self.equal - len(self.outside)
        verdict = "the same was found" if self.agrees else f"less than {ENOUGH:.0%} agree: not the same was found"
        said = f"{self.trials} trials, {self.numbers} numbers: {self.equal} equal to the bit, {within} within tolerance"
        said += f" (at most {self.largest:.0%} of it)" if within else ""
        return "\n".join((f"{said}, {len(self.outside)} outside; {verdict}", *(one.text() for one in self.outside)))


def table_of(folder: Path) -> Path:
    """Finds the numbers of an earlier study.

    Args:
        folder: Folder of the study, or of its report.

    Raises:
        ConfigError: It holds none.
    """
    for path in (folder / "report" / TABLE, folder / TABLE):
        if path.is_file():
            return path
    raise ConfigError("expect", str(folder), f"must hold report/{TABLE.as_posix()}: engram report makes it")


def compare(ours: Path, theirs: Path) -> Repetition:
    """Compares the trials that both tables have.

    Args:
        ours: Table of the report that was just written.
        theirs: Of the earlier one; its seeds give the tolerance.

    Raises:
        ConfigError: No trial is in both, or a namesake saw another stream.
    """
    before = {row["trial"]: row for row in _rows(theirs)}
    pairs = [(row, before[row["trial"]]) for row in _rows(ours) if row["trial"] in before]
    if not pairs:
        raise ConfigError("expect", str(theirs), f"has other trials: {', '.join(sorted(before)[:5])}, …")
    for one, other in pairs:
        if (one["stream"], one["salt"]) != (other["stream"], other["salt"]):
            raise ConfigError("expect", str(theirs), f"saw another stream in {one['trial']}: {other['stream']}")
    numbers = [name for name in pairs[0][1] if _is_compared(name)]
    tolerances = {name: _tolerance(before.values(), name) for name in numbers}
    known, equal, largest = 0, 0, 0.0
    outside: list[Outlier] = []
    for one, other in pairs:
        for name, tolerance in tolerances.items():
            a, b = one.get(name), other.get(name)
            if a is None and b is None:
                continue
            known += 1
            if a == b:
                equal += 1
                continue
            allowed = max(tolerance, _NEGLIGIBLE * abs(b or 0.0))
            if a is not None and b is not None and abs(a - b) <= allowed:
                largest = max(largest, abs(a - b) / allowed)
            else:
                outside.append(Outlier(trial=one["trial"], number=name, ours=a, theirs=b, tolerance=allowed))
    return Repetition(trials=len(pairs), numbers=known, equal=equal, outside=outside, largest=largest)


def _is_compared(name: str) -> bool:
    return (name in q.CATALOGUE and name not in _OF_THE_MACHINE) or name.startswith(_TIMES)


def _tolerance(rows: Iterable[Row], name: str) -> float:
    levels: dict[str, list[float]] = {}
    for row in rows:
        if row.get(name) is not None:
            levels.setdefault(row["level"], []).append(row[name])
    freedom = sum(len(values) - 1 for values in levels.values())
    if not freedom:
        return 0.0
    squares = sum(float(np.var(values)) * len(values) for values in levels.values())
    return float(cast(Any, stats.t).ppf(0.975, freedom)) * sqrt(2 * squares / freedom)


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        return cast(Any, pa_parquet).read_table(path).to_pylist()
    except (OSError, ValueError) as error:
        raise ConfigError("expect", str(path), f"must be a table of trials in Parquet ({error})") from None
