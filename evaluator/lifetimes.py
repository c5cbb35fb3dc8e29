"""Log-normal lifetimes under censoring, with or without a share that the event never comes to.

In the parameters (log c, k)/σ and 1/σ the log-likelihood of a log-normal model with interval-censored times is concave
(Olsen 1978; Burridge 1981), so Newton's method finds its one maximum. Where some subjects never have the event, however
long they are followed (Boag 1949; Farewell 1982), a plain model takes them for very late ones, and its spread and slope
go wrong; `with_never` gives them a share of their own, logistic along the axis.

Shapes: N times, P parameters.
"""

from dataclasses import dataclass
from math import log
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

type Floats = NDArray[np.float64]

_STEPS = 60
_DEEPEST = -690.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Logs:
    """Times on a logarithmic scale.

    Attributes:
        design_NX: 1 and the centred logarithm of the place on the axis.
        low_N: Logarithm of the lower end, centred; −∞ for 0.
        high_N: Of the upper end; infinite where the event was not seen.
    """

    design_NX: Floats
    low_N: Floats
    high_N: Floats

    def pick(self, use_N: NDArray[np.bool_]) -> "Logs":
        """Keeps some of the times."""
        return Logs(design_NX=self.design_NX[use_N], low_N=self.low_N[use_N], high_N=self.high_N[use_N])


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A fitted model.

    Attributes:
        at_P: (log c, k)/σ and 1/σ; then, with a share that the event never comes to, its intercept and slope.
        likelihood: Greatest log-likelihood.
    """

    at_P: Floats
    likelihood: float

    @property
    def slope(self) -> float:
        """K."""
        return float(self.at_P[1] / self.at_P[2])

    def bic(self, subjects: int) -> float:
        """log(subjects) × parameters − 2 × log-likelihood (Schwarz 1978); smaller is better."""
        return log(subjects) * len(self.at_P) - 2 * self.likelihood


def plain(logs: Logs, weight_N: Floats, start: Floats | None = None) -> Model | None:
    """Fits the model in which the event comes to all; None where the likelihood has no maximum that is reached."""
    use = weight_N > 0
    at, value = _newton(logs.pick(use), weight_N[use], _start(logs.pick(use)) if start is None else start[:3])
    return None if at is None else Model(at_P=at, likelihood=value)


def with_never(logs: Logs, weight_N: Floats, start: Floats | None = None) -> Model | None:
    """Fits the model with a share that the event never comes to; None where it does not converge."""
    use = weight_N > 0
    of, weight = logs.pick(use), weight_N[use]
    seen_N = np.isfinite(of.high_N)
    if start is None:
        share = np.clip((weight * seen_N).sum() / weight.sum(), 0.02, 0.98)
        start = np.array([*_start(of.pick(seen_N)), log((1 - share) / share), 0.0], np.float64)

    def misfit(at: Floats) -> tuple[float, Floats]:
        return _never_likelihood(of, weight, at)

    found: Any = cast(Any, optimize).minimize(
        misfit,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(-1e4, 1e4), (-1e4, 1e4), (1e-3, 1e3), (-12, 12), (-12, 12)],
        options={"maxiter": 500, "ftol": 1e-10},
    )
    if not np.isfinite(found.fun) or not np.isfinite(found.x).all():
        return None
    return Model(at_P=np.asarray(found.x, np.float64), likelihood=-float(found.fun))


def _never_likelihood(logs: Logs, weight_N: Floats, at: Floats) -> tuple[float, Floats]:
    """Negative log-likelihood and its gradient."""
    seen_N = np.isfinite(logs.high_N)
    log_chance_N, first_NP, _ = _each(logs, at[:3])
    never_N = cast(Floats, special.expit(logs.design_NX @ at[3:]))
    chance_N = np.exp(log_chance_N)
    unseen_N = never_N + (1 - never_N) * chance_N
    value_N = np.where(seen_N, np.log1p(-never_N) + log_chance_N, np.log(unseen_N))
    of_times_N = np.where(seen_N, 1.0, (1 - never_N) * chance_N / unseen_N)
    of_never_N = np.where(seen_N, -never_N, never_N * (1 - never_N) * (1 - chance_N) / unseen_N)
    gradient = np.concatenate([(weight_N * of_times_N) @ first_NP, (weight_N * of_never_N) @ logs.design_NX])
    return -float(weight_N @ value_N), -gradient


def _start(logs: Logs) -> Floats:
    seen = logs.pick(np.isfinite(logs.high_N))
    middle_N = np.where(np.isfinite(seen.low_N), (seen.low_N + seen.high_N) / 2, seen.high_N - log(2))
    line = cast(Any, np.linalg).lstsq(seen.design_NX, middle_N, rcond=None)[0]
    sigma = max(float(np.std(middle_N - seen.design_NX @ line)), 0.1)
    return np.array([*(line / sigma), 1 / sigma], np.float64)


def _newton(logs: Logs, weight_N: Floats, start: Floats) -> tuple[Floats | None, float]:
    """Climbs the concave log-likelihood; None where it has no maximum that is reached."""
    at = start
    value, slope, bend = _likelihood(logs, weight_N, at)
    for _ in range(_STEPS):
        try:
            step = np.linalg.solve(bend - 1e-9 * np.eye(3), -slope)
        except np.linalg.LinAlgError:
            return None, value
        length, tried, found = 1.0, at, (value, slope, bend)
        while length > 1e-8:
            tried = at + length * step
            if tried[2] > 1e-6:
                found = _likelihood(logs, weight_N, tried)
                if found[0] >= value:
                    break
            length /= 2
        else:
            return (at if float(np.abs(slope).max()) < 1e-3 * len(weight_N) else None), value
        gain = found[0] - value
        at, (value, slope, bend) = tried, found
        if not np.isfinite(at).all() or at[2] > 1e4 or float(np.abs(at[:2]).max()) > 1e5:
            return None, value
        if gain < 1e-9 * max(1.0, abs(value)):
            return at, value
    return None, value


def _likelihood(logs: Logs, weight_N: Floats, at: Floats) -> tuple[float, Floats, Floats]:
    """Weighted log-likelihood with its gradient [P] and Hessian [P, P]."""
    log_chance_N, first_NP, (bend_a_N, bend_b_N) = _each(logs, at)
    exact_N = logs.low_N == logs.high_N
    of_a_NP, of_b_NP = (_by_parameters(logs.design_NX, end_N) for end_N in (logs.low_N, logs.high_N))
    hessian = (of_b_NP * (bend_b_N * weight_N)[:, None]).T @ of_b_NP
    hessian += (of_a_NP * (bend_a_N * weight_N)[:, None]).T @ of_a_NP
    within_NP = first_NP * np.where(exact_N, 0.0, weight_N)[:, None]
    hessian -= within_NP.T @ first_NP
    hessian[2, 2] -= float(weight_N[exact_N].sum()) / at[2] ** 2
    return float(weight_N @ log_chance_N), weight_N @ first_NP, hessian


def _each(logs: Logs, at: Floats) -> tuple[Floats, Floats, tuple[Floats, Floats]]:
    """Log-likelihood of each time, its gradient [N, P], and the bend at either end.

    A time between two ends adds log(Φ(b) − Φ(a)), one that is known exactly log φ(b) + log 1/σ.
    """
    line_N, gamma = logs.design_NX @ at[:2], at[2]
    exact_N = logs.low_N == logs.high_N
    a_N, b_N = gamma * logs.low_N - line_N, gamma * logs.high_N - line_N
    log_chance_N = _log_between(a_N, b_N)
    log_chance_N = np.where(exact_N, -0.5 * b_N**2 - 0.5 * log(2 * np.pi) + log(gamma), log_chance_N)
    at_a_N, at_b_N = (_density_ratio(end_N, log_chance_N) for end_N in (a_N, b_N))
    a_N, b_N = (np.where(np.isfinite(end_N), end_N, 0.0) for end_N in (a_N, b_N))
    of_a_NP, of_b_NP = (_by_parameters(logs.design_NX, end_N) for end_N in (logs.low_N, logs.high_N))
    first_NP = np.where(
        exact_N[:, None], -b_N[:, None] * of_b_NP, at_b_N[:, None] * of_b_NP - at_a_N[:, None] * of_a_NP
    )
    first_NP[:, 2] += np.where(exact_N, 1 / gamma, 0.0)
    return log_chance_N, first_NP, (np.where(exact_N, 0.0, a_N * at_a_N), np.where(exact_N, -1.0, -b_N * at_b_N))


def _by_parameters(design_NX: Floats, end_N: Floats) -> Floats:
    """Derivative of an end, standardised, by the parameters."""
    return np.column_stack([-design_NX, np.where(np.isfinite(end_N), end_N, 0.0)])


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
