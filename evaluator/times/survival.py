"""Curves and medians of censored event times, with intervals clustered by run or visit.

The curve is Kaplan–Meier's on midpoints of the intervals, collapse counting as censoring: what would be without it.
Aalen–Johansen's says how much came to which end when both compete. Both are written as functions of weights, so that
all clusters can be left out, or drawn, in one matrix product; tests hold them against lifelines.

Shapes: N subjects, T distinct times, C clusters, R weightings.
"""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from evaluator.scores import NotMeasurable, Result, Score
from evaluator.times.contrasts import LEVEL, t_half
from evaluator.times.events import Outcome
from evaluator.times.study import Floats, Numbers

LEAST_EVENTS = 5
"""Fewest events of a median."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Durations:
    """Durations on one clock, from all runs of a study.

    Attributes:
        low_N: The event or collapse came after this; where censored, it had not come by then.
        high_N: And not after this; infinite where censored.
        followed_N: How long the event could have been seen, where it was not.
        outcome_N: As `Outcome`.
        cluster_N: Run, or visit where there is one run only.
    """

    low_N: Floats
    high_N: Floats
    followed_N: Floats
    outcome_N: NDArray[np.int64]
    cluster_N: Numbers

    def impute(self, share: float = 0.5) -> Floats:
        """Picks a time in each interval: 0 its start, ½ its middle, 1 its end; where censored, that time."""
        ended_N = self.outcome_N != Outcome.CENSORED
        high_N = np.where(ended_N, self.high_N, self.low_N)
        return self.low_N + share * (high_N - self.low_N)

    def censor(self, share: float = 0.5) -> tuple[Floats, NDArray[np.bool_]]:
        """Picks times with collapse as censoring, at the last moment at which the event could have been seen.

        Returns:
            Times [N], and whether the event came at each.
        """
        event_N = self.outcome_N == Outcome.EVENT
        return np.where(event_N, self.impute(share), self.followed_N), event_N

    @property
    def clusters(self) -> int:
        """Clusters among them."""
        return len(np.unique(self.cluster_N))


def kaplan_meier(time_N: Floats, event_N: NDArray[np.bool_], weight_RN: Floats) -> tuple[Floats, Floats]:
    """Survival curve under each weighting (Kaplan & Meier 1958); at ties events come before censoring.

    Returns:
        Distinct event times [T], and S just after each of them [R, T].
    """
    times_T = np.unique(time_N[event_N])
    at_risk_RT = weight_RN @ (time_N[:, None] >= times_T).astype(np.float64)
    events_RT = weight_RN @ (event_N[:, None] & (time_N[:, None] == times_T)).astype(np.float64)
    share_RT = np.divide(events_RT, at_risk_RT, out=np.zeros_like(events_RT), where=at_risk_RT > 0)
    return times_T, np.cumprod(1.0 - share_RT, axis=1)


def aalen_johansen(
    time_N: Floats, outcome_N: NDArray[np.int64], weight_RN: Floats, cause: Outcome
) -> tuple[Floats, Floats]:
    """Chance of having come to an end by this cause, the other competing (Aalen & Johansen 1978).

    Returns:
        Distinct times of either end [T], and the chance at each of them [R, T].
    """
    either_N = outcome_N != Outcome.CENSORED
    times_T, survival_RT = kaplan_meier(time_N, either_N, weight_RN)
    before_RT = np.concatenate([np.ones((len(survival_RT), 1)), survival_RT[:, :-1]], axis=1)
    at_risk_RT = weight_RN @ (time_N[:, None] >= times_T).astype(np.float64)
    events_RT = weight_RN @ ((outcome_N == cause)[:, None] & (time_N[:, None] == times_T)).astype(np.float64)
    share_RT = np.divide(events_RT, at_risk_RT, out=np.zeros_like(events_RT), where=at_risk_RT > 0)
    return times_T, np.cumsum(before_RT * share_RT, axis=1)


def leave_one_out(cluster_N: Numbers) -> Floats:
    """Weights of all subjects, then of all but each cluster: float64 [1 + C, N]."""
    of_cluster_CN = np.unique(cluster_N)[:, None] == cluster_N
    return np.concatenate([np.ones((1, len(cluster_N))), 1.0 - of_cluster_CN])


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """A curve with its pointwise 95 % band.

    Attributes:
        time_T: Where it steps.
        value_T: Its height just after each step.
        low_T: Lower end of the band; NaN below two clusters; likewise the next.
        high_T: Upper end.
    """

    time_T: Floats
    value_T: Floats
    low_T: Floats
    high_T: Floats

    def first_below(self, level: float, of_T: Floats) -> float:
        """First time at which a height is at most a level; infinite where none is."""
        below_T = of_T <= level + 1e-12
        return float(self.time_T[below_T.argmax()]) if below_T.any() else float("inf")


def survival_curve(durations: Durations, share: float = 0.5) -> Curve:
    """Kaplan–Meier's curve with a jackknife-t band on the scale of log(−log S).

    The variance is that of the estimates that leave out one cluster each (Efron & Stein 1981): (C − 1)/C Σ(g₋c − ḡ)²,
    held against Student's t with C − 1 degrees of freedom.
    """
    time_N, event_N = durations.censor(share)
    times_T, survival_RT = kaplan_meier(time_N, event_N, leave_one_out(durations.cluster_N))
    return _band(times_T, survival_RT, len(time_N))


def incidence_curve(durations: Durations, cause: Outcome, share: float = 0.5) -> Curve:
    """Aalen–Johansen's curve with the same kind of band."""
    weight_RN = leave_one_out(durations.cluster_N)
    times_T, chance_RT = aalen_johansen(durations.impute(share), durations.outcome_N, weight_RN, cause)
    band = _band(times_T, 1.0 - chance_RT, len(durations.low_N))
    return Curve(time_T=band.time_T, value_T=1 - band.value_T, low_T=1 - band.high_T, high_T=1 - band.low_T)


