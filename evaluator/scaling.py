"""How times of memory change with size: T(x) = c x^k, fitted to censored times on both logarithmic scales.

The median time at x is c x^k, and log T varies normally around its logarithm (a log-normal accelerated failure time
model; Kalbfleisch & Prentice 2002, section 2.2). An event between two measurements counts with the chance of falling
between them, one that was not seen with the chance of coming later; nothing is imputed. In the parameters 1/σ and
(log c, k)/σ the log-likelihood is concave (Olsen 1978; Burridge 1981), so Newton's method finds its one maximum.

Experiences of one seed are alike, so intervals come from whole clusters: below ten the jackknife over clusters against
Student's t, from ten on the standard error of a bootstrap that draws clusters, against the same t. Beside it stands the
least-squares line through the logarithms of one median a trial, which uses only trials that have one.

Shapes: N times, P parameters (log c, k and σ, transformed), C clusters, R weightings.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import special

from evaluator.scores import NotMeasurable, Result, Score
from evaluator.times.contrasts import t_half

LEAST_EVENTS = 5
"""Fewest events of a fit."""
FEW_CLUSTERS = 10
"""Clusters from which on the error is a bootstrap's."""
DRAWS = 200
"""Replicates of that bootstrap: its standard error is then known to 5 %."""
_STEPS = 60
_DEEPEST = -690.0

type Floats = NDArray[np.float64]
type Numbers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Times:
    """Censored times at places of a numeric axis.

    Attributes:
        x_N: Where on the axis, above 0.
        low_N: The event came after this, or had not come by then; in any unit, at least 0.
        high_N: And not after this; infinite where it was not seen.
        cluster_N: Which belong together: the seed, or the trial where levels have streams of their own.
    """

    x_N: Floats
    low_N: Floats
    high_N: Floats
    cluster_N: Numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerLaw:
    """T(x) = c x^k.

    Attributes:
        exponent: k, with its 95 % interval.
        scale: c, in the unit of the times.
        spread: σ, deviation of log T around the line; 0 for least squares.
        events: Times that are events (trials with a median, for least squares).
        subjects: All times.
        error: How the interval was found; empty where there is none.
    """

    exponent: Score
    scale: float
    spread: float
    events: int
    subjects: int
    error: str

    def at(self, x: Floats) -> Floats:
        """Median time at places of the axis."""
        return self.scale * np.asarray(x, np.float64) ** self.exponent.value

    def row(self) -> dict[str, Any]:
        """Gives the law as plain JSON."""
        return {
            "exponent": self.exponent.row(),
            "scale": self.scale,
            "spread": self.spread,
            "events": self.events,
            "subjects": self.subjects,
            "error": self.error,
        }


def fit_censored(times: Times) -> PowerLaw | NotMeasurable:
    """Fits the law to interval-censored and right-censored times by maximum likelihood."""
    seen_N = np.isfinite(times.high_N)
    if because := _unfit(times.x_N, seen_N):
        return because
    design_NX, low_N, high_N, middle = _logarithms(times)
    start = _start(design_NX[seen_N], low_N[seen_N], high_N[seen_N])
    whole = _newton(design_NX, low_N, high_N, np.ones(len(low_N)), start)
    if whole is None:
        return NotMeasurable("the likelihood has no maximum: events of two levels hardly overlap, or nearly all times are "
                             "censored")  # fmt: skip

    def exponent(weight_N: Floats) -> float:
        seen = seen_N & (weight_N > 0)
        if len(np.unique(times.x_N[seen])) < 2:
            return np.nan
        found = _newton(design_NX, low_N, high_N, weight_N, whole)
        return np.nan if found is None else found[1] / found[2]

    sigma = float(1 / whole[2])
    k = float(whole[1]) * sigma
    low, high, error = _interval(k, exponent, times)
    score = Score(value=k, low=low, high=high, frames=len(low_N), clusters=len(np.unique(times.cluster_N)))
    scale = exp(float(whole[0]) * sigma + middle - k * float(np.log(times.x_N).mean()))
    return PowerLaw(
        exponent=score, scale=scale, spread=sigma, events=int(seen_N.sum()), subjects=len(low_N), error=error
    )


