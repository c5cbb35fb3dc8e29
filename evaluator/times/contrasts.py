"""Contrasts: the score of what was trained on, minus that of controls at the same version.

Shapes: N experiences, V versions, H halves of the frames (2), L measurements of an experience.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from scipy import stats

from evaluator.experience import Kind
from evaluator.scores import NotMeasurable, Result, Score
from evaluator.times.study import Flags, Floats, Numbers, Run

LEVEL = 0.95
"""Coverage of all intervals."""

type OfRun = Callable[[Run], Floats]
"""A number of each experience of a run."""


def t_half(error: float, freedom: float) -> float:
    """Half of the t-interval around an estimate with this standard error."""
    return float(cast(Any, stats).t.ppf((1 + LEVEL) / 2, freedom) * error)


@dataclass(frozen=True, kw_only=True, eq=False)
class Contrast:
    """D of some experiences of one run at each version.

    Attributes:
        experience_N: Their indices in the run.
        full_NV: D on all frames; NaN where the experience or all its controls were not measured.
        halves_NVH: D on the even and on the odd numbered frames, against the same half of the controls.
        trained_NV: Whether the weights of the version had been trained on it; what is never trained on is never
            memorised.
    """

    experience_N: Numbers
    full_NV: Floats
    halves_NVH: Floats
    trained_NV: Flags

    def pick(self, which: Flags | Numbers) -> "Contrast":
        """Keeps some of the experiences."""
        return Contrast(
            experience_N=self.experience_N[which],
            full_NV=self.full_NV[which],
            halves_NVH=self.halves_NVH[which],
            trained_NV=self.trained_NV[which],
        )


def episodic(run: Run, *, assigned: bool = False) -> Contrast:
    """D = S(exposed) − mean S(withheld blocks of the same visit), at the same version.

    Args:
        run: The run.
        assigned: Treat as trained on whatever learners were *allowed* to train on, once it had ended: the
            intention-to-treat contrast. Otherwise the ledger decides: uses in gradients above 0 at that version.

    Returns:
        One row for each exposed experience of a visit that has a withheld one; D before its end is NaN.
    """
    exposed, withheld = run.of(Kind.EXPOSED), run.of(Kind.WITHHELD)
    exposed = exposed[np.isin(run.visit_E[exposed], run.visit_E[withheld])]
    controls = [withheld[run.visit_E[withheld] == visit] for visit in run.visit_E[exposed]]
    ended_NV = run.time_V >= run.end_E[exposed, None]
    trained_NV = ended_NV if assigned else run.exposures_EV[exposed] > 0
    return _against(run, exposed, controls, ended_NV, trained_NV)


def placebo(run: Run) -> Contrast:
    """The same contrast of blocks that no learner ever saw: what D does when there is nothing to remember.

    A placebo has as many controls as the visit with the fewest withheld blocks, since the mean of more would be less
    noisy than what it stands for: the next ones of its walk in turn, or of its world where the walk is too short.
    """
    chosen = run.of(Kind.PLACEBO)
    count = fewest_controls(run)
    controls = [_next_in_turn(run, chosen, index, count) for index in chosen]
    has = np.array([len(of_one) > 0 for of_one in controls], bool)
    kept = [of_one for of_one in controls if len(of_one)]
    always = np.ones((int(has.sum()), len(run.version_V)), bool)
    return _against(run, chosen[has], kept, always, always)


def fewest_controls(run: Run) -> int:
    """Fewest withheld blocks of a visit that has both kinds; at least 1."""
    exposed, withheld = run.of(Kind.EXPOSED), run.of(Kind.WITHHELD)
    visits, counts = np.unique(run.visit_E[withheld], return_counts=True)
    both = np.isin(visits, run.visit_E[exposed])
    return int(counts[both].min(initial=len(withheld) or 1)) if both.any() else 1


def world_differences(run: Run) -> dict[str, Floats]:
    """Difference of differences of each visited world at each version.

    D = [S(world, w) − S(world, w₀)] − mean over placebo worlds of [S(placebo, w) − S(placebo, w₀)], with w₀ the last
    version before the world's first visit. Scores are those of whole worlds on frames that nobody trained on.

    Returns:
        World → D [V]; NaN before w₀. Worlds that were visited before the first version, or have no scores, are missing.
    """
    placebos = _placebo_worlds(run)
    if not placebos:
        return {}
    placebo_PV = np.stack([run.worlds[world] for world in placebos])
    found: dict[str, Floats] = {}
    for world, start in _first_visits(run).items():
        before = np.flatnonzero((run.time_V < start) & np.isfinite(run.worlds.get(world, run.time_V * np.nan)))
        if not len(before):
            continue
        origin = before[-1]
        own_V = run.worlds[world] - run.worlds[world][origin]
        control_V = (placebo_PV - placebo_PV[:, origin, None]).mean(axis=0)
        found[world] = np.where(np.arange(len(own_V)) >= origin, own_V - control_V, np.nan)
    return found


def world_contrast(run: Run, version: int = -1) -> Result:
    """Mean difference of differences over the visited worlds, with a t-interval over worlds.

    Its variance is that of D between visited worlds, plus that of the mean over the placebo worlds that all share
    (Welch–Satterthwaite degrees of freedom), so both groups need two worlds for an interval.

    Args:
        run: The run.
        version: Index of the version.
    """
    if not run.worlds:
        return NotMeasurable("the version rows hold no scores of whole worlds")
    placebos = _placebo_worlds(run)
    if not placebos:
        return NotMeasurable("there is no placebo world with scores")
    found = {world: of_one[version] for world, of_one in world_differences(run).items() if np.isfinite(of_one[version])}
    if not found:
        return NotMeasurable("no visited world was measured both before its first visit and now")
    values, n, p = np.array(list(found.values())), len(found), len(placebos)
    if n < 2 or p < 2:
        return Score(value=float(values.mean()), low=None, high=None, frames=n, clusters=n)
    spread_P = np.array([run.worlds[world][version] - _at_origins(run, world, found) for world in placebos])
    parts = np.array([values.var(ddof=1) / n, spread_P.var(ddof=1) / p])
    freedom = parts.sum() ** 2 / max((parts**2 / np.array([n - 1, p - 1])).sum(), 1e-300)
    half = t_half(float(np.sqrt(parts.sum())), max(float(freedom), 1.0))
    mean = float(values.mean())
    return Score(value=mean, low=mean - half, high=mean + half, frames=n + p, clusters=n)


def mean_at(contrast: Contrast, run: Run, version: int) -> Result:
    """Mean D at one version over the experiences trained on by then, with a t-interval clustered by visit.

    The interval is that of a ratio of sums over visits, linearised (Cochran 1977, eq. 6.13): visits count by their
    experiences.
    """
    use_N = contrast.trained_NV[:, version] & np.isfinite(contrast.full_NV[:, version])
    if not use_N.any():
        return NotMeasurable("no experience that was trained on was measured next to a withheld one of its visit")
    values, visits = contrast.full_NV[use_N, version], run.visit_E[contrast.experience_N[use_N]]
    mean, clusters = float(values.mean()), len(np.unique(visits))
    if clusters < 2:
        return Score(value=mean, low=None, high=None, frames=len(values), clusters=clusters)
    residual_C = np.bincount(np.unique(visits, return_inverse=True)[1], values - mean)
    error = np.sqrt(clusters / (clusters - 1) * (residual_C**2).sum()) / len(values)
    half = t_half(float(error), clusters - 1)
    return Score(value=mean, low=mean - half, high=mean + half, frames=len(values), clusters=clusters)


def _against(
    run: Run, experience_N: Numbers, controls: Sequence[Numbers], valid_NV: Flags, trained_NV: Flags
) -> Contrast:
    weights_NE = np.zeros((len(experience_N), len(run.names)))
    for row, of_one in enumerate(controls):
        weights_NE[row, of_one] = 1.0
    full_NV = run.score_EV[experience_N] - _mean_over(weights_NE, run.score_EV)
    halves = [run.halves_EVH[experience_N, :, h] - _mean_over(weights_NE, run.halves_EVH[:, :, h]) for h in (0, 1)]
    halves_NVH = np.stack(halves, axis=-1)
    return Contrast(
        experience_N=experience_N,
        full_NV=np.where(valid_NV, full_NV, np.nan),
        halves_NVH=np.where(valid_NV[:, :, None], halves_NVH, np.nan),
        trained_NV=trained_NV & valid_NV,
    )


def _mean_over(weights_NE: Floats, score_EV: Floats) -> Floats:
    """Mean over each row's experiences of those that were measured; NaN where none was."""
    known_EV = np.isfinite(score_EV)
    count_NV = weights_NE @ known_EV.astype(np.float64)
    sum_NV = weights_NE @ np.where(known_EV, score_EV, 0.0)
    return np.divide(sum_NV, count_NV, out=np.full_like(sum_NV, np.nan), where=count_NV > 0)


