# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportMissingTypeStubs=false

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from evaluator.protocols.accuracy import wilson
from evaluator.protocols.fast import Method, Reading, fast
from evaluator.protocols.features import Readout
from evaluator.protocols.images import ImageFolder
from evaluator.ridge import NEIGHBOURS, TEMPERATURE
from evaluator.scores import NotMeasurable, Score
from tests.evaluator.protocols.conftest import silent

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def readings(digits: ImageFolder, features: NDArray[np.float32]) -> dict[tuple[Readout, Method], Reading]:
    found = fast(features, digits, device=CPU, watch=silent)
    assert isinstance(found, list)
    return {(one.readout, one.method): one for one in found}


def scaled(features: NDArray[np.float32], folder: ImageFolder, readout: Readout) -> tuple[Any, Any, Any, Any]:
    x_ND, train = readout.take(features).astype(np.float64), folder.fit | folder.validate
    scaler = StandardScaler().fit(x_ND[train])
    return scaler.transform(x_ND[train]), folder.label[train], scaler.transform(x_ND[folder.test]), train.sum()


def value(reading: Reading) -> float:
    assert isinstance(reading.test, Score)
    return reading.test.value


@pytest.mark.parametrize("readout", list(Readout))
def test_methods_agree_with_scikit_learn(
    digits: ImageFolder,
    features: NDArray[np.float32],
    readings: dict[tuple[Readout, Method], Reading],
    readout: Readout,
) -> None:
    x, y, z, count = scaled(features, digits, readout)
    ridge, logistic = readings[readout, Method.RIDGE], readings[readout, Method.LOGISTIC]
    assert ridge.strength is not None
    assert logistic.strength is not None
    weights: Any = lambda distance: np.exp((1 - distance) / TEMPERATURE)  # noqa: E731
    oracles = {
        Method.RIDGE: RidgeClassifier(alpha=count * ridge.strength),
        Method.LOGISTIC: LogisticRegression(C=1 / (count * logistic.strength), max_iter=5000, tol=1e-6),
        Method.NEIGHBOURS: KNeighborsClassifier(n_neighbors=NEIGHBOURS, metric="cosine", weights=weights),
    }
    for method, oracle in oracles.items():
        expected = float(oracle.fit(x, y).score(z, digits.label[digits.test]))
        assert 0.85 < expected < 1
        assert value(readings[readout, method]) == pytest.approx(expected, abs=0.005), method


def test_what_is_chosen_is_chosen_on_the_validation_part(digits: ImageFolder, features: NDArray[np.float32]) -> None:
    """Marks that give the test labels away must not help, nor change what is chosen."""
    features = features[:, -1:]
    marked = features.copy()
    marked[digits.test, :, :10] += 50 * np.eye(10, dtype=np.float32)[digits.label[digits.test]][:, None]
    found, plain = (fast(one, digits, device=CPU, watch=silent) for one in (marked, features))
    assert isinstance(found, list)
    assert isinstance(plain, list)
    for one, other in zip(found, plain, strict=True):
        assert (one.strength, one.validation) == (other.strength, other.validation)
        assert value(one) < 0.8


@pytest.mark.parametrize(("fill", "said"), [(1.0, "do not vary"), (np.nan, "not finite")])
def test_collapsed_features_are_not_measurable(
    digits: ImageFolder, features: NDArray[np.float32], fill: float, said: str
) -> None:
    found = fast(np.full_like(features, fill), digits, device=CPU, watch=silent)
    assert isinstance(found, NotMeasurable)
    assert said in found.because


@pytest.mark.parametrize(("right", "asked"), [(0, 10), (10, 10), (37, 50), (1, 3)])
def test_the_interval_is_wilson_s(right: int, asked: int) -> None:
    found, expected = wilson(right, asked), binomtest(right, asked).proportion_ci(0.95, "wilson")
    assert isinstance(found, Score)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert isinstance(wilson(0, 0), NotMeasurable)
