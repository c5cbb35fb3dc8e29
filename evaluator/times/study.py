"""The rows of one run as arrays, and runs of one condition put together.

Shapes: E experiences, V versions measured.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from math import isnan, nan

import numpy as np
from numpy.typing import NDArray

from evaluator.experience import Kind
from evaluator.memory.measures import Measure
from evaluator.times.rows import ExperienceRow, Json, VersionRow, read_row

type Floats = NDArray[np.float64]
type Flags = NDArray[np.bool_]
type Numbers = NDArray[np.int64]


class Clock(StrEnum):
    """In what a duration is counted."""

    SECONDS = "seconds"
    """System time of the experience: pausable, scalable."""
    FRAMES = "frames"
    """Frames that all actors captured meanwhile."""
    STEPS = "steps"
    """Optimiser steps."""
    OTHERS = "others"
    """Uses of frames of other experiences in gradients."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Which versions count as healthy.

    Attributes:
        min_rankme: Fewest effective dimensions.
        min_feature_std: Least deviation of the features.
    """

    min_rankme: float = 1.5
    min_feature_std: float = 0.01

    def passes(self, health: Mapping[str, float]) -> bool:
        """Says whether a network is healthy; what was not measured is no reason against, what is not finite is."""
        rankme, deviation = health.get("rankme", np.inf), health.get("feature_std", np.inf)
        return bool(rankme >= self.min_rankme and deviation >= self.min_feature_std)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What the rows do not say of their run.

    Attributes:
        frames_per_second: Frames that all actors capture a second; None where unknown.
        batch: Frames an optimiser step; None where unknown.
    """

    frames_per_second: float | None = None
    batch: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """What was measured in one run. NaN stands inside the arrays for what was not.

    Attributes:
        rates: What the rows do not say.
        measure: Which measure the scores are of.
        version_V: Versions measured, ascending.
        step_V: Optimiser steps done.
        time_V: System time, s.
        wall_V: Wall clock, s since the epoch.
        pace_A2: Optimiser steps and system time (s) at every moment of which the rows tell both, those of the ledger's
            first and last uses included: neither ever falls, also after a rollback.
        healthy_V: Whether the version passed the gate.
        ungated: Versions of which no health is known.
        worlds: World → its score at each version [V].
        names: Id of each experience.
        kinds: Kind of each.
        visit_E: Its visit, numbered by the order of their first captures, placebo walks last.
        world_E: Its world, as a number in `world_names`.
        world_names: Names of the worlds.
        start_E: System time of the first frame, s.
        end_E: System time of the last frame, s.
        rehearsed_E: Whether the learner rehearsed it on purpose, as a positive control.
        score_EV: Score, more is better.
        halves_EVH: The same on the even and on the odd numbered frames.
        exposures_EV: Uses in gradients, as of the version.
        admitted_E: Optimiser steps at its admission, as last known; likewise the next three.
        last_step_E: Step of its last use.
        first_E: System time of its first use, s.
        last_E: System time of its last use, s.
        near_ceiling: Rows whose bits are so high that they can hardly rise.
    """

    rates: Rates
    measure: Measure
    version_V: Numbers
    step_V: Floats
    time_V: Floats
    wall_V: Floats
    pace_A2: Floats
    healthy_V: Flags
    ungated: int
    worlds: Mapping[str, Floats]
    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    visit_E: Numbers
    world_E: Numbers
    world_names: tuple[str, ...]
    start_E: Floats
    end_E: Floats
    rehearsed_E: Flags
    score_EV: Floats
    halves_EVH: Floats
    exposures_EV: Floats
    admitted_E: Floats
    last_step_E: Floats
    first_E: Floats
    last_E: Floats
    near_ceiling: int

    @classmethod
    def read(
        cls,
        rows: Iterable[Json],
        measure: Measure = Measure.BITS,
        *,
        rates: Rates | None = None,
        gate: Gate | None = None,
        rehearsed: Callable[[str], bool] = lambda _: False,
    ) -> "Run":
        """Puts the rows of one run together; of a version measured twice the last one counts.

        Args:
            rows: The rows.
            measure: Which measure to take.
            rates: What the rows do not say; by default unknown.
            gate: Which versions count as healthy.
            rehearsed: Tells by its name whether an exposed experience was rehearsed on purpose.

        Raises:
            RowError: A row of schema 2 is malformed.
        """
        gate = gate or Gate()
        heads: dict[int, VersionRow] = {}
        of_version: dict[int, dict[str, ExperienceRow]] = {}
        for row in rows:
            found = read_row(row, measure)
            if isinstance(found, VersionRow):
                heads[found.version] = found
                of_version[found.version] = {}
            elif found is not None and found.version in of_version:
                of_version[found.version][found.name] = found
        versions = [heads[version] for version in sorted(heads)]
        measured = [of_version[head.version] for head in versions]
        return _assemble(versions, measured, measure, rates or Rates(), gate, rehearsed=rehearsed)

    def of(self, kind: Kind) -> Numbers:
        """Indices of the experiences of a kind."""
        return np.array([index for index, found in enumerate(self.kinds) if found is kind], np.int64)

    @cached_property
    def returning_E(self) -> Flags:
        """Whether the experience's world had been visited before its visit; False for placebos."""
        first: dict[int, int] = {}
        for visit, world, kind in zip(self.visit_E.tolist(), self.world_E.tolist(), self.kinds, strict=True):
            if kind is not Kind.PLACEBO:
                first[world] = min(visit, first.get(world, visit))
        live = np.array([kind is not Kind.PLACEBO for kind in self.kinds], bool)
        origin = np.array([first.get(world, -1) for world in self.world_E.tolist()], np.int64)
        return live & (self.visit_E > origin)

    def steps_at(self, time: Floats) -> Floats:
        """Optimiser steps done at a system time: between known moments by interpolation, outside by their mean pace."""
        return np.maximum(_interpolate(time, self.pace_A2[:, 1], self.pace_A2[:, 0]), 0.0)

    def time_of_step(self, step: Floats) -> Floats:
        """System time at which a number of steps was reached first, likewise."""
        steps_A, first_A = np.unique(self.pace_A2[:, 0], return_index=True)
        return _interpolate(step, steps_A, self.pace_A2[first_A, 1])

    def elapsed(self, clock: Clock, origin_N: Floats, time_N: Floats, experience_N: Numbers) -> Floats:
        """Counts what passed between two system times.

        Args:
            clock: In what to count.
            origin_N: Where it starts, s.
            time_N: Where it ends, s; infinite stays infinite.
            experience_N: Index of the experience that it is about: its own uses are no others'.

        Returns:
            float64 [N]; NaN where the run does not say what the clock needs.
        """
        finite_N = np.where(np.isfinite(time_N), time_N, origin_N)
        match clock:
            case Clock.SECONDS:
                passed_N = finite_N - origin_N
            case Clock.FRAMES:
                passed_N = (finite_N - origin_N) * _or_nan(self.rates.frames_per_second)
            case Clock.STEPS:
                passed_N = self.steps_at(finite_N) - self.steps_at(origin_N)
            case Clock.OTHERS:
                all_N = (self.steps_at(finite_N) - self.steps_at(origin_N)) * _or_nan(self.rates.batch)
                own_N = [
                    self._own(int(index), float(end)) - self._own(int(index), float(start))
                    for index, start, end in zip(experience_N, origin_N, finite_N, strict=True)
                ]
                passed_N = np.maximum(all_N - np.array(own_N, np.float64), 0.0)
        return np.where(np.isfinite(time_N) | np.isnan(passed_N), passed_N, np.inf)

    def _own(self, index: int, time: float) -> float:
        """Uses of an experience up to a system time, between its measurements by interpolation."""
        uses_V: Floats = self.exposures_EV[index]
        known_V = np.isfinite(uses_V)
        if not known_V.any():
            return nan
        return float(np.interp(time, self.time_V[known_V], uses_V[known_V], left=0.0))


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """Runs of one condition, one a seed.

    Attributes:
        runs: At least one.
    """

    runs: Sequence[Run] = field(default_factory=list[Run])

    @property
    def by_run(self) -> bool:
        """Whether runs are the clusters of intervals; visits are where there is but one run."""
        return len(self.runs) > 1

    def gather(self, each: Callable[[Run], Floats]) -> Floats:
        """Puts a number of each experience of each run in a row."""
        return np.concatenate([each(run) for run in self.runs]) if self.runs else np.zeros(0)