def median(durations: Durations, share: float = 0.5, *, what: str = "the event") -> Result:
    """Median with the interval of all times at which the band of the curve holds ½ (Brookmeyer & Crowley 1982).

    An end that the band does not reach is None: the interval is open there.
    """
    events = int((durations.outcome_N == Outcome.EVENT).sum())
    if events < LEAST_EVENTS:
        return NotMeasurable(
            f"{what} was seen in {events} of {len(durations.low_N)} experiences; a median needs {LEAST_EVENTS}"
        )
    if np.isnan(durations.low_N).any():
        return NotMeasurable("the run does not say what this clock counts")
    curve = survival_curve(durations, share)
    value = curve.first_below(0.5, curve.value_T)
    if not np.isfinite(value):
        return NotMeasurable(
            f"the curve ends at {curve.value_T[-1]:.2f}, above ½: {what} was not seen in most while they were followed"
        )
    low, high = (curve.first_below(0.5, ends) for ends in (curve.low_T, curve.high_T))
    clusters = durations.clusters
    return Score(
        value=value,
        low=low if clusters > 1 and np.isfinite(low) else None,
        high=high if clusters > 1 and np.isfinite(high) else None,
        frames=len(durations.low_N),
        clusters=clusters,
    )


def turnbull_median(durations: Durations) -> tuple[float, float] | NotMeasurable:
    """Between which times the median of Turnbull's curve lies (1976), without imputation: lifelines' NPMLE."""
    event_N = durations.outcome_N == Outcome.EVENT
    if event_N.sum() < LEAST_EVENTS:
        return NotMeasurable(f"there are {int(event_N.sum())} events; a median needs {LEAST_EVENTS}")
    import warnings

    from lifelines import KaplanMeierFitter

    # Intervals are open on the left: lifelines takes them as closed, and would put what two share at one point there.
    low_N = np.where(event_N, durations.low_N, durations.followed_N)
    low_N = low_N + 1e-9 * max(float(low_N.max()), 1.0)
    high_N = np.where(event_N, np.maximum(durations.high_N, low_N), np.inf)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted: Any = cast(Any, KaplanMeierFitter()).fit_interval_censoring(low_N, high_N)
    curve: Any = fitted.survival_function_
    below = (curve["NPMLE_estimate_lower"] <= 0.5 + 1e-9).to_numpy()
    if not below.any():
        return NotMeasurable("the curve does not fall to ½ while they were followed")
    place = int(below.argmax())
    low, high = float(curve.index[max(place - 1, 0)]), float(curve.index[place])
    if not np.isfinite(high):
        return NotMeasurable("the curve does not fall to ½ while they were followed")
    return low, high


def t_interval(values_R: Floats, clusters: int) -> tuple[float | None, float | None]:
    """Jackknife-t interval of a number: its first value is of all clusters, the others leave out one each."""
    if clusters < 2 or not np.isfinite(values_R).all():
        return None, None
    half = t_half(float(np.sqrt(_jackknife(values_R[1:, None])[0])), clusters - 1)
    return float(values_R[0]) - half, float(values_R[0]) + half


def _jackknife(left_out_CT: Floats) -> Floats:
    clusters = len(left_out_CT)
    return (clusters - 1) / clusters * ((left_out_CT - left_out_CT.mean(axis=0)) ** 2).sum(axis=0)


def _band(times_T: Floats, survival_RT: Floats, subjects: int) -> Curve:
    value_T, clusters = survival_RT[0], len(survival_RT) - 1
    if clusters < 2:
        none = np.full(len(times_T), np.nan)
        return Curve(time_T=times_T, value_T=value_T, low_T=none, high_T=none)
    edge = 1 / (2 * subjects)
    scaled_RT = np.log(-np.log(np.clip(survival_RT, edge, 1 - edge)))
    half_T = t_half(1.0, clusters - 1) * np.sqrt(_jackknife(scaled_RT[1:]))
    low_T, high_T = (np.exp(-np.exp(scaled_RT[0] + sign * half_T)) for sign in (1, -1))
    return Curve(time_T=times_T, value_T=value_T, low_T=low_T, high_T=high_T)


def percentile_interval(durations: Durations, replicates: int = 400, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of the median, whole clusters drawn: for comparison, too narrow with few clusters.

    An end may be infinite: so many replicates did not come down to ½.
    """
    clusters, index_N = np.unique(durations.cluster_N, return_inverse=True)
    draws = np.random.default_rng(seed).multinomial(
        len(clusters), np.full(len(clusters), 1 / len(clusters)), size=replicates
    )
    weight_RN = draws[:, index_N].astype(np.float64)
    times_T, survival_RT = kaplan_meier(*durations.censor(), weight_RN)
    below_RT = survival_RT <= 0.5 + 1e-12
    median_R = np.where(below_RT.any(axis=1), times_T[below_RT.argmax(axis=1)], np.inf)
    low, high = np.quantile(median_R, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf")
    return float(low), float(high)
