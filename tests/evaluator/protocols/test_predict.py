# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportMissingTypeStubs=false

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from evaluator.protocols import predict as module
from evaluator.protocols.predict import HORIZONS, Prediction, predict
from evaluator.protocols.reconstruct import Of
from evaluator.scores import NotMeasurable, Result, Score
from tests.evaluator.protocols.conftest import silent

type Visits = list[NDArray[np.float32]]
CPU = torch.device("cpu")
FOLD = np.arange(6) % 3


def waves(scale: float = 1.0) -> Visits:
    """Visits of four sines each, whose phases differ: wholly foretellable, and never still."""
    rng = np.random.default_rng(0)
    time = np.arange(200)[:, None]
    return [
        (scale * np.sin(2 * np.pi * time / np.array([9, 11, 13, 17]) + rng.uniform(0, 6, 4))).astype(np.float32)
        for _ in range(6)
    ]


def noise() -> Visits:
    rng = np.random.default_rng(1)
    return [rng.normal(size=(200, 4)).astype(np.float32) for _ in range(6)]


def value(result: Result | None) -> float:
    assert isinstance(result, Score)
    return result.value


def measured(steps: int = 60, **features: Visits) -> dict[Of, dict[int, Prediction]]:
    found = predict({Of(name): one for name, one in features.items()}, FOLD, device=CPU, watch=silent, steps=steps)
    return {of: dict(one) for of, one in found.items() if not isinstance(one, NotMeasurable)}


def test_waves_are_foretold_and_noise_is_not() -> None:
    found = measured(trained=waves(), random=noise())
    for horizon in HORIZONS:
        wave, random = found[Of.TRAINED][horizon], found[Of.RANDOM][horizon]
        assert value(wave.relative) < 0.5
        assert value(wave.copy) < 0.6
        assert value(random.relative) > 0.97
        assert value(random.mae) == pytest.approx(np.sqrt(2 / np.pi), abs=0.06)
        assert value(wave.gain) == pytest.approx(value(random.relative) - value(wave.relative))
        assert random.gain is None
        assert isinstance(wave.mae, Score)
        assert wave.mae.clusters == 6
    assert value(found[Of.RANDOM][1].copy) == pytest.approx(1 / np.sqrt(2), abs=0.05)


def test_units_and_dead_dimensions_do_not_matter() -> None:
    plain = measured(20, trained=waves())[Of.TRAINED]
    loud = measured(20, trained=[1000 * visit + 5 for visit in waves()])[Of.TRAINED]
    for horizon in HORIZONS:
        assert value(loud[horizon].mae) == pytest.approx(value(plain[horizon].mae), rel=1e-2)
    dead = [np.concatenate([visit, np.full((200, 2), 7, np.float32)], axis=1) for visit in noise()]
    both = measured(0, trained=dead, random=noise())
    for horizon in HORIZONS:
        assert value(both[Of.TRAINED][horizon].mae) == pytest.approx(value(both[Of.RANDOM][horizon].mae), rel=1e-5)


def test_before_the_first_step_the_net_says_that_nothing_changes() -> None:
    found = measured(0, trained=waves())[Of.TRAINED]
    for horizon in HORIZONS:
        assert value(found[horizon].copy) == pytest.approx(1)


def test_the_mean_s_error_by_hand() -> None:
    found = measured(0, trained=waves())[Of.TRAINED]
    visits, total, count = waves(), 0.0, 0
    for fold in range(3):
        fitted = np.concatenate([visit for visit, one in zip(visits, FOLD, strict=True) if one != fold])
        for visit, one in zip(visits, FOLD, strict=True):
            if one == fold:
                x = (visit - fitted.mean(0)) / fitted.std(0)
                for start in range(0, 200 - 72 + 1, module.WINDOW - module.WARM):
                    part = x[start + module.WARM + 4 : start + module.WINDOW + 4]
                    total, count = total + float(np.abs(part).sum()), count + part.size
    assert value(found[4].mae) / value(found[4].relative) == pytest.approx(total / count, rel=1e-4)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda visit: visit * np.nan, "not finite"),
        (lambda visit: visit[:50], "6 visits are shorter than 72 steps"),
        (lambda visit: visit * 0 + 3, "do not vary"),
    ],
)
def test_what_cannot_be_measured_says_why(
    broken: Callable[[NDArray[np.float32]], NDArray[np.float32]], said: str
) -> None:
    features: Visits = [broken(visit) for visit in waves()]
    found = predict({Of.TRAINED: features}, FOLD, device=CPU, watch=silent, steps=1)[Of.TRAINED]
    assert isinstance(found, NotMeasurable)
    assert said in found.because
