"""Exponents of censored times: planted ones come back, intervals cover, lifelines agrees where it can do the same."""

from typing import Any, cast

import lifelines
import numpy as np
import pandas as pd  # pyright: ignore[reportMissingTypeStubs]
import pytest

from evaluator.lifetimes import plain, with_never
from evaluator.scaling import PowerLaw, Times, fit_censored, fit_medians, logarithms
from evaluator.scores import NotMeasurable

SIZES = (1e4, 3e4, 1e5, 3e5)
K = 0.4


def planted(
    seed: int, *, clusters: int = 3, each: int = 40, follow: float = 300.0, never: float = 0.0, spread: float = 0.15,
    sizes: tuple[float, ...] = SIZES,
) -> Times:  # fmt: skip
    """Times around 100 s (x / 50 000)^0.4, measured every 20 s; clusters differ in level and slope."""
    rng = np.random.default_rng(seed)
    x, low, high, cluster = list[float](), list[float](), list[float](), list[int]()
    for number in range(clusters):
        level, slope = rng.normal(0, spread), K + rng.normal(0, 0.05)
        for place, size in enumerate(sizes):
            time = 100 * np.exp(level) * (size / 5e4) ** slope * np.exp(rng.normal(0, 0.6, each))
            time = np.where(rng.random(each) < never * (1 + 0.3 * place), 1e9, time)
            upper = np.ceil(time / 20) * 20
            seen = upper <= follow
            x += [size] * each
            cluster += [number] * each
            low += np.where(seen, upper - 20, follow).tolist()
            high += np.where(seen, upper, np.inf).tolist()
    return Times(
        x_N=np.array(x), low_N=np.array(low), high_N=np.array(high), cluster_N=np.array(cluster, np.int64)
    )  # fmt: skip


def law(times: Times) -> PowerLaw:
    found = fit_censored(times)
    assert isinstance(found, PowerLaw), found
    return found


@pytest.mark.parametrize(
    ("clusters", "follow", "never"), [(3, 300.0, 0.0), (3, 120.0, 0.0), (5, 500.0, 0.3), (3, 400.0, 0.4)]
)
def test_planted_exponents_come_back_and_intervals_cover(clusters: int, follow: float, never: float) -> None:
    found = [law(planted(seed, clusters=clusters, follow=follow, never=never)).exponent for seed in range(60)]
    values = np.array([score.value for score in found])
    covered = np.array(
        [score.low is not None and score.high is not None and score.low <= K <= score.high for score in found]
    )
    assert abs(values.mean() - K) < 0.025
    assert 0.86 <= covered.mean() <= 1.0  # 95 % of 60, less three standard errors


def test_ten_seeds_and_more_are_bootstrapped_and_cover() -> None:
    found = [law(planted(seed, clusters=12, each=10)) for seed in range(12)]
    assert all("bootstrap of 12 clusters" in one.error for one in found)
    inside = [one.exponent.low <= K <= one.exponent.high for one in found if one.exponent.low and one.exponent.high]
    assert sum(inside) >= 9


def test_it_is_the_fit_of_lifelines() -> None:
    times = planted(1, follow=200.0)
    frame = pd.DataFrame({
        "low": np.maximum(times.low_N, 1e-9), "high": times.high_N, "x": np.log(times.x_N) - np.log(times.x_N).mean()
    })  # fmt: skip
    oracle: Any = cast(Any, lifelines).LogNormalAFTFitter()
    oracle.fit_interval_censoring(frame, "low", "high")
    found = law(times)
    assert found.never is None
    assert found.exponent.value == pytest.approx(oracle.params_["mu_"]["x"], abs=2e-3)
    assert found.spread == pytest.approx(np.exp(oracle.params_["sigma_"]["Intercept"]), rel=5e-3)


