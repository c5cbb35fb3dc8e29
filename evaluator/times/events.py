"""When experiences are memorised and forgotten: interval-censored, right-censored at the end, collapse beside them.

Shapes: N experiences, V versions, L measurements of an experience.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from evaluator.times.contrasts import Contrast
from evaluator.times.series import Series, first_run, run_maxima
from evaluator.times.study import Flags, Floats, Numbers, Run

CONSECUTIVE = 2
"""m: measurements in a row of which a statement must hold before it is believed."""


class Outcome(IntEnum):
    """What an experience came to."""

    CENSORED = 0
    """Not seen to happen by the end of its measurements."""
    EVENT = 1
    COLLAPSE = 2
    """The network collapsed first: neither memorised nor forgotten after that means anything."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Events:
    """One kind of event of some experiences of a run, in system time, s.

    Attributes:
        experience_N: Indices of the experiences in the run.
        origin_N: Where the clock starts.
        low_N: The event or collapse came after this; where censored, it had not come by then.
        high_N: And not after this; infinite where censored.
        outcome_N: What it came to, as `Outcome`.
        place_N: Measurement of the experience at which the event was seen first; −1 without one.
        followed_N: Without the event, the last measurement at which m in a row could have begun before the end or the
            collapse: an event later than that could not have been seen. With it, `low_N`.
    """

    experience_N: Numbers
    origin_N: Floats
    low_N: Floats
    high_N: Floats
    outcome_N: NDArray[np.int64]
    place_N: Numbers
    followed_N: Floats

    def pick(self, which: Flags) -> "Events":
        """Keeps some of the experiences."""
        names = ("experience_N", "origin_N", "low_N", "high_N", "outcome_N", "place_N", "followed_N")
        return Events(**{name: getattr(self, name)[which] for name in names})


def collapse_times(run: Run, origin_N: Floats, m: int) -> tuple[Floats, Floats]:
    """First collapse at or after each origin: system times of the last healthy version and of the first unhealthy one.

    A collapse is m consecutive unhealthy versions; both are infinite where none follows.
    """
    unhealthy_V = ~run.healthy_V
    if len(unhealthy_V) < m:
        return np.full(len(origin_N), np.inf), np.full(len(origin_N), np.inf)
    sick = np.lib.stride_tricks.sliding_window_view(unhealthy_V, m).all(axis=-1)
    in_collapse_V = np.zeros(len(unhealthy_V), bool)
    for shift in range(m):
        in_collapse_V[shift : shift + len(sick)] |= sick
    places = np.flatnonzero(in_collapse_V)
    if not len(places):
        return np.full(len(origin_N), np.inf), np.full(len(origin_N), np.inf)
    after_N = np.searchsorted(run.time_V[places], origin_N)
    hit_N = after_N < len(places)
    column_N = places[np.minimum(after_N, len(places) - 1)]
    before_N = np.where(column_N > 0, run.time_V[np.maximum(column_N - 1, 0)], origin_N)
    high_N = np.where(hit_N, run.time_V[column_N], np.inf)
    return np.where(hit_N, np.maximum(before_N, origin_N), np.inf), high_N


def memorised(run: Run, contrast: Contrast, theta: float, m: int = CONSECUTIVE) -> Events:
    """T_mem: from capture (of the first frame) to the first of m consecutive measurements with D ≥ θ.

    Only measurements of healthy versions that were trained on the experience can be a memory's.
    """
    origin_N = run.start_E[contrast.experience_N]
    series = Series.of(contrast.full_NV)
    may_NL = series.pack(contrast.trained_NV & run.healthy_V)
    place_N = first_run(may_NL & (series.value_NL >= theta), m)
    return _events(run, contrast.experience_N, series=series, origin_N=origin_N, place_N=place_N, m=m)


def half_of_peak(run: Run, contrast: Contrast, theta: float, m: int = CONSECUTIVE) -> Events:
    """From capture to the first of m consecutive measurements with D ≥ ½ of its greatest level, of what was memorised.

    The even half of the frames says what the greatest level is that m consecutive measurements all reach, the odd one
    when half of it is reached.
    """
    known = memorised(run, contrast, theta, m)
    chosen = contrast.pick(known.outcome_N == Outcome.EVENT)
    healthy_NV = chosen.trained_NV & run.healthy_V
    peak_N = run_maxima(Series.of(np.where(healthy_NV, chosen.halves_NVH[:, :, 0], np.nan)).value_NL, m)
    series = Series.of(chosen.halves_NVH[:, :, 1])
    reached_NL = series.pack(healthy_NV) & (series.value_NL >= peak_N[:, None] / 2)
    origin_N = run.start_E[chosen.experience_N]
    return _events(run, chosen.experience_N, series=series, origin_N=origin_N, place_N=first_run(reached_NL, m), m=m)


@dataclass(frozen=True, kw_only=True, eq=False)
class Forgetting:
    """What was memorised before its last gradient exposure, seen from that exposure on.

    Attributes:
        events: T_forget, from the last exposure.
        contrast: Their contrast.
        level_N: D of the even half at the last exposure.
    """

    events: Events
    contrast: Contrast
    level_N: Floats