def fit_medians(x_N: Floats, median_N: Floats, cluster_N: Numbers) -> PowerLaw | NotMeasurable:
    """Fits the law to one median a trial by least squares of the logarithms; medians that are NaN are left out."""
    known_N = np.isfinite(median_N) & (median_N > 0)
    x_N, subjects = x_N[known_N], len(known_N)
    if len(np.unique(x_N)) < 2:
        return NotMeasurable(f"{int(known_N.sum())} of {subjects} trials have a median, and not at two places of the axis")
    log_x_N, log_N = np.log(x_N), np.log(median_N[known_N])

    def exponent(weight_N: Floats) -> float:
        if len(np.unique(log_x_N[weight_N > 0])) < 2:
            return np.nan
        from_mean_N = log_x_N - np.average(log_x_N, weights=weight_N)
        return float((weight_N * from_mean_N) @ log_N / ((weight_N * from_mean_N) @ from_mean_N))

    k = exponent(np.ones(len(x_N)))
    times = Times(x_N=x_N, low_N=log_N, high_N=log_N, cluster_N=cluster_N[known_N])
    low, high, error = _interval(k, exponent, times)
    score = Score(value=k, low=low, high=high, frames=len(x_N), clusters=len(np.unique(times.cluster_N)))
    scale = exp(float(log_N.mean() - k * log_x_N.mean()))
    return PowerLaw(exponent=score, scale=scale, spread=0.0, events=len(x_N), subjects=subjects, error=error)


def _unfit(x_N: Floats, seen_N: NDArray[np.bool_]) -> NotMeasurable | None:
    if len(np.unique(x_N)) < 2:
        return NotMeasurable("an exponent needs two places on the axis")
    if seen_N.sum() < LEAST_EVENTS:
        return NotMeasurable(
            f"the event was seen in {int(seen_N.sum())} of {len(seen_N)} experiences; a fit needs {LEAST_EVENTS}"
        )
    if len(np.unique(x_N[seen_N])) < 2:
        return NotMeasurable("the event was seen at one place of the axis only")
    return None


def _logarithms(times: Times) -> tuple[Floats, Floats, Floats, float]:
    """Both ends on a centred logarithmic scale, −∞ for 0, with the rows (1, log x − its mean) before them.

    A time that is 0 at both ends came within the clock's first tick; so it is put before the least time that is not 0.
    """
    seen_N = np.isfinite(times.high_N)
    positive = times.high_N[seen_N & (times.high_N > 0)]
    least = float(positive.min()) if len(positive) else 1.0
    high_N = np.where(times.high_N > 0, times.high_N, least)
    low_N = np.where(times.high_N > 0, times.low_N, 0.0)
    with np.errstate(divide="ignore"):
        low_N, high_N = np.log(low_N), np.log(high_N)
    middle = float(np.median(high_N[seen_N]))
    log_x_N = np.log(times.x_N)
    return np.stack([np.ones(len(log_x_N)), log_x_N - log_x_N.mean()], axis=1), low_N - middle, high_N - middle, middle


def _start(design_NX: Floats, low_N: Floats, high_N: Floats) -> Floats:
    middle_N = np.where(np.isfinite(low_N), (low_N + high_N) / 2, high_N - log(2))
    line = cast(Any, np.linalg).lstsq(design_NX, middle_N, rcond=None)[0]
    sigma = max(float(np.std(middle_N - design_NX @ line)), 0.1)
    return np.array([*(line / sigma), 1 / sigma], np.float64)


def _newton(design_NX: Floats, low_N: Floats, high_N: Floats, weight_N: Floats, start: Floats) -> Floats | None:
    """Climbs the concave log-likelihood in (log c/σ, k/σ, 1/σ); None where it has no maximum that is reached."""
    use = weight_N > 0
    design_NX, low_N, high_N, weight_N = design_NX[use], low_N[use], high_N[use], weight_N[use]
    at = start
    value, slope, bend = _likelihood(design_NX, low_N, high_N, weight_N, at)
    for _ in range(_STEPS):
        try:
            step = np.linalg.solve(bend - 1e-9 * np.eye(3), -slope)
        except np.linalg.LinAlgError:
            return None
        length = 1.0
        while length > 1e-8:
            tried = at + length * step
            if tried[2] > 1e-6:
                found = _likelihood(design_NX, low_N, high_N, weight_N, tried)
                if found[0] >= value:
                    break
            length /= 2
        else:
            return at if float(np.abs(slope).max()) < 1e-3 * len(low_N) else None
        gain = found[0] - value
        at, (value, slope, bend) = tried, found
        if not np.isfinite(at).all() or at[2] > 1e4 or float(np.abs(at[:2]).max()) > 1e5:
            return None
        if gain < 1e-9 * max(1.0, abs(value)):
            return at
    return None


