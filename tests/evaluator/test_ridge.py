# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportUnknownLambdaType=false

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge as OracleRidge
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier

from evaluator.ridge import NEIGHBOURS, TEMPERATURE, Ridge, Standardiser, neighbour_votes, one_against_rest

type Labelled = tuple[NDArray[np.float32], NDArray[np.int64]]


def data(frames: int, dim: int, seed: int = 0) -> Labelled:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 4, frames)
    centres = np.random.default_rng(99).normal(0, 1.2, (4, dim))
    features = centres[label] + rng.normal(3, 2 + np.arange(dim) % 5, (frames, dim))
    return features.astype(np.float32), label.astype(np.int64)


@pytest.mark.parametrize(("frames", "dim"), [(200, 30), (40, 90), (64, 64)])
@pytest.mark.parametrize("strength", [1e-3, 1.0])
def test_regression_equals_scikit_learn(frames: int, dim: int, strength: float) -> None:
    (features, _), (others, _) = data(frames, dim), data(77, dim, 1)
    targets = np.random.default_rng(2).normal(5, 2, (frames, 3)) + features[:, :3]
    standardise = Standardiser(features)
    x, z = standardise(features), standardise(others)
    ridge = Ridge(x)
    oracle = OracleRidge(alpha=frames * strength).fit(x, targets)
    assert np.allclose(ridge.predict(ridge.project(z), targets, strength), oracle.predict(z), atol=1e-7)


@pytest.mark.parametrize(("frames", "dim"), [(300, 20), (60, 120)])
def test_classes_equal_scikit_learn(frames: int, dim: int) -> None:
    (features, label), (others, _) = data(frames, dim), data(500, dim, 1)
    standardise = Standardiser(features)
    x, z = standardise(features), standardise(others)
    ridge = Ridge(x)
    guess = ridge.predict(ridge.project(z), one_against_rest(label, 4), 0.1).argmax(axis=1)
    oracle = RidgeClassifier(alpha=frames * 0.1).fit(x, label).predict(z)
    assert (guess == oracle).mean() >= 0.995


def test_neighbours_equal_scikit_learn() -> None:
    (features, label), (others, _) = data(300, 20), data(500, 20, 1)
    standardise = Standardiser(features)
    x, z = standardise(features), standardise(others)
    weights: Any = lambda distance: np.exp((1 - distance) / TEMPERATURE)  # noqa: E731
    oracle = KNeighborsClassifier(n_neighbors=NEIGHBOURS, metric="cosine", weights=weights).fit(x, label)
    assert (neighbour_votes(x, label, z, 4) == oracle.predict(z)).mean() >= 0.995


def test_neighbours_by_hand() -> None:
    x = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    found = neighbour_votes(x, np.array([0, 0, 1]), np.array([[5.0, 0.1], [0.0, 0.2]]), 2)
    assert found.tolist() == [0, 1]


@pytest.mark.filterwarnings("error")
def test_constant_features_are_left_out() -> None:
    features, _ = data(50, 6)
    features[:, 2] = 1.7
    features[::2, 4] = np.float32(1000.0001)
    features[1::2, 4] = np.float32(1000.0)
    standardise = Standardiser(features)
    assert standardise.varies
    x = standardise(features)
    assert not x[:, [2, 4]].any()
    assert np.allclose(x[:, [0, 1, 3, 5]].std(axis=0), 1)
    assert not Standardiser(np.full((10, 3), 0.3, np.float32)).varies


@pytest.mark.filterwarnings("error")
def test_without_features_the_mean_is_predicted() -> None:
    ridge = Ridge(np.zeros((4, 3)))
    found = ridge.predict(ridge.project(np.zeros((2, 3))), np.array([[1.0], [2.0], [3.0], [6.0]]), 0.1)
    assert found.tolist() == [[3.0], [3.0]]
