"""One kind of event in every way that it is told: medians by clock, their sensitivity, shares, and the curve."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluator.scores import NotMeasurable, Result, Score
from evaluator.times.analysis import Analysis, Found
from evaluator.times.contrasts import OfRun
from evaluator.times.events import Outcome
from evaluator.times.study import Clock, Floats
from evaluator.times.survival import Curve, Durations, incidence_curve, median, survival_curve, turnbull_median

LEAST_AT_RISK = 5
"""Fewest experiences still followed at the time that shares are given for."""
_IMPUTED = {"start": 0.0, "middle": 0.5, "end": 1.0}
OUTCOMES = {Outcome.EVENT: "event", Outcome.CENSORED: "censored", Outcome.COLLAPSE: "collapse"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Between which two numbers one lies that the data do not pin down.

    Attributes:
        low: Smaller end.
        high: Greater end.
    """

    low: float
    high: float

    def row(self) -> dict[str, float]:
        """Gives the range as plain JSON."""
        return {"low": self.low, "high": self.high}


@dataclass(frozen=True, kw_only=True, eq=False)
class TimeSummary:
    """One kind of event.

    Attributes:
        counts: Experiences by what they came to: `event`, `censored`, `collapse`.
        medians: Kaplan–Meier's on midpoints, by clock; collapse counts as censoring.
        imputed: The same in seconds with the `start`, `middle` and `end` of each interval.
        turnbull: Turnbull's in seconds, which imputes nothing.
        horizon: Seconds up to which at least `LEAST_AT_RISK` experiences were followed; None for none.
        shares: Aalen–Johansen's at the horizon: `event` and `collapse`; `event_start` and `event_end` say how much
            hangs on the midpoints.
        curve: Kaplan–Meier's in seconds; None where there was no event.
    """

    counts: Mapping[str, int]
    medians: Mapping[Clock, Result]
    imputed: Mapping[str, Result]
    turnbull: Range | NotMeasurable
    horizon: float | None
    shares: Mapping[str, Result]
    curve: Curve | None

    def row(self) -> dict[str, Any]:
        """Gives it as plain JSON."""
        return {
            "counts": dict(self.counts),
            "medians": {str(clock): result.row() for clock, result in self.medians.items()},
            "imputed": {name: result.row() for name, result in self.imputed.items()},
            "turnbull": self.turnbull.row(),
            "horizon": self.horizon,
            "shares": {name: result.row() for name, result in self.shares.items()},
            "curve": None if self.curve is None else _curve_row(self.curve),
        }


def time_summary(analysis: Analysis, found: Found | NotMeasurable, what: str) -> TimeSummary | NotMeasurable:
    """Tells of one kind of event, named `what` in the reasons why something is not measurable."""
    if isinstance(found, NotMeasurable):
        return found
    seconds = analysis.durations(found)
    if not len(seconds.low_N):
        return NotMeasurable("no experience was at risk of it")
    between = turnbull_median(seconds)
    horizon = _horizon(seconds)
    return TimeSummary(
        counts={name: int((seconds.outcome_N == outcome).sum()) for outcome, name in OUTCOMES.items()},
        medians={clock: median(analysis.durations(found, clock), what=what) for clock in Clock},
        imputed={name: median(seconds, share, what=what) for name, share in _IMPUTED.items()},
        turnbull=between if isinstance(between, NotMeasurable) else Range(low=between[0], high=between[1]),
        horizon=horizon,
        shares=_shares(seconds, horizon),
        curve=survival_curve(seconds) if (seconds.outcome_N == Outcome.EVENT).any() else None,
    )


def _horizon(seconds: Durations) -> float | None:
    """Longest time at which enough experiences have neither come to an end nor gone out of sight."""
    followed_N = np.sort(np.where(np.isfinite(seconds.high_N), seconds.high_N, seconds.low_N))
    return float(followed_N[-LEAST_AT_RISK]) if len(followed_N) >= LEAST_AT_RISK else None


def _shares(seconds: Durations, horizon: float | None) -> dict[str, Result]:
    chosen = (
        ("event", Outcome.EVENT, 0.5),
        ("event_start", Outcome.EVENT, 0.0),
        ("event_end", Outcome.EVENT, 1.0),
        ("collapse", Outcome.COLLAPSE, 0.5),
    )
    return {name: _share(seconds, cause, share, horizon) for name, cause, share in chosen}


def _share(seconds: Durations, cause: Outcome, share: float, horizon: float | None) -> Result:
    if horizon is None:
        return NotMeasurable(f"fewer than {LEAST_AT_RISK} experiences were followed")
    curve = incidence_curve(seconds, cause, share)
    place = int(np.searchsorted(curve.time_T, horizon, side="right")) - 1
    subjects, clusters = len(seconds.low_N), seconds.clusters
    if place < 0 or curve.value_T[place] == 0:
        return Score(value=0.0, low=None, high=None, frames=subjects, clusters=clusters)
    value, low, high = (float(ends[place]) for ends in (curve.value_T, curve.low_T, curve.high_T))
    has = bool(np.isfinite([low, high]).all())
    return Score(value=value, low=low if has else None, high=high if has else None, frames=subjects, clusters=clusters)


def latency(analysis: Analysis, of: OfRun) -> Result:
    """Median of a latency that the ledger knows exactly, over experiences that were used: none of it is censored."""
    parts = [
        (run, contrast.experience_N) for run, contrast in zip(analysis.study.runs, analysis.contrasts, strict=True)
    ]
    values = [of(run)[chosen] for run, chosen in parts]
    clusters = [
        np.full(len(chosen), number) if analysis.study.by_run else run.visit_E[chosen]
        for number, (run, chosen) in enumerate(parts)
    ]
    value_N = np.concatenate([np.zeros(0), *values])
    known_N = np.isfinite(value_N)
    value_N = np.maximum(value_N[known_N], 0.0)
    return median(
        Durations(
            low_N=value_N,
            high_N=value_N,
            followed_N=value_N,
            outcome_N=np.full(len(value_N), Outcome.EVENT, np.int64),
            cluster_N=np.concatenate([np.zeros(0, np.int64), *clusters])[known_N],
        ),
        what="a use",
    )


def _curve_row(curve: Curve) -> dict[str, list[float | None]]:
    names = {"time": curve.time_T, "value": curve.value_T, "low": curve.low_T, "high": curve.high_T}
    return {name: _plain(of_T) for name, of_T in names.items()}


def _plain(of_T: Floats) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in of_T]