def _assemble(
    versions: Sequence[VersionRow],
    measured: Sequence[Mapping[str, ExperienceRow]],
    measure: Measure,
    rates: Rates,
    gate: Gate,
    *,
    rehearsed: Callable[[str], bool],
) -> Run:
    newest: dict[str, ExperienceRow] = {}
    ledger: dict[str, ExperienceRow] = {}
    for rows in measured:
        newest |= rows
        ledger |= {name: row for name, row in rows.items() if not isnan(row.exposures)}
    items = sorted(
        newest.values(), key=lambda row: (row.kind is Kind.PLACEBO, 0.0 if isnan(row.start) else row.start, row.name)
    )
    place = {row.name: index for index, row in enumerate(items)}
    visits = {visit: number for number, visit in enumerate(dict.fromkeys(row.visit for row in items))}
    names = tuple(dict.fromkeys(row.world for row in items))
    worlds = {name: number for number, name in enumerate(names)}
    shape = (len(items), len(versions))
    score_EV, exposures_EV, halves_EVH = np.full(shape, nan), np.full(shape, nan), np.full((*shape, 2), nan)
    for column, rows in enumerate(measured):
        for name, row in rows.items():
            index = place[name]
            score_EV[index, column] = row.value
            halves_EVH[index, column] = row.even, row.odd
            exposures_EV[index, column] = row.exposures
    time_V = np.array([row.system_time for row in versions], np.float64)
    wall_V = np.array([row.created_ns / 1e9 for row in versions], np.float64)
    step_V = np.array([row.step for row in versions], np.float64)
    known = [ledger.get(row.name) for row in items]
    uses = {
        pair
        for rows in measured
        for row in rows.values()
        for pair in ((row.first_step, row.first_ns), (row.last_step, row.last_ns))
        if not isnan(pair[0])
    }
    uses_U2 = np.array([(step, wall / 1e9) for step, wall in uses], np.float64).reshape(-1, 2)
    pace_A2 = np.concatenate(
        [
            np.stack([step_V, time_V], axis=1),
            np.stack([uses_U2[:, 0], _interpolate(uses_U2[:, 1], wall_V, time_V)], axis=1),
        ]
    )
    pace_A2 = np.maximum.accumulate(pace_A2[np.argsort(pace_A2[:, 1], kind="stable")], axis=0)
    return Run(
        rates=rates,
        measure=measure,
        version_V=np.array([row.version for row in versions], np.int64),
        step_V=step_V,
        time_V=time_V,
        wall_V=wall_V,
        pace_A2=pace_A2,
        healthy_V=np.array([gate.passes(row.health) for row in versions], bool),
        ungated=sum(not row.health for row in versions),
        worlds={
            world: np.array([row.worlds.get(world, nan) for row in versions], np.float64)
            for world in dict.fromkeys(world for row in versions for world in row.worlds)
        },
        names=tuple(place),
        kinds=tuple(row.kind for row in items),
        visit_E=np.array([visits[row.visit] for row in items], np.int64),
        world_E=np.array([worlds[row.world] for row in items], np.int64),
        world_names=names,
        start_E=np.array([row.start for row in items], np.float64),
        end_E=np.array([row.end for row in items], np.float64),
        rehearsed_E=np.array([row.kind is Kind.EXPOSED and rehearsed(row.name) for row in items], bool),
        score_EV=score_EV,
        halves_EVH=halves_EVH,
        exposures_EV=exposures_EV,
        admitted_E=np.array([row.admitted_step if row else nan for row in known], np.float64),
        last_step_E=np.array([row.last_step if row else nan for row in known], np.float64),
        first_E=_interpolate(
            np.array([row.first_ns / 1e9 if row else nan for row in known], np.float64), wall_V, time_V
        ),
        last_E=_interpolate(np.array([row.last_ns / 1e9 if row else nan for row in known], np.float64), wall_V, time_V),
        near_ceiling=sum(row.near_ceiling for rows in measured for row in rows.values()),
    )


def _interpolate(wanted: Floats, x_V: Floats, y_V: Floats) -> Floats:
    """Interpolates y at x; outside of what was measured it goes on at the pace of the whole."""
    if not len(x_V):
        return np.full(len(wanted), nan)
    span = x_V[-1] - x_V[0]
    pace = (y_V[-1] - y_V[0]) / span if span > 0 else 0.0
    inside = np.interp(wanted, x_V, y_V)
    beyond = np.minimum(wanted - x_V[0], 0.0) + np.maximum(wanted - x_V[-1], 0.0)
    return inside + beyond * pace


def _or_nan(value: float | None) -> float:
    return nan if value is None else float(value)
