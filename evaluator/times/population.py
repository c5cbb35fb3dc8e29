"""Half-times of the mean contrast: how fast experiences are learned and lost on average, where no single one is sure.

T_mem and T_forget need D of *one* experience to pass θ. A small network, or a short study, may know all experiences a
little and none for sure; then the mean over experiences still has a course:

    level      mean D in the second half of the time in which an experience is trained on
    rise       first age at which the mean, fitted to rise alone (isotonic regression), is half the level
    decay      first time since the last exposure at which the mean, fitted to fall alone, is half the level

Nothing is chosen by its score, so nothing is selected by noise. The mean of many exponential decays looks like a power
law (Anderson & Tweney 1997), so the shape of the mean is not that of one memory: only half-times are told.

Shapes: P points (measurements of experiences), C clusters, R replicates.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from scipy.optimize import isotonic_regression

from evaluator.scores import NotMeasurable, Result, Score
from evaluator.times.contrasts import Contrast
from evaluator.times.study import Clock, Flags, Floats, Numbers, Run

REPLICATES = 400
SEED = 0
LEAST = 20
"""Fewest points that a mean is taken over."""
BEYOND = 0.05
"""Least share of the points that must lie beyond a crossing."""

type Which = Callable[[Run], Flags]
"""Says of each experience of a run whether it counts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Points:
    """Measurements of experiences of several runs.

    Attributes:
        elapsed_P: What has passed since capture, or since the last exposure.
        d_P: Contrast.
        run_P: Number of the run.
        visit_P: Visit within the run.
    """

    elapsed_P: Floats
    d_P: Floats
    run_P: Numbers
    visit_P: Numbers

    def __len__(self) -> int:
        return len(self.d_P)


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """How the mean contrast rises and falls.

    Attributes:
        level: While experiences are trained on.
        rise: Half-time of learning.
        decay: Half-time of forgetting.
    """

    level: Result
    rise: Result
    decay: Result

    def row(self) -> dict[str, Any]:
        """Gives it as plain JSON."""
        return {"level": self.level.row(), "rise": self.rise.row(), "decay": self.decay.row()}


def course(
    runs: Sequence[Run],
    contrasts: Sequence[Contrast],
    *,
    clock: Clock = Clock.SECONDS,
    which: Which = lambda run: np.ones(len(run.names), bool),
    same_stream: bool = False,
    replicates: int = REPLICATES,
) -> Course:
    """Finds the half-times of the mean contrast.

    Args:
        runs: Runs of one condition, at least one.
        contrasts: The episodic contrast of each.
        clock: In what times are counted.
        which: Which experiences count, for example those that were rehearsed.
        same_stream: All runs are on one stream, and so have its visits in common.
        replicates: How often the bootstrap draws.
    """
    trained = _gather(runs, contrasts, clock, which, _while_trained)
    late = _gather(runs, contrasts, clock, which, _late)
    after = _gather(runs, contrasts, clock, which, _afterwards)
    if len(late) < LEAST:
        reason = NotMeasurable(
            f"experiences were measured {len(late)} times while they were trained on; {LEAST} needed"
        )
        return Course(level=reason, rise=reason, decay=reason)
    draws = _Draws((trained, late, after), replicates, crossed=same_stream)
    level_R = np.array([_mean(late, weight) for weight in draws.of(late)])
    level = _score(level_R, late)
    if not isinstance(level, Score) or level.low is None or level.low <= 0:
        reason = NotMeasurable("the mean contrast while experiences are trained on is not above 0 for sure")
        return Course(level=level, rise=reason, decay=reason)
    rise_R = [
        _crossing(trained, weight, of / 2, rising=True) for weight, of in zip(draws.of(trained), level_R, strict=True)
    ]
    decay_R = [
        _crossing(after, weight, of / 2, rising=False) for weight, of in zip(draws.of(after), level_R, strict=True)
    ]
    return Course(
        level=level,
        rise=_score(np.array(rise_R), trained, "the mean contrast never reached half of its level"),
        decay=_score(
            np.array(decay_R), after, "the mean contrast never fell to half of its level while it was measured"
        ),
    )


type _Select = Callable[[Run, Contrast], tuple[Floats, Flags]]
"""Origin of each experience's clock [N], and which measurements count [N, V]."""


def _while_trained(run: Run, contrast: Contrast) -> tuple[Floats, Flags]:
    rows = contrast.experience_N
    return run.start_E[rows], run.time_V[None] <= run.last_E[rows, None]


def _late(run: Run, contrast: Contrast) -> tuple[Floats, Flags]:
    rows = contrast.experience_N
    middle_N = (run.first_E[rows] + run.last_E[rows]) / 2
    return run.start_E[rows], (run.time_V[None] >= middle_N[:, None]) & (run.time_V[None] <= run.last_E[rows, None])


def _afterwards(run: Run, contrast: Contrast) -> tuple[Floats, Flags]:
    rows = contrast.experience_N
    return run.last_E[rows], run.time_V[None] > run.last_E[rows, None]


