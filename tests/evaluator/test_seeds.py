"""Means, differences and adjusted p-values over seeds, held against scipy."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
from scipy import stats

from evaluator.scores import NotMeasurable, Result, Score
from evaluator.seeds import Difference, holm, over_seeds, paired, slope, unpaired

STATS = cast(Any, stats)
ONE, OTHER = (0.3, 0.5, 0.42, 0.38), (0.2, 0.45, 0.30, 0.33)


def scores(values: Sequence[float]) -> list[Result]:
    return [Score(value=value, low=value - 1, high=value + 1, frames=9, clusters=3) for value in values]


def test_a_mean_has_the_t_interval_over_seeds() -> None:
    found = over_seeds([*scores(ONE), NotMeasurable("not this one")])
    assert isinstance(found, Score)
    low, high = STATS.t.interval(0.95, 3, np.mean(ONE), STATS.sem(ONE))
    assert (found.value, found.low, found.high, found.clusters) == pytest.approx((np.mean(ONE), low, high, 4))


def test_one_seed_has_no_interval_and_none_a_reason() -> None:
    assert over_seeds(scores([0.3])) == Score(value=0.3, low=None, high=None, frames=1, clusters=1)
    assert over_seeds([NotMeasurable("a"), NotMeasurable("b")]) == NotMeasurable("a")


def test_paired_differences_are_the_paired_t_test() -> None:
    found = paired(list(zip(scores(ONE), scores(OTHER), strict=True)))
    assert isinstance(found, Difference)
    oracle = STATS.ttest_rel(ONE, OTHER)
    interval = oracle.confidence_interval()
    assert found.p == pytest.approx(oracle.pvalue)
    assert (found.score.low, found.score.high) == pytest.approx((interval.low, interval.high))
    assert isinstance(paired([(scores([1.0])[0], NotMeasurable("no"))]), NotMeasurable)


def test_unpaired_differences_are_welchs() -> None:
    found = unpaired(scores(ONE), scores(OTHER[:3]))
    assert isinstance(found, Difference)
    oracle = STATS.ttest_ind(ONE, OTHER[:3], equal_var=False)
    interval = oracle.confidence_interval()
    assert found.p == pytest.approx(oracle.pvalue)
    assert (found.score.low, found.score.high) == pytest.approx((interval.low, interval.high))
    assert not found.paired


def test_a_slope_is_the_mean_of_each_seeds_own() -> None:
    x = [1.0, 2.0, 4.0]
    slopes = (0.5, 0.7, 0.3)
    lines = [(x, [10.0 * seed + each * value for value in x]) for seed, each in enumerate(slopes)]
    found = slope([*lines, ([1.0], [9.0]), ([2.0, 2.0], [1.0, 3.0])])
    assert isinstance(found, Difference)
    low, high = STATS.t.interval(0.95, 2, np.mean(slopes), STATS.sem(slopes))
    assert (found.score.value, found.score.low, found.score.high) == pytest.approx((np.mean(slopes), low, high))
    assert found.p == pytest.approx(STATS.ttest_1samp(slopes, 0).pvalue)
    assert isinstance(slope([([1.0], [2.0])]), NotMeasurable)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, float("nan"), 0.03]) == pytest.approx([0.03, 0.06, float("nan"), 0.06], nan_ok=True)
    assert holm([0.9, 0.8]) == [1.0, 1.0]
