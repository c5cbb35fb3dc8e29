"""How times of memory change with size: T(x) = c x^k, fitted to censored times on both logarithmic scales.

The median time at x is c x^k, and log T varies normally around its logarithm (a log-normal accelerated failure time
model; Kalbfleisch & Prentice 2002, section 2.2). An event between two measurements counts with the chance of falling
between them, one that was not seen with the chance of coming later; nothing is imputed. Where BIC asks for it, a share
that may change along the axis never has the event, and the law is that of the others (`evaluator/lifetimes.py`).

Experiences of one seed are alike, so intervals come from whole clusters: below ten the jackknife over clusters against
Student's t, from ten on the standard error of a bootstrap that draws clusters, against the same t. Beside it stands the
least-squares line through the logarithms of one median a trial, which uses only trials that have one.

Shapes: N times, C clusters.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import special

from evaluator.lifetimes import Logs, plain, with_never
from evaluator.scores import NotMeasurable, Score
from evaluator.times.contrasts import t_half

LEAST_EVENTS = 5
"""Fewest events of a fit."""
FEW_CLUSTERS = 10
"""Clusters from which on the error is a bootstrap's."""
DRAWS = 100
"""Replicates of that bootstrap: its standard error is then known to 7 %."""

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
        never: Intercept and slope, by log x, of the log-odds that the event never comes; None where it comes to all.
        events: Times that are events (trials with a median, for least squares).
        subjects: All times.
        error: How the interval was found; empty where there is none.
    """

    exponent: Score
    scale: float
    spread: float
    never: tuple[float, float] | None
    events: int
    subjects: int
    error: str

    def at(self, x: Floats) -> Floats:
        """Median time at places of the axis."""
        return self.scale * np.asarray(x, np.float64) ** self.exponent.value

    def never_at(self, x: Floats) -> Floats:
        """Share that the event never comes to, at places of the axis."""
        if self.never is None:
            return np.zeros(len(x))
        return 1 / (1 + np.exp(-(self.never[0] + self.never[1] * np.log(x))))

    def median_of_all(self, x: Floats) -> Floats:
        """Median time of all, with those that the event never comes to; infinite where these are half or more."""
        share_X = 0.5 / np.maximum(1 - self.never_at(x), 0.5)
        return self.at(x) * np.exp(self.spread * cast(Floats, special.ndtri(share_X)))

    def row(self) -> dict[str, Any]:
        """Gives the law as plain JSON."""
        return {
            "exponent": self.exponent.row(),
            "scale": self.scale,
            "spread": self.spread,
            "never": self.never,
            "events": self.events,
            "subjects": self.subjects,
            "error": self.error,
        }


def fit_censored(times: Times) -> PowerLaw | NotMeasurable:
    """Fits the law to interval-censored and right-censored times by maximum likelihood.

    Of two models, one in which the event comes to all and one in which it never comes to some, BIC chooses.
    """
    seen_N = np.isfinite(times.high_N)
    if because := _unfit(times.x_N, seen_N):
        return because
    logs, middle = logarithms(times)
    once_N = np.ones(len(seen_N))
    models = [(fit, found) for fit in (plain, with_never) if (found := fit(logs, once_N)) is not None]
    if not models:
        return NotMeasurable("the likelihood has no maximum: nearly all times are censored, or levels do not overlap")
    fit, whole = min(models, key=lambda of: of[1].bic(len(seen_N)))

    def exponent(weight_N: Floats) -> float:
        if len(np.unique(times.x_N[seen_N & (weight_N > 0)])) < 2:
            return np.nan
        found = fit(logs, weight_N, whole.at_P)
        return np.nan if found is None else found.slope

    k, sigma = whole.slope, float(1 / whole.at_P[2])
    low, high, error = _interval(k, exponent, times)
    score = Score(value=k, low=low, high=high, frames=len(seen_N), clusters=len(np.unique(times.cluster_N)))
    center = float(np.log(times.x_N).mean())
    never = (float(whole.at_P[3] - whole.at_P[4] * center), float(whole.at_P[4])) if len(whole.at_P) > 3 else None
    return PowerLaw(
        exponent=score,
        scale=exp(float(whole.at_P[0]) * sigma + middle - k * center),
        spread=sigma,
        never=never,
        events=int(seen_N.sum()),
        subjects=len(seen_N),
        error=error,
    )


def fit_medians(x_N: Floats, median_N: Floats, cluster_N: Numbers) -> PowerLaw | NotMeasurable:
    """Fits the law to one median a trial by least squares of the logarithms; medians that are NaN are left out."""
    known_N = np.isfinite(median_N) & (median_N > 0)
    x_N, subjects = x_N[known_N], len(known_N)
    if len(np.unique(x_N)) < 2:
        return NotMeasurable(
            f"{int(known_N.sum())} of {subjects} trials have a median, and not at two places of the axis"
        )
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
    return PowerLaw(
        exponent=score, scale=scale, spread=0.0, never=None, events=len(x_N), subjects=subjects, error=error
    )


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


def logarithms(times: Times) -> tuple[Logs, float]:
    """Both ends on a logarithmic scale, and what it is centred at.

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
    design_NX = np.stack([np.ones(len(log_x_N)), log_x_N - log_x_N.mean()], axis=1)
    return Logs(design_NX=design_NX, low_N=low_N - middle, high_N=high_N - middle), middle


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
