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
from deploy.studies.report.measured import Measured
from evaluator.scores import NotMeasurable, Result, Score
from evaluator.seeds import over_seeds
from evaluator.times.analysis import Analysis, Found, durations_of
from evaluator.times.contrasts import mean_at, world_contrast, world_differences
from evaluator.times.events import Outcome
from evaluator.times.population import Course, Which, course
from evaluator.times.retention import LEAST_IN_BIN, ages
from evaluator.times.saving import saving
from evaluator.times.study import Clock, Flags, Floats, Run, Study
from evaluator.times.survival import Curve, Durations, leave_one_out, median, survival_curve, t_interval
from evaluator.times.telling import OUTCOMES
from evaluator.times.threshold import Threshold

CLOCKS = (Clock.SECONDS, Clock.STEPS)
"""Clocks that are shown."""
_FEW = 100
"""Replicates of the half-times of a single trial, whose interval only says whether its level is above 0."""
_NONE = "nothing was rehearsed on purpose"
BINS = 8
"""Most bins of age, with as many measurements in each."""


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
class Line:
    """A number along a way: over time or over age.

    Attributes:
        at: Seconds.
        value: The number.
        low: Lower end of its 95 % interval over trials; NaN where there is none; likewise the next.
        high: Upper end.
    """

    at: Floats
    value: Floats
    low: Floats
    high: Floats


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
    lines, of_memory = _contrasts(analysis)
    scores = [dict(one.scores) | more | _shares(analysis, number) for number, (one, more) in enumerate(
        zip(measured, of_memory, strict=True)
    )]  # fmt: skip
    return Findings(
        condition=replace(condition, trials=[one.trial for one in measured]),
        theta=analysis.threshold,
        times=times,
        halves=_halves(analysis),
        margin=_margin(analysis),
        saving=saving(analysis),
        retention=_retention(analysis),
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


def _halves(analysis: Analysis) -> dict[tuple[Whom, Clock], Halves]:
    runs, contrasts = analysis.study.runs, analysis.contrasts
    whom: dict[Whom, Which] = {Whom.EXPOSED: _all}
    if any(run.rehearsed_E.any() for run in runs):
        whom[Whom.REHEARSED] = _rehearsed
    return {
        (of, clock): Halves(
            pooled=course(runs, contrasts, clock=clock, which=which),
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


def _contrasts(analysis: Analysis) -> tuple[dict[str, Line | NotMeasurable], list[dict[str, Result]]]:
    """D over the stream: lines over trials, and the mean over versions and the end of each trial."""
    names = {"episodic": (q.EPISODIC, q.EPISODIC_LAST), "world": (q.WORLD, q.WORLD_LAST)}
    each: dict[str, list[dict[int, Result]]] = {name: [] for name in names}
    moments: list[dict[int, float]] = []
    for run, contrast in zip(analysis.study.runs, analysis.contrasts, strict=True):
        columns = range(len(run.version_V))
        each["episodic"].append({int(run.version_V[v]): mean_at(contrast, run, v) for v in columns})
        each["world"].append(_worlds(run))
        moments.append({int(run.version_V[v]): float(run.time_V[v] - run.time_V[0]) for v in columns})
    scores: list[dict[str, Result]] = [{} for _ in moments]
    for name, (over, last) in names.items():
        for of_trial, results in zip(scores, each[name], strict=True):
            ended = list(results.values())
            of_trial[over] = _without_interval(over_seeds(ended))
            of_trial[last] = _without_interval(ended[-1]) if ended else NotMeasurable("no version was measured")
    return {name: _line(each[name], moments) for name in names}, scores


def _worlds(run: Run) -> dict[int, Result]:
    """World contrast at each version, without its interval over worlds."""
    found = list(world_differences(run).values())
    versions = run.version_V.tolist()
    if not found:
        return dict.fromkeys(versions, world_contrast(run)) if versions else {}
    known_WV = np.stack(found)
    results: dict[int, Result] = {}
    for column, version in enumerate(versions):
        of_V = known_WV[:, column][np.isfinite(known_WV[:, column])]
        results[version] = (
            Score(value=float(of_V.mean()), low=None, high=None, frames=len(of_V), clusters=len(of_V))
            if len(of_V)
            else NotMeasurable("no visited world was measured both before its first visit and now")
        )
    return results


def _without_interval(result: Result) -> Result:
    if isinstance(result, NotMeasurable):
        return result
    return Score(value=result.value, low=None, high=None, frames=result.frames, clusters=1)


def _line(each: Sequence[Mapping[int, Result]], moments: Sequence[Mapping[int, float]]) -> Line | NotMeasurable:
    """Mean over trials at every version that most of them were measured at."""
    rows: list[tuple[float, float, float, float]] = []
    for version in sorted({version for results in each for version in results}):
        results = [results[version] for results in each if version in results]
        known = [result for result in results if isinstance(result, Score)]
        if 2 * len(known) <= len(each):
            continue
        mean = over_seeds(known)
        assert isinstance(mean, Score)
        time = float(np.mean([of[version] for of in moments if version in of]))
        rows.append((time, mean.value, _or_nan(mean.low), _or_nan(mean.high)))
    if not rows:
        reasons = [result for results in each for result in results.values() if isinstance(result, NotMeasurable)]
        return reasons[-1] if reasons else NotMeasurable("no version was measured")
    table = np.array(rows, np.float64)
    return Line(at=table[:, 0], value=table[:, 1], low=table[:, 2], high=table[:, 3])


def _margin(analysis: Analysis) -> Result:
    if isinstance(analysis.threshold, NotMeasurable):
        return analysis.threshold
    if isinstance(analysis.gone, NotMeasurable):
        return analysis.gone
    level_N = np.concatenate([one.level_N for one in analysis.gone])
    if not len(level_N):
        return NotMeasurable("nothing was memorised by its last exposure")
    value = float(np.median(level_N)) / analysis.threshold.theta
    return Score(value=value, low=None, high=None, frames=len(level_N), clusters=len(analysis.study.runs))


def _retention(analysis: Analysis) -> Line | NotMeasurable:
    """Ratio of sums D ÷ level in bins of age, with a jackknife-t interval over trials."""
    gone = analysis.gone
    if isinstance(gone, NotMeasurable):
        return gone
    parts = [
        ages(run, one, np.full(len(one.level_N), number, np.int64))
        for number, (run, one) in enumerate(zip(analysis.study.runs, gone, strict=True))
    ]
    age, left, level, cluster = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("age", "left", "level", "cluster")
    )
    if len(age) < LEAST_IN_BIN:
        return NotMeasurable("fewer than five measurements follow the last exposure of something memorised")
    edges = np.unique(np.quantile(age, np.linspace(0, 1, min(BINS, len(age) // LEAST_IN_BIN) + 1)))
    bin_M = np.clip(np.searchsorted(edges, age, side="right") - 1, 0, max(len(edges) - 2, 0))
    rows: list[tuple[float, float, float, float]] = []
    for number in np.unique(bin_M):
        use = bin_M == number
        weight_RN = leave_one_out(cluster[use])
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio_R = (weight_RN @ left[use]) / (weight_RN @ level[use])
        low, high = t_interval(ratio_R, len(weight_RN) - 1)
        rows.append((float(age[use].mean()), float(ratio_R[0]), _or_nan(low), _or_nan(high)))
    table = np.array(rows, np.float64)
    return Line(at=table[:, 0], value=table[:, 1], low=table[:, 2], high=table[:, 3])


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