def _gather(runs: Sequence[Run], contrasts: Sequence[Contrast], clock: Clock, which: Which, select: _Select) -> Points:
    parts: list[tuple[Floats, Floats, Numbers, Numbers]] = []
    for number, (run, contrast) in enumerate(zip(runs, contrasts, strict=True)):
        origin_N, counts_NV = select(run, contrast)
        known_N = which(run)[contrast.experience_N] & np.isfinite(origin_N)
        row_P, column_P = np.nonzero(counts_NV & np.isfinite(contrast.full_NV) & known_N[:, None])
        experience_P = contrast.experience_N[row_P]
        elapsed_P = run.elapsed(clock, origin_N[row_P], run.time_V[column_P], experience_P)
        parts.append(
            (elapsed_P, contrast.full_NV[row_P, column_P], np.full(len(row_P), number), run.visit_E[experience_P])
        )
    elapsed, d, number, visit = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.argsort(elapsed, kind="stable")
    return Points(elapsed_P=elapsed[order], d_P=d[order], run_P=number[order], visit_P=visit[order])


class _Draws:
    """Bootstrap of runs, and of visits within each that is drawn; the first replicate is the data themselves.

    Runs on one stream have its visits in common: what is hard about one is hard for all of them. Their visits are drawn
    once, for all (a crossed bootstrap).

    Args:
        points: What shares the draws.
        crossed: Runs are on one stream.
    """

    def __init__(self, points: Sequence[Points], replicates: int = REPLICATES, *, crossed: bool = False) -> None:
        pairs = sorted({pair for of in points for pair in _pairs(of)})
        self._place = {pair: number for number, pair in enumerate(pairs)}
        runs = sorted({run for run, _ in pairs})
        visits = {run: [number for number, pair in enumerate(pairs) if pair[0] == run] for run in runs}
        random = np.random.default_rng(SEED)
        self._weights_RU = np.zeros((replicates + 1, len(pairs)))
        self._weights_RU[0] = 1
        if crossed:
            self._cross(np.array(pairs, np.int64), random)
            return
        for replicate in range(1, replicates + 1):
            chosen = random.choice(runs, len(runs)).tolist() if len(runs) > 1 else runs
            for run in chosen:
                np.add.at(self._weights_RU[replicate], random.choice(visits[run], len(visits[run])), 1)

    def _cross(self, pairs_U2: Numbers, random: np.random.Generator) -> None:
        run_U, visit_U = (np.unique(pairs_U2[:, column], return_inverse=True)[1] for column in (0, 1))
        for weights_U in self._weights_RU[1:]:
            often = [
                random.multinomial(count, np.full(count, 1 / count)) if count > 1 else np.ones(1)
                for count in (run_U.max() + 1, visit_U.max() + 1)
            ]
            weights_U[:] = often[0][run_U] * often[1][visit_U]

    def of(self, points: Points) -> Iterator[Floats]:
        """Weight of each point in each replicate."""
        place_P = np.array([self._place[pair] for pair in _pairs(points)], np.int64)
        return (weights_U[place_P] for weights_U in self._weights_RU)


def _pairs(points: Points) -> list[tuple[int, int]]:
    return list(zip(points.run_P.tolist(), points.visit_P.tolist(), strict=True))


def _mean(points: Points, weight_P: Floats) -> float:
    total = weight_P.sum()
    return float((weight_P * points.d_P).sum() / total) if total else np.nan


def _crossing(points: Points, weight_P: Floats, half: float, *, rising: bool) -> float:
    """First elapsed time at which the monotone fit is at `half`; infinite where it never is.

    At its ends an isotonic fit follows single points: what lies beyond the crossing must have some weight.
    """
    total = weight_P.sum()
    if not total or not np.isfinite(half):
        return np.nan
    time_T, place_P = np.unique(points.elapsed_P, return_inverse=True)
    weight_T = np.bincount(place_P, weight_P, len(time_T))
    sum_T = np.bincount(place_P, weight_P * points.d_P, len(time_T))
    drawn_T = weight_T > 0
    weight_T, time_T = weight_T[drawn_T], time_T[drawn_T]
    fit: Any = cast(Any, isotonic_regression)(sum_T[drawn_T] / weight_T, weights=weight_T, increasing=rising)
    there_T = fit.x >= half if rising else fit.x <= half
    if weight_T[there_T].sum() < max(LEAST, BEYOND * total):
        return np.inf
    return float(time_T[np.argmax(there_T)])


def _score(values_R: Floats, points: Points, never: str = "nothing was measured") -> Result:
    if not np.isfinite(values_R[0]):
        return NotMeasurable(never)
    low, high = _interval(values_R[1:])
    return Score(value=float(values_R[0]), low=low, high=high, frames=len(points), clusters=_clusters(points))


def _interval(values_R: Floats) -> tuple[float | None, float | None]:
    """Percentile interval; an end that replicates do not reach is None."""
    known_R = np.sort(values_R[~np.isnan(values_R)])
    if 2 * len(known_R) < len(values_R):
        return None, None
    low, high = (float(known_R[round(share * (len(known_R) - 1))]) for share in (0.025, 0.975))
    return (low if np.isfinite(low) else None), (high if np.isfinite(high) else None)


def _clusters(points: Points) -> int:
    return len(set(zip(points.run_P.tolist(), points.visit_P.tolist(), strict=True)))
