"""What is left of a memory, by time since its last exposure: area, and which law the curve follows.

Retention is a ratio of sums: D of the odd half over experiences ÷ their level at the last exposure, by the even half. A
mean of ratios would be carried by the weakest memories.

Shapes: N experiences, G grid points, B bins of age, C clusters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
from scipy import optimize

from evaluator.scores import NotMeasurable, Result, Score
from evaluator.times.events import Forgetting, Outcome
from evaluator.times.study import Floats, Numbers, Run
from evaluator.times.survival import leave_one_out, t_interval

GRID = 65
"""Points of the area's integral."""
BINS = 10
"""Most bins of age, with as many measurements in each."""
LEAST_BINS = 6
"""Fewest bins that can tell the laws apart: the power law has three parameters."""
LEAST_IN_BIN = 5
"""Fewest measurements of a bin."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ages:
    """Measurements after the last exposure, from all runs of a study.

    Attributes:
        age: Seconds since the last exposure.
        left: D of the odd half.
        level: Level of its experience.
        cluster: Run or visit.
    """

    age: Floats
    left: Floats
    level: Floats
    cluster: Numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class Law:
    """A fitted forgetting curve.

    Attributes:
        formula: What was fitted.
        parameters: By name.
        aic: χ² + 2 × parameters; smaller is better.
    """

    formula: str
    parameters: dict[str, float]
    aic: float

    def row(self) -> dict[str, object]:
        """Gives the law as plain JSON."""
        return {"formula": self.formula, "parameters": self.parameters, "aic": self.aic}


@dataclass(frozen=True, kw_only=True, slots=True)
class Laws:
    """Both laws on the same points.

    Attributes:
        exponential: a e^(−t/τ).
        power: a (1 + t/τ)^(−β).
        better: Name of the one with the smaller AIC; `neither` where they differ by less than 2.
        points: Age (s), retention and its standard error of each bin.
    """

    exponential: Law
    power: Law
    better: str
    points: tuple[tuple[float, float, float], ...]

    def row(self) -> dict[str, object]:
        """Gives both as plain JSON."""
        return {
            "exponential": self.exponential.row(),
            "power": self.power.row(),
            "better": self.better,
            "points": [list(point) for point in self.points],
        }


def ages(run: Run, gone: Forgetting, cluster_N: Numbers) -> Ages:
    """Lists the measurements of healthy versions between an experience's last exposure and collapse or the end."""
    origin_N, odd_NV = gone.events.origin_N, gone.contrast.halves_NVH[:, :, 1]
    end_N = np.where(gone.events.outcome_N == Outcome.COLLAPSE, gone.events.low_N, np.inf)
    after_NV = (run.time_V > origin_N[:, None]) & (run.time_V <= end_N[:, None]) & run.healthy_V & np.isfinite(odd_NV)
    row, column = np.nonzero(after_NV)
    return Ages(
        age=run.time_V[column] - origin_N[row],
        left=odd_NV[row, column],
        level=gone.level_N[row],
        cluster=cluster_N[row],
    )


def followed(run: Run, gone: Forgetting) -> Floats:
    """Seconds that each experience was measured after its last exposure, to the collapse at most: float64 [N]."""
    origin_N = gone.events.origin_N
    end_N = np.where(gone.events.outcome_N == Outcome.COLLAPSE, gone.events.low_N, np.inf)
    valid_NV = np.isfinite(gone.contrast.halves_NVH[:, :, 1]) & (run.time_V <= end_N[:, None]) & run.healthy_V
    last_N = np.where(valid_NV, run.time_V, -np.inf).max(axis=1, initial=-np.inf)
    return np.maximum(last_N - origin_N, 0.0)


def areas(run: Run, gone: Forgetting, horizon: float) -> Floats:
    """Mean D of the odd half from the last exposure to a horizon, by trapezoids: float64 [N]; NaN where not followed.

    Between measurements D is interpolated; at the exposure itself between those on either side of it.
    """
    odd_NV, origin_N = gone.contrast.halves_NVH[:, :, 1], gone.events.origin_N
    long_N = followed(run, gone) >= horizon
    area_N = np.full(len(origin_N), np.nan)
    for index in np.flatnonzero(long_N):
        odd_V: Floats = odd_NV[int(index)]
        known_V = np.isfinite(odd_V) & run.healthy_V
        grid_G: Floats = float(origin_N[index]) + np.linspace(0.0, horizon, GRID)
        value_G = np.interp(grid_G, run.time_V[known_V], odd_V[known_V])
        area_N[index] = np.trapezoid(value_G) / (GRID - 1)
    return area_N