def test_times_known_exactly_give_the_least_squares_line() -> None:
    times = planted(2, follow=1e9)
    exact_N = np.exp(np.random.default_rng(0).normal(np.log(times.x_N) * K, 0.5))
    found = law(Times(x_N=times.x_N, low_N=exact_N, high_N=exact_N, cluster_N=times.cluster_N))
    slope, intercept = np.polyfit(np.log(times.x_N), np.log(exact_N), 1)
    assert found.exponent.value == pytest.approx(slope, rel=1e-6)
    assert found.scale == pytest.approx(np.exp(intercept), rel=1e-5)
    assert found.at(np.array([5e4]))[0] == pytest.approx(np.exp(intercept) * 5e4**slope, rel=1e-5)


def test_a_share_that_never_has_the_event_would_mislead_the_plain_model() -> None:
    many = [planted(seed, clusters=5, follow=500.0, never=0.3) for seed in range(10)]
    found = [law(times) for times in many]
    assert all(one.never is not None for one in found)
    share = np.mean([one.never_at(np.array(SIZES)) for one in found], axis=0)
    np.testing.assert_allclose(share, [0.3, 0.39, 0.48, 0.57], atol=0.06)
    logs, _ = logarithms(many[0])
    weight = np.ones(len(many[0].x_N))
    simple, cured = plain(logs, weight), with_never(logs, weight)
    assert simple is not None
    assert cured is not None
    spread = 1 / simple.at_P[2], 1 / cured.at_P[2]
    assert spread[0] > 2 * spread[1]
    assert spread[1] == pytest.approx(0.62, abs=0.1)


def test_one_seed_has_no_interval_and_unpaired_trials_lose_a_degree_of_freedom() -> None:
    assert law(planted(0, clusters=1)).exponent.low is None
    times = planted(0)
    apart_N = times.cluster_N * 10 + np.unique(times.x_N, return_inverse=True)[1]
    unpaired = law(Times(x_N=times.x_N, low_N=times.low_N, high_N=times.high_N, cluster_N=apart_N))
    assert "12 clusters, t with 10 degrees" in unpaired.error
    assert "3 clusters, t with 2 degrees" in law(times).error


def test_what_cannot_be_fitted_says_why() -> None:
    times = planted(0)
    none_seen = np.full(len(times.x_N), np.inf)
    reasons = [
        fit_censored(Times(x_N=times.x_N, low_N=times.low_N, high_N=none_seen, cluster_N=times.cluster_N)),
        fit_censored(
            Times(x_N=times.x_N * 0 + 1, low_N=times.low_N, high_N=times.high_N, cluster_N=times.cluster_N)
        ),
        fit_censored(
            Times(x_N=times.x_N, low_N=times.low_N, cluster_N=times.cluster_N,
                  high_N=np.where(times.x_N == SIZES[0], times.high_N, np.inf))
        ),
    ]  # fmt: skip
    assert [isinstance(reason, NotMeasurable) for reason in reasons] == [True] * 3
    assert [cast(NotMeasurable, reason).because.split()[0] for reason in reasons] == ["the", "an", "the"]


def test_medians_of_trials_give_a_line_with_its_interval() -> None:
    x_T = np.repeat(np.array([1.0, 10.0, 100.0]), 3)
    seed_T = np.tile(np.arange(3), 3)
    found = fit_medians(x_T, 5 * x_T**-0.3 * np.exp(0.1 * seed_T), seed_T)
    assert isinstance(found, PowerLaw)
    assert found.exponent.value == pytest.approx(-0.3)
    assert found.exponent.low == pytest.approx(-0.3)
    gap_T = np.where(np.arange(9) < 7, np.nan, 1.0)
    assert isinstance(fit_medians(x_T, gap_T, seed_T), NotMeasurable)


def test_the_median_of_all_counts_those_that_the_event_never_comes_to() -> None:
    found = law(planted(3, clusters=5, each=400, follow=600.0, never=0.3, spread=0.0))
    rng = np.random.default_rng(0)
    for x in SIZES[:2]:
        never = float(found.never_at(np.array([x]))[0])
        time = found.at(np.array([x])) * np.exp(found.spread * rng.normal(size=100_000))
        time[: int(never * 100_000)] = np.inf
        assert found.median_of_all(np.array([x]))[0] == pytest.approx(np.median(time), rel=0.03)
    assert np.isinf(found.median_of_all(np.array([SIZES[3]]))[0])
