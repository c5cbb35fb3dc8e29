"""Conditions along an axis, and the power laws of times along it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploy.studies.report.design import Axis, Design
from deploy.studies.report.findings import CLOCKS, Findings, Half, Timed, What, Whom
from deploy.studies.report.material import Material
from evaluator.scaling import PowerLaw, Times, fit_censored, fit_medians
from evaluator.scores import NotMeasurable, Score
from evaluator.times.events import Outcome
from evaluator.times.study import Clock, Floats

_BELOW = NotMeasurable("the axis has a place at or below 0, where a power law has none")


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """Conditions that differ on one axis alone.

    Attributes:
        axis: The axis.
        name: What they have in common: levels on other axes, and the block of streams where there are several; may be
            empty.
        findings: In the order of the axis.
        paired: Whether the levels saw the same streams.
    """

    axis: Axis
    name: str
    findings: Sequence[Findings]
    paired: bool

    @property
    def x(self) -> Floats:
        """Where each stands on the axis; NaN where that is not a number."""
        return np.array([self.axis.value(level_of(one, self.axis)) for one in self.findings], np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """The laws of one time along one series.

    Attributes:
        series: Along which.
        what: Which time.
        whom: Of which experiences.
        clock: In what.
        censored: Of all experiences, by maximum likelihood.
        medians: Of one median a trial, by least squares.
    """

    series: Series
    what: What | Half
    whom: Whom
    clock: Clock
    censored: PowerLaw | NotMeasurable
    medians: PowerLaw | NotMeasurable

    def row(self) -> dict[str, Any]:
        """Gives it as plain JSON."""
        return {
            "axis": self.series.axis.name,
            "series": self.series.name,
            "time": str(self.what),
            "of": str(self.whom),
            "clock": str(self.clock),
            "paired": self.series.paired,
            "censored": self.censored.row(),
            "medians": self.medians.row(),
        }


def level_of(one: Findings, axis: Axis) -> str | None:
    """Name of a condition's level on an axis."""
    return one.condition.variant.levels.get(axis.name)


def series_along(material: Material, axis: Axis) -> list[Series]:
    """Sorts the conditions on an axis into series; those that are not on it are left out."""
    place = {level.name: number for number, level in enumerate(axis.levels)}
    groups: dict[tuple[str, bool, str], list[Findings]] = {}
    for one in material.findings:
        if level_of(one, axis) in place:
            others = _others(material.design, one, axis)
            groups.setdefault((others, one.condition.variant.iid, one.condition.apart), []).append(one)
    found: list[Series] = []
    for (others, iid, apart), members in groups.items():
        blocks = sorted({one.condition.block for one in members})
        own = all(sum(one.condition.block == block for one in members) == 1 for block in blocks)
        together = len(blocks) == 1 or own  # a stream of its own for every level: the stream is what is varied
        for block in [blocks[0]] if together else blocks:
            chosen = [one for one in members if together or one.condition.block == block]
            chosen.sort(key=lambda one: place[level_of(one, axis) or ""])
            words = [others, "i.i.d." if iid else "", apart, "" if together else f"streams {block + 1}"]
            name = ", ".join(word for word in words if word)
            found.append(Series(axis=axis, name=name, findings=chosen, paired=len(blocks) == 1 or not own))
    return found


def _others(design: Design, one: Findings, axis: Axis) -> str:
    levels = one.condition.variant.levels
    return ", ".join(levels[other.name] for other in design.axes if other.name != axis.name and other.name in levels)


def fits(material: Material) -> list[Fit]:
    """Fits both laws to every time along every numeric axis."""
    found: list[Fit] = []
    for axis in material.design.axes:
        for series in series_along(material, axis) if axis.numeric else []:
            if len(series.findings) < 2:
                continue
            for what, whom in dict.fromkeys(key for one in series.findings for key in one.times):
                found += [_fit(series, what, whom, clock) for clock in CLOCKS]
            for whom in dict.fromkeys(whom for one in series.findings for whom, _ in one.halves):
                found += [_fit_halves(series, half, whom, clock) for half in Half for clock in CLOCKS]
    return found


def _fit_halves(series: Series, half: Half, whom: Whom, clock: Clock) -> Fit:
    only = NotMeasurable("the mean over experiences has one time a trial, and none that is censored")
    if not (series.x > 0).all():
        return Fit(series=series, what=half, whom=whom, clock=clock, censored=only, medians=_BELOW)
    rows = [
        (x, result.value if isinstance(result, Score) else np.nan, cluster)
        for number, (one, x) in enumerate(zip(series.findings, series.x.tolist(), strict=True))
        for cluster, result in zip(_clusters(series, number), one.each_time(half, whom, clock), strict=False)
    ]
    x_T, time_T, cluster_T = np.array(rows, np.float64).reshape(-1, 3).T
    law = fit_medians(x_T, time_T, cluster_T.astype(np.int64))
    return Fit(series=series, what=half, whom=whom, clock=clock, censored=only, medians=law)


def _clusters(series: Series, number: int) -> list[int]:
    """Seeds of a level's trials where they are paired with those of others; otherwise a number of each trial's own."""
    seeds = series.findings[number].condition.seeds
    return seeds if series.paired else [10_000 * number + place for place in range(len(seeds))]


def _fit(series: Series, what: What, whom: Whom, clock: Clock) -> Fit:
    def both(result: PowerLaw | NotMeasurable, other: PowerLaw | NotMeasurable) -> Fit:
        return Fit(series=series, what=what, whom=whom, clock=clock, censored=result, medians=other)

    if not (series.x > 0).all():
        return both(_BELOW, _BELOW)
    parts: list[tuple[Floats, ...]] = []
    medians: list[tuple[float, float, float]] = []
    reason: NotMeasurable | None = None
    for number, (one, x) in enumerate(zip(series.findings, series.x.tolist(), strict=True)):
        timed = one.times.get((what, whom), NotMeasurable("nothing was rehearsed on purpose"))
        if isinstance(timed, NotMeasurable):
            reason = timed
            continue
        cluster_T = np.array(_clusters(series, number), np.float64)
        parts.append(_times(timed, clock, x, cluster_T))
        for cluster, of_trial in zip(cluster_T.tolist(), timed.each, strict=True):
            result = of_trial[clock]
            medians.append((x, result.value if isinstance(result, Score) else np.nan, cluster))
    if not parts:
        assert reason is not None
        return both(reason, reason)
    x_N, low_N, high_N, cluster_N = (np.concatenate(of) for of in zip(*parts, strict=True))
    if np.isnan(low_N).any():
        because = NotMeasurable("a run does not say what this clock counts")
        return both(because, because)
    times = Times(x_N=x_N, low_N=low_N, high_N=high_N, cluster_N=cluster_N.astype(np.int64))
    x_T, median_T, cluster_T = np.array(medians, np.float64).T
    return both(fit_censored(times), fit_medians(x_T, median_T, cluster_T.astype(np.int64)))


def _times(timed: Timed, clock: Clock, x: float, cluster_T: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Ends of all intervals; a collapse censors at the last moment at which the event could have been seen."""
    durations = timed.durations[clock]
    event_N = durations.outcome_N == Outcome.EVENT
    return (
        np.full(len(event_N), x),
        np.where(event_N, durations.low_N, durations.followed_N),
        np.where(event_N, durations.high_N, np.inf),
        cluster_T[durations.cluster_N.astype(np.int64)],
    )