def _next_in_turn(run: Run, chosen: Numbers, index: int, count: int) -> Numbers:
    for group in (chosen[run.visit_E[chosen] == run.visit_E[index]], chosen[run.world_E[chosen] == run.world_E[index]]):
        if len(group) > count:
            at = int(np.flatnonzero(group == index)[0])
            return group[(at + 1 + np.arange(count)) % len(group)]
    world = chosen[(run.world_E[chosen] == run.world_E[index]) & (chosen != index)]
    return world[:count]


def _placebo_worlds(run: Run) -> list[str]:
    visited = set(_first_visits(run))
    worlds: list[int] = run.world_E[run.of(Kind.PLACEBO)].tolist()
    names = {run.world_names[world] for world in worlds}
    return sorted(name for name in names - visited if name in run.worlds)


def _first_visits(run: Run) -> dict[str, float]:
    first: dict[str, float] = {}
    for world, start, kind in zip(run.world_E, run.start_E, run.kinds, strict=True):
        if kind is not Kind.PLACEBO:
            name = run.world_names[int(world)]
            first[name] = min(float(start), first.get(name, np.inf))
    return first


def _at_origins(run: Run, placebo_world: str, visited: dict[str, float]) -> float:
    """A placebo world's mean score at the w₀ of the visited worlds."""
    starts = _first_visits(run)
    origins = [np.flatnonzero((run.time_V < starts[world]) & np.isfinite(run.worlds[world]))[-1] for world in visited]
    return float(run.worlds[placebo_world][origins].mean())
