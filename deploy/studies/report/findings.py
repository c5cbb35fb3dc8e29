"""What the trials of one condition say together; afterwards their rows are let go.

Shapes: T trials, V versions, N experiences, B bins of age.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from deploy.studies.report import quantities as q
from deploy.studies.report.blocks import Condition
from deploy.studies.report.lines import Line, contrasts, retention
from deploy.studies.report.measured import Measured
from evaluator.scores import NotMeasurable, Result, Score
from evaluator.seeds import over_seeds
from evaluator.times.analysis import Analysis, Found, durations_of
from evaluator.times.events import Outcome
from evaluator.times.population import Course, Which, course
from evaluator.times.saving import saving
from evaluator.times.study import Clock, Flags, Run, Study
from evaluator.times.summary import margin
from evaluator.times.survival import Curve, Durations, median, survival_curve
from evaluator.times.telling import OUTCOMES
from evaluator.times.threshold import Threshold

CLOCKS = (Clock.SECONDS, Clock.STEPS)
"""Clocks that are shown."""
_FEW = 100
"""Replicates of the half-times of a single trial, whose interval only says whether its level is above 0."""
_NONE = "nothing was rehearsed on purpose"


class What(StrEnum):
    """Which time."""

    T_MEM = "t_mem"
    """From capture to memory."""
    T_FORGET = "t_forget"
    """From the last exposure to half of the level."""

    @property
    def words(self) -> str:
        """How it is written."""
        return "T_mem" if self is What.T_MEM else "T_forget"


class Half(StrEnum):
    """Which half-time of the mean contrast, for where single experiences are too noisy."""

    RISE = "half_rise"
    """From capture to half of the mean level."""
    DECAY = "half_decay"
    """From the last exposure to half of it."""

    @property
    def words(self) -> str:
        """How it is written."""
        return "Half-time of learning" if self is Half.RISE else "Half-time of forgetting"


class Whom(StrEnum):
    """Of which experiences."""

    EXPOSED = "exposed"
    REHEARSED = "rehearsed"


@dataclass(frozen=True, kw_only=True, eq=False)
class Timed:
    """One kind of event of the experiences of a condition.

    Attributes:
        durations: All of them, by clock; clusters are places of trials.
        medians: Kaplan–Meier's, with jackknife intervals over trials, by clock.
        each: The same of each trial alone, without intervals.
        curve: Survival in seconds; None where there was no event.
        counts: Experiences by what they came to.
    """

    durations: Mapping[Clock, Durations]
    medians: Mapping[Clock, Result]
    each: Sequence[Mapping[Clock, Result]]
    curve: Curve | None
    counts: Mapping[str, int]

    @property
    def subjects(self) -> int:
        """Experiences at risk."""
        return sum(self.counts.values())

    def row(self) -> dict[str, Any]:
        """Gives counts and medians as plain JSON."""
        medians = {str(clock): result.row() for clock, result in self.medians.items()}
        return {"counts": dict(self.counts), "medians": medians}

    @property
    def censored(self) -> float:
        """Share of them that the event was not seen of."""
        return 1 - self.counts["event"] / max(self.subjects, 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Halves:
    """Half-times of the mean contrast.

    Attributes:
        pooled: Of all trials.
        each: Of each trial.
    """

    pooled: Course
    each: Sequence[Course]


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """A condition.

    Attributes:
        condition: Which.
        theta: θ of its trials together.
        times: By time and experiences; what is not measurable has a reason.
        halves: Half-times of the mean contrast, by experiences and clock.
        margin: Median of D at the last exposure ÷ θ.
        saving: How much faster a world is memorised on a return.
        retention: D ÷ level by seconds since the last exposure.
        lines: `episodic` and `world`: D over seconds of the stream.
        scores: Numbers of each trial, by key.
        drops: Fall of place accuracy by world, of each trial.
        versions: Numbers of each version of each trial.
        near_ceiling: Rows whose bits can hardly rise.
    """

    condition: Condition
    theta: Threshold | NotMeasurable
    times: Mapping[tuple[What, Whom], Timed | NotMeasurable]
    halves: Mapping[tuple[Whom, Clock], Halves]
    margin: Result
    saving: Result
    retention: Line | NotMeasurable
    lines: Mapping[str, Line | NotMeasurable]
    scores: Mapping[str, Sequence[Result]]
    drops: Sequence[Mapping[str, float]]
    versions: Sequence[Sequence[Mapping[str, float]]]
    near_ceiling: int

    @property
    def name(self) -> str:
        """Name of the condition."""
        return self.condition.name

    def time(self, what: What | Half, whom: Whom, clock: Clock) -> Result:
        """A time of all trials together: a median, or a half-time."""
        if isinstance(what, Half):
            halves = self.halves.get((whom, clock))
            return NotMeasurable(_NONE) if halves is None else _half(halves.pooled, what)
        timed = self.times.get((what, whom), NotMeasurable(_NONE))
        return timed.medians[clock] if isinstance(timed, Timed) else timed

    def each_time(self, what: What | Half, whom: Whom, clock: Clock) -> list[Result]:
        """The same of each trial alone."""
        if isinstance(what, Half):
            halves = self.halves.get((whom, clock))
            return [] if halves is None else [_half(of_trial, what) for of_trial in halves.each]
        timed = self.times.get((what, whom))
        return [of_trial[clock] for of_trial in timed.each] if isinstance(timed, Timed) else []

    def over_seeds(self, key: str) -> Result:
        """Mean of a number over trials, with its t-interval."""
        return over_seeds(self.scores.get(key, []))


def _half(of: Course, what: Half) -> Result:
    return of.rise if what is Half.RISE else of.decay


def find(condition: Condition, measured: Sequence[Measured]) -> Findings:
    """Takes what some trials say together.

    Args:
        condition: Which.
        measured: Its trials that could be read, in its order; at least one.
    """
    analysis = Analysis(study=Study(runs=[one.run for one in measured]))
    times = {
        (What.T_MEM, Whom.EXPOSED): _timed(analysis, analysis.memorised, What.T_MEM),
        (What.T_FORGET, Whom.EXPOSED): _timed(analysis, analysis.forgotten, What.T_FORGET),
    }
    if any(run.rehearsed_E.any() for run in analysis.study.runs):
        known, gone = analysis.rehearsed(analysis.memorised), analysis.rehearsed(analysis.forgotten)
        times[What.T_MEM, Whom.REHEARSED] = _timed(analysis, known, What.T_MEM)
        times[What.T_FORGET, Whom.REHEARSED] = _timed(analysis, gone, What.T_FORGET)
    lines, of_memory = contrasts(analysis)
    scores = [dict(one.scores) | more | _shares(analysis, number) for number, (one, more) in enumerate(
        zip(measured, of_memory, strict=True)
    )]  # fmt: skip
    return Findings(
        condition=replace(condition, trials=[one.trial for one in measured]),
        theta=analysis.threshold,
        times=times,
        halves=_halves(analysis, same_stream=len({one.trial.stream for one in measured}) == 1),
        margin=margin(analysis),
        saving=saving(analysis),
        retention=retention(analysis),
        lines=lines,
        scores={key: [of_trial[key] for of_trial in scores] for key in scores[0]},
        drops=[one.drops for one in measured],
        versions=[one.versions for one in measured],
        near_ceiling=sum(run.near_ceiling for run in analysis.study.runs),
    )


def _timed(analysis: Analysis, found: Found | NotMeasurable, what: What) -> Timed | NotMeasurable:
    if isinstance(found, NotMeasurable):
        return found
    parts = list(zip(analysis.study.runs, found, strict=True))
    durations = {clock: durations_of(parts, clock, by_run=True) for clock in CLOCKS}
    seconds = durations[Clock.SECONDS]
    if not len(seconds.low_N):
        return NotMeasurable("no experience was at risk of it")
    name = "memory" if what is What.T_MEM else "forgetting"
    return Timed(
        durations=durations,
        medians={clock: median(durations[clock], what=name) for clock in CLOCKS},
        each=[
            {clock: median(durations_of([part], clock, by_run=True), what=name) for clock in CLOCKS} for part in parts
        ],
        curve=survival_curve(seconds) if (seconds.outcome_N == Outcome.EVENT).any() else None,
        counts={word: int((seconds.outcome_N == outcome).sum()) for outcome, word in OUTCOMES.items()},
    )


def _halves(analysis: Analysis, *, same_stream: bool) -> dict[tuple[Whom, Clock], Halves]:
    runs, contrasts = analysis.study.runs, analysis.contrasts
    whom: dict[Whom, Which] = {Whom.EXPOSED: _all}
    if any(run.rehearsed_E.any() for run in runs):
        whom[Whom.REHEARSED] = _rehearsed
    return {
        (of, clock): Halves(
            pooled=course(runs, contrasts, clock=clock, which=which, same_stream=same_stream),
            each=[
                course([run], [contrast], clock=clock, which=which, replicates=_FEW)
                for run, contrast in zip(runs, contrasts, strict=True)
            ],
        )
        for of, which in whom.items()
        for clock in CLOCKS
    }


def _all(run: Run) -> Flags:
    return np.ones(len(run.names), bool)


def _rehearsed(run: Run) -> Flags:
    return run.rehearsed_E


def _shares(analysis: Analysis, number: int) -> dict[str, Result]:
    """Share of the experiences of one trial that were memorised: of all, and of those rehearsed."""
    known = analysis.memorised
    if isinstance(known, NotMeasurable):
        return dict.fromkeys((q.MEMORISED, q.MEMORISED_REHEARSED), known)
    of_trial, run = known[number], analysis.study.runs[number]
    chosen = run.rehearsed_E[of_trial.experience_N]
    return {
        q.MEMORISED: _share(of_trial.outcome_N == Outcome.EVENT, "no experience has a control"),
        q.MEMORISED_REHEARSED: _share(of_trial.outcome_N[chosen] == Outcome.EVENT, "nothing was rehearsed on purpose"),
    }


def _share(event_N: Any, reason: str) -> Result:
    count = len(event_N)
    if not count:
        return NotMeasurable(reason)
    return Score(value=float(event_N.mean()), low=None, high=None, frames=count, clusters=count)