def _likelihood(
    design_NX: Floats, low_N: Floats, high_N: Floats, weight_N: Floats, at: Floats
) -> tuple[float, Floats, Floats]:
    """Weighted log-likelihood with its gradient [P] and Hessian [P, P].

    A time between two ends adds log(Φ(b) − Φ(a)), one that is known exactly log φ(b) + log 1/σ.
    """
    line_N, gamma = design_NX @ at[:2], at[2]
    exact_N = low_N == high_N
    a_N, b_N = gamma * low_N - line_N, gamma * high_N - line_N
    log_chance_N = _log_between(a_N, b_N)
    log_chance_N = np.where(exact_N, -0.5 * b_N**2 - 0.5 * log(2 * np.pi) + log(gamma), log_chance_N)
    at_a_N, at_b_N = (_density_ratio(end_N, log_chance_N) for end_N in (a_N, b_N))
    a_N, b_N = (np.where(np.isfinite(end_N), end_N, 0.0) for end_N in (a_N, b_N))
    of_a_NP = np.column_stack([-design_NX, np.where(np.isfinite(low_N), low_N, 0.0)])
    of_b_NP = np.column_stack([-design_NX, np.where(np.isfinite(high_N), high_N, 0.0)])
    first_NP = np.where(
        exact_N[:, None], -b_N[:, None] * of_b_NP, at_b_N[:, None] * of_b_NP - at_a_N[:, None] * of_a_NP
    )
    bend_b_N = np.where(exact_N, -1.0, -b_N * at_b_N) * weight_N
    bend_a_N = np.where(exact_N, 0.0, a_N * at_a_N) * weight_N
    outer_N = np.where(exact_N, 0.0, weight_N)
    hessian = (of_b_NP * bend_b_N[:, None]).T @ of_b_NP + (of_a_NP * bend_a_N[:, None]).T @ of_a_NP
    hessian -= (first_NP * outer_N[:, None]).T @ first_NP
    gradient = weight_N @ first_NP
    exact = float(weight_N[exact_N].sum())
    gradient[2] += exact / gamma
    hessian[2, 2] -= exact / gamma**2
    return float(weight_N @ log_chance_N), gradient, hessian


def _log_between(a_N: Floats, b_N: Floats) -> Floats:
    """log(Φ(b) − Φ(a)), in the tail where it does not cancel."""
    flip_N = a_N > 0
    low_N, high_N = np.where(flip_N, -b_N, a_N), np.where(flip_N, -a_N, b_N)
    upper_N = cast(Floats, special.log_ndtr(high_N))
    with np.errstate(divide="ignore", invalid="ignore"):
        gap_N = cast(Floats, special.log_ndtr(low_N)) - upper_N
        return np.maximum(upper_N + np.log(-np.expm1(np.minimum(gap_N, -1e-300))), _DEEPEST)


def _density_ratio(end_N: Floats, log_chance_N: Floats) -> Floats:
    """φ at an end ÷ the chance of the interval; 0 at an infinite end."""
    finite_N = np.isfinite(end_N)
    log_density_N = -0.5 * np.where(finite_N, end_N, 0.0) ** 2 - 0.5 * log(2 * np.pi)
    return np.where(finite_N, np.exp(np.minimum(log_density_N - log_chance_N, 600.0)), 0.0)


def _interval(value: float, of: Callable[[Floats], float], times: Times) -> tuple[float | None, float | None, str]:
    """Takes the interval of a number from what it is with some clusters left out, or drawn."""
    clusters, index_N = np.unique(times.cluster_N, return_inverse=True)
    count = len(clusters)
    places = [len(np.unique(times.x_N[index_N == number])) for number in range(count)]
    freedom = count - 1 if max(places, default=0) > 1 else count - 2
    if freedom < 1:
        return None, None, ""
    if count < FEW_CLUSTERS:
        each = np.array([of((index_N != number).astype(np.float64)) for number in range(count)])
        error = float(np.sqrt((count - 1) / count * ((each - each.mean()) ** 2).sum()))
        name = f"jackknife over {count} clusters, t with {freedom} degrees of freedom"
    else:
        draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=DRAWS)
        each = np.array([of(draw[index_N].astype(np.float64)) for draw in draws])
        each = each[np.isfinite(each)]
        if len(each) < 0.9 * DRAWS:
            return None, None, ""
        error = float(np.std(each, ddof=1))
        name = f"bootstrap of {count} clusters, t with {freedom} degrees of freedom"
    if not np.isfinite(error):
        return None, None, ""
    half = t_half(error, freedom)
    return value - half, value + half, name
