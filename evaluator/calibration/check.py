"""Many simulated studies: are the planted medians found, and do 95 % intervals hold them 95 % of the time?"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import sqrt
from statistics import fmean, median
from typing import Any

import numpy as np

from evaluator.calibration.plan import Noise, Plan, truth
from evaluator.calibration.simulator import simulate
from evaluator.scores import NotMeasurable, Score
from evaluator.times.analysis import Analysis
from evaluator.times.events import CONSECUTIVE, Outcome
from evaluator.times.study import Run, Study
from evaluator.times.survival import median as median_of
from evaluator.times.survival import percentile_interval

BETWEEN_RUNS = 0.1
"""Deviation between runs of the logarithms of what is planted, in studies of several runs."""
NULL_EVERY = 10
"""One study of so many is followed by one of which nothing is ever learned."""


class Time(StrEnum):
    """What is planted and recovered."""

    MEMORISED = "memorised"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovered:
    """One time of one study.

    Attributes:
        planted: Its median without noise, over all experiences that might have been, s.
        estimate: The median found, s; None where it was not measurable.
        inside: Whether the interval holds the planted median.
        inside_percentile: Whether the percentile bootstrap's does.
        censored: Share of experiences that had not come to the event.
    """

    planted: float
    estimate: float | None
    inside: bool
    inside_percentile: bool
    censored: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One simulated study.

    Attributes:
        times: What became of each planted time; empty where θ was not measurable.
        placebos: Placebos judged by a θ that they had no part in, and those called memorised.
        nothing: Exposed experiences of a study of which nothing is ever learned, and those called memorised.
    """

    times: dict[Time, Recovered]
    placebos: tuple[int, int] = (0, 0)
    nothing: tuple[int, int] = (0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """One time over all studies.

    Attributes:
        studies: Studies in which its median was measurable.
        not_measurable: Studies in which it was not.
        planted: Median of what was planted, s.
        ratio: Median of estimate ÷ planted.
        coverage: Share of the intervals that hold what was planted.
        error: Standard error of that share.
        coverage_percentile: The same share of percentile bootstrap intervals.
        censored: Mean share of experiences without the event.
    """

    studies: int
    not_measurable: int
    planted: float
    ratio: float
    coverage: float
    error: float
    coverage_percentile: float
    censored: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """What came out of all studies at one noise level.

    Attributes:
        studies: Studies simulated.
        runs: Runs of each.
        times: Agreement of each time; missing where it was never measurable.
        false_placebos: Share of placebos called memorised in a whole run, by a θ that they had no part in.
        false_memories: Share of exposed experiences called memorised of which nothing is ever learned.
        judged: Placebos and experiences behind these two shares.
    """

    studies: int
    runs: int
    times: dict[Time, Agreement]
    false_placebos: float | None
    false_memories: float | None
    judged: tuple[int, int]

    def row(self) -> dict[str, Any]:
        """Gives it as plain JSON."""
        names = tuple(Agreement.__dataclass_fields__)
        return {
            "studies": self.studies,
            "runs": self.runs,
            "times": {str(time): {name: getattr(of, name) for name in names} for time, of in self.times.items()},
            "false_placebos": self.false_placebos,
            "false_memories": self.false_memories,
            "judged": list(self.judged),
        }


def trials(plan: Plan, noise: Noise, runs: int, numbers: Iterable[int], m: int = CONSECUTIVE) -> Iterator[Trial]:
    """Simulates the studies with these numbers; a number is the seed of its study."""
    if runs > 1:
        plan = replace(plan, spread_run=BETWEEN_RUNS)
    for number in numbers:
        rng = np.random.default_rng([number, runs])
        yield _trial(plan, noise, runs, rng, m, with_null=number % NULL_EVERY == 0)


def agreement(found: Sequence[Trial], runs: int) -> Calibration:
    """Counts how often studies found what was planted."""
    placebos = np.sum([trial.placebos for trial in found], axis=0)
    nothing = np.sum([trial.nothing for trial in found], axis=0)
    times = {time: [trial.times[time] for trial in found if time in trial.times] for time in Time}
    return Calibration(
        studies=len(found),
        runs=runs,
        times={time: agreed for time, of in times.items() if (agreed := _agreement(of)) is not None},
        false_placebos=float(placebos[1] / placebos[0]) if placebos[0] else None,
        false_memories=float(nothing[1] / nothing[0]) if nothing[0] else None,
        judged=(int(placebos[0]), int(nothing[0])),
    )


def _trial(plan: Plan, noise: Noise, runs: int, rng: np.random.Generator, m: int, *, with_null: bool) -> Trial:
    analysis = _study(plan, noise, runs, rng, m)
    threshold = analysis.threshold
    if isinstance(threshold, NotMeasurable):
        return Trial(times={})
    planted = dict(zip(Time, truth(plan, threshold.theta), strict=True))
    found = {Time.MEMORISED: analysis.memorised, Time.FORGOTTEN: analysis.forgotten}
    times: dict[Time, Recovered] = {}
    for time, events in found.items():
        assert not isinstance(events, NotMeasurable), "there is a θ"
        durations = analysis.durations(events)
        result = median_of(durations)
        if isinstance(result, Score):
            inside = (result.low or 0.0) <= planted[time] and (result.high is None or planted[time] <= result.high)
            low, high = percentile_interval(durations)
        else:
            inside, low, high = False, np.inf, np.inf
        times[time] = Recovered(
            planted=planted[time],
            estimate=result.value if isinstance(result, Score) else None,
            inside=inside,
            inside_percentile=low <= planted[time] <= high,
            censored=float((durations.outcome_N != Outcome.EVENT).mean()) if len(durations.low_N) else 1.0,
        )
    nothing = (0, 0)
    if with_null:
        empty = _study(replace(plan, never=1.0), noise, runs, rng, m).memorised
        if not isinstance(empty, NotMeasurable):
            outcomes = np.concatenate([events.outcome_N for events in empty])
            nothing = (len(outcomes), int((outcomes == Outcome.EVENT).sum()))
    return Trial(times=times, placebos=(threshold.judged, threshold.false), nothing=nothing)


def _study(plan: Plan, noise: Noise, runs: int, rng: np.random.Generator, m: int) -> Analysis:
    return Analysis(study=Study(runs=[Run.read(simulate(plan, noise, rng)) for _ in range(runs)]), m=m)


def _agreement(found: Sequence[Recovered]) -> Agreement | None:
    measured = [one for one in found if one.estimate is not None and np.isfinite(one.planted)]
    if not measured:
        return None
    coverage = fmean(one.inside for one in measured)
    return Agreement(
        studies=len(measured),
        not_measurable=len(found) - len(measured),
        planted=median(one.planted for one in measured),
        ratio=median((one.estimate or 0.0) / one.planted for one in measured),
        coverage=coverage,
        error=sqrt(coverage * (1 - coverage) / len(measured)),
        coverage_percentile=fmean(one.inside_percentile for one in measured),
        censored=fmean(one.censored for one in measured),
    )
