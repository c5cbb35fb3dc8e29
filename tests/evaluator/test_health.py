import numpy as np
import pytest

from evaluator.health import Health, dormant_share, measure_health, rankme
from evaluator.scores import NotMeasurable


@pytest.mark.parametrize(("frames", "dim"), [(64, 16), (16, 64)])
def test_rankme_of_equal_directions_is_their_number(frames: int, dim: int) -> None:
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(64, 16)))[0]
    features = basis if (frames, dim) == (64, 16) else basis.T
    assert rankme(features) == pytest.approx(16, rel=1e-3)


def test_rankme_by_hand() -> None:
    # σ = (3, 1): p = (¾, ¼), entropy 0.5623 nats.
    assert rankme(np.diag([3.0, 1.0])) == pytest.approx(np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)), rel=1e-5)


def test_rankme_equals_the_formula_on_singular_values() -> None:
    features = np.random.default_rng(3).normal(size=(100, 24)) * np.logspace(0, -3, 24)
    singular = np.linalg.svd(features, compute_uv=False)
    share = singular / singular.sum() + 1e-7
    assert rankme(features) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [0.0, 0.37, -12.5])
def test_constant_features_are_collapse(value: float) -> None:
    found = measure_health(np.full((50, 192), value, np.float32))
    assert isinstance(found, Health)
    assert found.rankme == pytest.approx(1, rel=1e-3)
    assert found.feature_std == 0
    assert found.dormant == 1


def test_feature_std_is_the_mean_over_dimensions() -> None:
    features = np.array([[0.0, 0.0], [2.0, 6.0]], np.float32)
    found = measure_health(features)
    assert isinstance(found, Health)
    assert found.feature_std == pytest.approx(2.0)
    assert found.frames == 2


def test_dormant_units_may_rest_at_any_value() -> None:
    features = np.random.default_rng(1).normal(size=(200, 10))
    features[:, :3] = 4.0
    features[:, 3] = 4.0 + 0.01 * features[:, 3]
    assert dormant_share(features) == pytest.approx(0.4)
    assert dormant_share(100 * features) == dormant_share(features / 100) == dormant_share(features)


def test_not_finite_features_are_said() -> None:
    features = np.ones((4, 5), np.float32)
    features[2, 3] = np.nan
    found = measure_health(features)
    assert isinstance(found, NotMeasurable)
    assert "1 of 20" in found.because
    assert isinstance(measure_health(np.ones((1, 5), np.float32)), NotMeasurable)