def retention_area(area_N: Floats, level_N: Floats, cluster_N: Numbers, horizon: float) -> Result:
    """Share of the level that is kept on average until the horizon: Σ area ÷ Σ level, 1 for no forgetting."""
    use_N = np.isfinite(area_N)
    if use_N.sum() < 2 or horizon <= 0:
        return NotMeasurable("fewer than two memorised experiences were followed after their last exposure")
    weight_RN = leave_one_out(cluster_N[use_N])
    clusters = len(weight_RN) - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio_R = (weight_RN @ area_N[use_N]) / (weight_RN @ level_N[use_N])
    low, high = t_interval(ratio_R, clusters)
    return Score(value=float(ratio_R[0]), low=low, high=high, frames=int(use_N.sum()), clusters=clusters)


def compare_laws(points: Ages) -> Laws | NotMeasurable:
    """Fits an exponential and a power law (Wickelgren 1974; Wixted & Ebbesen 1991) to retention by age.

    Points are bins of age; their standard errors are the jackknife's over clusters, and AIC is χ² + 2k (Burnham &
    Anderson 2002, section 2.2): single measurements of one experience are too much alike to count as so many points.
    """
    clusters = len(np.unique(points.cluster))
    if clusters < 3:
        return NotMeasurable(f"the errors of a forgetting curve need 3 visits or runs, and there are {clusters}")
    bins = _bins(points)
    if len(bins) < LEAST_BINS:
        return NotMeasurable(
            f"{len(bins)} ages have {LEAST_IN_BIN} measurements each of 3 visits; two laws need {LEAST_BINS}"
        )
    scale = float(np.median(points.age))
    exponential = _fit("a exp(-t/tau)", _exponential, {"a": 1.0, "tau": scale}, bins)
    power = _fit("a (1 + t/tau)^-beta", _power, {"a": 1.0, "tau": scale, "beta": 1.0}, bins)
    if exponential is None or power is None:
        return NotMeasurable("a law could not be fitted to the forgetting curve")
    gap = exponential.aic - power.aic
    better = "neither" if abs(gap) < 2 else "power" if gap > 0 else "exponential"
    return Laws(
        exponential=exponential,
        power=power,
        better=better,
        points=tuple((float(one.age.mean()), one.kept, one.error) for one in bins),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Bin:
    """Measurements of one bin: their ages and levels, their retention and its standard error."""

    age: Floats
    level: Floats
    kept: float
    error: float


def _bins(points: Ages) -> list[_Bin]:
    if not len(points.age):
        return []
    edges = np.quantile(points.age, np.linspace(0, 1, BINS + 1))
    edges[-1] = np.inf
    found: list[_Bin] = []
    for low, high in pairwise(edges.tolist()):
        use = (points.age >= low) & (points.age < high)
        if use.sum() < LEAST_IN_BIN or len(np.unique(points.cluster[use])) < 3:
            continue
        weight_RN = leave_one_out(points.cluster[use])
        ratio_R = (weight_RN @ points.left[use]) / (weight_RN @ points.level[use])
        clusters = len(weight_RN) - 1
        error = float(np.sqrt((clusters - 1) / clusters * ((ratio_R[1:] - ratio_R[1:].mean()) ** 2).sum()))
        if np.isfinite(ratio_R).all() and error > 0:
            found.append(_Bin(age=points.age[use], level=points.level[use], kept=float(ratio_R[0]), error=error))
    return found


def _exponential(age: Floats, a: float, tau: float) -> Floats:
    return a * np.exp(-age / tau)


def _power(age: Floats, a: float, tau: float, beta: float) -> Floats:
    return a * (1 + age / tau) ** -beta


def _fit(formula: str, law: Callable[..., Floats], first: dict[str, float], bins: Sequence[_Bin]) -> Law | None:
    """Least squares over positive parameters, on the scale of their logarithms.

    What a law says of a bin is its mean over the bin's own measurements, each with the weight of its level: a curve
    that is bent within a bin is not taken for another law.
    """

    def misfit(logs: Floats) -> Floats:
        values = np.exp(np.clip(logs, -20, 20))
        said = [float(np.average(law(one.age, *values), weights=one.level)) for one in bins]
        return np.array([(value - one.kept) / one.error for value, one in zip(said, bins, strict=True)])

    found: Any = cast(Any, optimize).least_squares(misfit, np.log(list(first.values())))
    if not found.success:
        return None
    values: list[float] = np.exp(np.clip(found.x, -20, 20)).tolist()
    return Law(formula=formula, parameters=dict(zip(first, values, strict=True)), aic=2 * found.cost + 2 * len(first))
