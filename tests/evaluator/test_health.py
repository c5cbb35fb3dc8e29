import numpy as np
import pytest

from evaluator.health import Health, dormant_share, measure_health
from evaluator.scores import NotMeasurable


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [0.0, 0.37, -12.5])
def test_constant_features_are_collapse(value: float) -> None:
    found = measure_health(np.full((50, 192), value, np.float32))
    assert isinstance(found, Health)
    assert found.rankme == pytest.approx(1, rel=1e-3)
    assert found.feature_std == 0
    assert found.dormant == 1
    assert found.effective_rank == 0
    assert found.row()["alpha"] is None


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
