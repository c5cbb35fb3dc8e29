from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluator.scores import NotMeasurable, Result, Sample, Score, cluster_sums, divide, mean_sample, ratio


def mean_score(values: NDArray[np.float64], clusters: NDArray[np.int64], undefined: str) -> Result:
    return mean_sample(values, clusters, undefined=undefined).score()


def test_mean_weighs_frames_and_counts_clusters() -> None:
    found = mean_score(np.array([1.0, 1.0, 0.0, 1.0]), np.array([7, 7, 9, 9]), undefined="")
    assert isinstance(found, Score)
    assert (found.value, found.frames, found.clusters) == (0.75, 4, 2)


def test_interval_of_two_clusters_reaches_from_one_to_the_other() -> None:
    found = mean_score(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1]), undefined="")
    assert isinstance(found, Score)
    assert (found.low, found.high) == (0.0, 1.0)


def test_one_cluster_has_no_interval() -> None:
    found = mean_score(np.array([0.2, 0.4]), np.array([3, 3]), undefined="")
    assert isinstance(found, Score)
    assert found.value == pytest.approx(0.3)
    assert found.low is None
    assert found.high is None


def test_interval_is_as_wide_as_that_of_a_mean_over_clusters() -> None:
    rng = np.random.default_rng(0)
    clusters = rng.normal(0, 1, 100)
    values, ids = np.repeat(clusters, 50), np.repeat(np.arange(100), 50)
    found = mean_score(values, ids, undefined="")
    assert isinstance(found, Score)
    assert found.low is not None
    assert found.high is not None
    # Were frames drawn instead of clusters, it would be √50 times narrower.
    assert found.high - found.low == pytest.approx(2 * 1.96 * clusters.std() / 10, rel=0.12)


def test_intervals_cover_the_truth() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        centre = rng.normal(0, 1, 40)
        values = (centre[:, None] + rng.normal(0, 1, (40, 5))).ravel()
        found = mean_score(values, np.repeat(np.arange(40), 5), undefined="")
        assert isinstance(found, Score)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_is_the_same_each_time() -> None:
    values, ids = np.random.default_rng(2).normal(size=60), np.repeat(np.arange(6), 10)
    assert mean_score(values, ids, undefined="") == mean_score(values, ids, undefined="")


@pytest.mark.parametrize("values", [[np.nan, 1.0], [np.inf, 1.0], []])
def test_undefined_is_said_and_not_nan(values: list[float]) -> None:
    found = mean_score(np.array(values), np.arange(len(values)), undefined="of this")
    assert found == NotMeasurable("of this")


def test_zero_denominator_is_undefined() -> None:
    sample = Sample(sums_CS=np.zeros((3, 2)), statistic=ratio, frames=0, undefined="nothing there")
    assert sample.score() == NotMeasurable("nothing there")


def test_gain_is_paired() -> None:
    """Both encoders stumble over the same walks: the difference is far surer than either score."""
    rng = np.random.default_rng(5)
    hard, ids = np.repeat(rng.uniform(0, 1, 20), 30), np.repeat(np.arange(20), 30)
    better = mean_sample(hard + 0.1, ids, undefined="")
    worse = mean_sample(hard, ids, undefined="")
    gain, alone = better.gain_over(worse), better.score()
    assert isinstance(gain, Score)
    assert isinstance(alone, Score)
    assert gain.low is not None
    assert gain.high is not None
    assert alone.low is not None
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.1, 0.1, 0.1))
    assert alone.low < alone.value - 0.05
    broken = mean_sample(np.full(600, np.nan), ids, undefined="of this")
    assert isinstance(better.gain_over(broken), NotMeasurable)


def test_cluster_sums_by_hand() -> None:
    sums: Any = cluster_sums(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([8, 2, 8])).tolist()
    assert sums == [[3.0, 4.0], [6.0, 8.0]]


@pytest.mark.filterwarnings("error")
def test_division_by_zero_is_silent() -> None:
    assert np.isnan(divide(np.array([1.0]), np.array([0.0]))[0])