def forgotten(run: Run, contrast: Contrast, known: Events, m: int = CONSECUTIVE) -> Forgetting:
    """T_forget: from the last gradient exposure to the first of m consecutive measurements with D ≤ ½ of its level.

    The even half of the frames gives the level, at the last measurement before or at the exposure, and so the
    threshold; the odd half says when D falls to it. Only what had been memorised by its last exposure, with a level
    above 0, can be forgotten.

    Args:
        run: The run.
        contrast: What `known` was found in.
        known: T_mem.
        m: Measurements in a row.
    """
    last_N = run.last_E[contrast.experience_N]
    chosen = (known.outcome_N == Outcome.EVENT) & (known.high_N <= last_N)
    kept, last_N = contrast.pick(chosen), last_N[chosen]
    before_NV = np.isfinite(kept.halves_NVH[:, :, 0]) & (run.time_V <= last_N[:, None]) & run.healthy_V
    column_N = before_NV.shape[1] - 1 - before_NV[:, ::-1].argmax(axis=1) if before_NV.shape[1] else last_N.astype(int)
    level_N = kept.halves_NVH[np.arange(len(last_N)), column_N, 0]
    with np.errstate(invalid="ignore"):
        usable = before_NV.any(axis=1) & (level_N > 0)
    kept, last_N, level_N = kept.pick(usable), last_N[usable], level_N[usable]
    after_NV = (run.time_V > last_N[:, None]) & run.healthy_V
    series = Series.of(np.where(run.time_V > last_N[:, None], kept.halves_NVH[:, :, 1], np.nan))
    fallen_NL = series.pack(after_NV) & (series.value_NL <= level_N[:, None] / 2)
    events = _events(run, kept.experience_N, series=series, origin_N=last_N, place_N=first_run(fallen_NL, m), m=m)
    return Forgetting(events=events, contrast=kept, level_N=level_N)


def rememorised(run: Run, gone: Forgetting, theta: float, m: int = CONSECUTIVE) -> Events:
    """From being forgotten to the first of m consecutive measurements with D as high as at the last exposure, and ≥ θ.

    It had no gradient in between: what brings it back is what was learned from others, such as a return to its world.
    """
    chosen = gone.events.outcome_N == Outcome.EVENT
    kept, since_N = gone.contrast.pick(chosen), gone.events.high_N[chosen]
    least_N = np.maximum(gone.level_N[chosen], theta)
    series = Series.of(np.where(run.time_V > since_N[:, None], kept.full_NV, np.nan))
    place_N = first_run(series.pack(run.healthy_V[None, :] & (kept.full_NV >= least_N[:, None])), m)
    return _events(run, kept.experience_N, series=series, origin_N=since_N, place_N=place_N, m=m)


def _events(run: Run, experience_N: Numbers, *, series: Series, origin_N: Floats, place_N: Numbers, m: int) -> Events:
    """Puts an event between two measurements, or censors it at the last one that could have begun m of them."""
    seen_N = place_N >= 0
    time_NL = run.time_V[series.column_NL] if len(run.time_V) else np.zeros(series.column_NL.shape)
    high_N = np.where(seen_N, _at(time_NL, place_N, origin_N), np.inf)
    low_N = np.where(
        seen_N,
        _at(time_NL, place_N - 1, origin_N),
        _at(time_NL, series.count_N - m, origin_N),
    )
    low_N = np.maximum(low_N, origin_N)
    healthy_N, sick_N = collapse_times(run, origin_N, m)
    complete_N = np.where(seen_N, _at(time_NL, place_N + m - 1, origin_N), np.inf)
    collapsed_N = np.isfinite(sick_N) & (complete_N >= sick_N)
    healthy_count_N = (np.isfinite(series.value_NL) & (time_NL <= healthy_N[:, None])).sum(axis=1)
    outcome_N = np.where(collapsed_N, Outcome.COLLAPSE, np.where(seen_N, Outcome.EVENT, Outcome.CENSORED))
    return Events(
        experience_N=experience_N,
        origin_N=origin_N,
        low_N=np.where(collapsed_N, healthy_N, low_N),
        high_N=np.where(collapsed_N, sick_N, high_N),
        outcome_N=outcome_N.astype(np.int64),
        place_N=np.where(collapsed_N, -1, place_N),
        followed_N=np.maximum(np.where(collapsed_N, _at(time_NL, healthy_count_N - m, origin_N), low_N), origin_N),
    )


def _at(time_NL: Floats, place_N: Numbers, otherwise_N: Floats) -> Floats:
    """Time of a measurement by its place, and something else where there is none at that place."""
    if not time_NL.shape[1]:
        return otherwise_N
    inside_N = np.clip(place_N, 0, time_NL.shape[1] - 1)
    return np.where(place_N >= 0, time_NL[np.arange(len(place_N)), inside_N], otherwise_N)
