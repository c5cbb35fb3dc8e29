"""Curves, medians and intervals: held against lifelines and against hand-computed examples."""

from typing import Any, cast

import lifelines
import numpy as np
import pytest
from numpy.typing import NDArray

from evaluator.scores import NotMeasurable, Score
from evaluator.times.events import Outcome
from evaluator.times.survival import (
    Durations,
    aalen_johansen,
    incidence_curve,
    kaplan_meier,
    leave_one_out,
    median,
    percentile_interval,
    survival_curve,
    t_interval,
    turnbull_median,
)

LIFELINES = cast(Any, lifelines)


def durations(low: Any, high: Any, outcome: Any, cluster: Any | None = None) -> Durations:
    low_N = np.array(low, np.float64)
    return Durations(
        low_N=low_N,
        high_N=np.array(high, np.float64),
        followed_N=low_N,
        outcome_N=np.array(outcome, np.int64),
        cluster_N=np.arange(len(low_N)) if cluster is None else np.array(cluster, np.int64),
    )


def drawn(count: int = 120) -> Durations:
    rng = np.random.default_rng(0)
    time = rng.exponential(100, count)
    low = np.maximum(time - rng.uniform(0, 30, count), 0.0)
    outcome = rng.choice([0, 1, 1, 2], count)
    return durations(low, np.where(outcome == 0, np.inf, low + 30), outcome, rng.integers(0, 8, count))


def test_kaplan_meier_is_that_of_lifelines() -> None:
    found = drawn()
    time_N, event_N = found.impute(), found.outcome_N == Outcome.EVENT
    times_T, survival_RT = kaplan_meier(time_N, event_N, np.ones((1, len(time_N))))
    oracle = LIFELINES.KaplanMeierFitter().fit(time_N, event_N)
    np.testing.assert_allclose(survival_RT[0], oracle.survival_function_at_times(times_T).to_numpy())


def test_leaving_out_a_cluster_is_fitting_without_it() -> None:
    found = drawn()
    time_N, event_N = found.impute(), found.outcome_N == Outcome.EVENT
    times_T, survival_RT = kaplan_meier(time_N, event_N, leave_one_out(found.cluster_N))
    keep = found.cluster_N != 3
    oracle = LIFELINES.KaplanMeierFitter().fit(time_N[keep], event_N[keep])
    np.testing.assert_allclose(survival_RT[4], oracle.survival_function_at_times(times_T).to_numpy())


def test_aalen_johansen_is_that_of_lifelines() -> None:
    found = drawn()
    time_N = found.impute()
    times_T, chance_RT = aalen_johansen(time_N, found.outcome_N, np.ones((1, len(time_N))), Outcome.COLLAPSE)
    fitted = LIFELINES.AalenJohansenFitter(calculate_variance=False).fit(time_N, found.outcome_N, event_of_interest=2)
    oracle = fitted.cumulative_density_.iloc[:, 0]
    places: NDArray[np.int64] = np.searchsorted(oracle.index.to_numpy(), times_T + 1e-9) - 1
    np.testing.assert_allclose(chance_RT[0], oracle.to_numpy()[places], atol=1e-12)


def test_the_shares_of_both_ends_and_of_neither_add_up() -> None:
    found = drawn()
    either = kaplan_meier(found.impute(), found.outcome_N != Outcome.CENSORED, np.ones((1, 120)))[1][0, -1]
    ends = [incidence_curve(found, cause).value_T[-1] for cause in (Outcome.EVENT, Outcome.COLLAPSE)]
    assert sum(ends) + either == pytest.approx(1.0)


def test_a_median_by_hand() -> None:
    low, high = [0, 10, 20, 30, 40, 50], [10, 20, np.inf, 40, 50, 60]
    found = durations(low, high, [1, 1, 0, 1, 1, 1])
    # 5 of 6 after 5, 4 of 6 after 15, then 3 at risk: 4/9 after 35
    np.testing.assert_allclose(survival_curve(found).value_T, [5 / 6, 4 / 6, 4 / 9, 2 / 9, 0])
    results = [median(found, share) for share in (0.0, 0.5, 1.0)]
    assert [result.value for result in results if isinstance(result, Score)] == [30.0, 35.0, 40.0]


def test_the_interval_holds_the_times_at_which_the_band_holds_a_half() -> None:
    found = drawn()
    curve, result = survival_curve(found), median(found)
    assert isinstance(result, Score)
    assert result.low is not None
    assert result.high is not None
    below = curve.time_T[curve.low_T <= 0.5].min(), curve.time_T[curve.high_T <= 0.5].min()
    assert (result.low, result.high) == below
    assert result.low < result.value < result.high
    assert (result.frames, result.clusters) == (120, 8)


def test_an_interval_may_be_open() -> None:
    count = 20
    found = durations(np.arange(count), [*range(1, 12), *[np.inf] * 9], [1] * 11 + [0] * 9, np.arange(count) // 4)
    result = median(found)
    assert isinstance(result, Score)
    assert result.high is None
    assert result.low is not None


def test_too_few_events_and_too_much_censoring_have_no_median() -> None:
    assert median(durations([1] * 9, [2] * 4 + [np.inf] * 5, [1] * 4 + [0] * 5)) == NotMeasurable(
        "the event was seen in 4 of 9 experiences; a median needs 5"
    )
    rare = durations([1] * 5 + [9] * 15, [2] * 5 + [np.inf] * 15, [1] * 5 + [0] * 15)
    assert median(rare, what="memory") == NotMeasurable(
        "the curve ends at 0.75, above ½: memory was not seen in most while they were followed"
    )
    assert isinstance(turnbull_median(rare), NotMeasurable)
    unknown = durations([np.nan] * 9, [np.nan] * 9, [1] * 9)
    assert median(unknown) == NotMeasurable("the run does not say what this clock counts")


def test_turnbull_needs_no_midpoints() -> None:
    edges = np.repeat([0.0, 10.0, 20.0, 30.0], 5)
    found = durations(edges, edges + 10, [1] * 20)
    assert turnbull_median(found) == pytest.approx((10.0, 20.0))


def test_one_cluster_has_no_interval() -> None:
    found = median(durations(np.arange(9), np.arange(9) + 1, [1] * 9, [0] * 9))
    assert isinstance(found, Score)
    assert (found.low, found.high) == (None, None)
    assert t_interval(np.array([1.0, 1.0]), 1) == (None, None)


def test_the_jackknife_of_a_mean_is_its_t_interval() -> None:
    from scipy import stats

    values = np.array([1.0, 2.0, 4.0, 7.0])
    left_out = (values.sum() - values) / 3
    low, high = cast(Any, stats).t.interval(0.95, 3, values.mean(), cast(Any, stats).sem(values))
    assert t_interval(np.concatenate([[values.mean()], left_out]), 4) == (pytest.approx(low), pytest.approx(high))


def test_percentile_intervals_are_narrower() -> None:
    found = drawn()
    low, high = percentile_interval(found)
    result = median(found)
    assert isinstance(result, Score)
    assert result.low is not None
    assert result.high is not None
    assert high - low < result.high - result.low
