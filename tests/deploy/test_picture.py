"""The picture: rows in order, colours against the placebo of the same version, and something to see in every case."""

import math
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from deploy.picture import Grid, draw
from deploy.summary import Estimate, Evaluated, Lived


def lived(name: str, kind: str, visit: str, start: float, *, loss: float, age: float = 1.0) -> Lived:
    end = start + 10 if math.isfinite(start) else math.nan
    return Lived(name=name, kind=kind, world=f"world of {visit}", visit=visit, start=start, end=end, age=age, loss=loss)


def evaluation(version: int, time: float, *experiences: Lived, placebo: float | None = 0.5) -> Evaluated:
    score = {name: Estimate(value=0.5, low=0.4, high=0.6) for name in ("trained", "random")}
    return Evaluated(
        version=version,
        system_time=time,
        probes={"world": {**score, "pixels": None}, "depth": {**score, "pixels": Estimate(value=0.1)}},
        losses={"placebo": None if placebo is None else Estimate(value=placebo)},
        lived=experiences,
    )


EARLY = evaluation(
    1,
    1030.0,
    lived("p", "placebo", "walk", math.nan, loss=0.5, age=math.nan),
    lived("b/0", "exposed", "b", 1005.0, loss=0.55, age=15),
    lived("a/1", "withheld", "a", 1010.0, loss=0.5, age=10),
    lived("a/0", "exposed", "a", 1000.0, loss=0.6, age=20),
    lived("b/2", "exposed", "b", 1025.0, loss=0.7, age=-5),
)
LATE = evaluation(
    2,
    1090.0,
    lived("a/2", "exposed", "a", 1020.0, loss=0.4, age=60),
    lived("a/0", "exposed", "a", 1000.0, loss=math.nan, age=80),
    lived("b/2", "exposed", "b", 1025.0, loss=0.2, age=55),
    placebo=0.4,
)


def test_rows_go_by_kind_then_visit_then_time() -> None:
    rows = [item.name if item else "" for item in Grid.of([EARLY, LATE]).rows]
    assert rows == ["", "", "", "a/0", "a/2", "b/0", "b/2", "", "", "", "a/1", "", "", "", "p"]


def test_colour_is_the_loss_against_the_placebo_of_the_same_version() -> None:
    grid = Grid.of([EARLY, LATE])
    found = {item.name: percent for item, percent in zip(grid.rows, grid.percent, strict=True) if item}
    np.testing.assert_allclose(found["a/0"], [20, np.nan], err_msg="measured, and not finite")
    np.testing.assert_allclose(found["a/2"], [np.nan, 0])
    np.testing.assert_allclose(found["b/0"], [10, 10], err_msg="not due at the second evaluation")
    np.testing.assert_allclose(found["p"], [0, 0])


def test_an_experience_is_blank_before_it_was_over() -> None:
    grid = Grid.of([EARLY, LATE])
    row = next(number for number, item in enumerate(grid.rows) if item and item.name == "b/2")
    np.testing.assert_allclose(grid.percent[row], [np.nan, -50])


def test_minutes_begin_with_the_first_experience_and_cells_last_until_the_next_evaluation() -> None:
    grid = Grid.of([EARLY, LATE])
    np.testing.assert_allclose(grid.minutes, [0.5, 1.5])
    np.testing.assert_allclose(grid.edges, [0.5, 1.5, 2.5])


def test_a_version_without_placebo_losses_is_blank() -> None:
    grid = Grid.of([evaluation(1, 0.0, lived("a/0", "exposed", "a", 0.0, loss=0.6), placebo=None)])
    assert np.isnan(grid.percent).all()


@pytest.mark.parametrize(
    "evaluations",
    [
        [],
        [EARLY],
        [EARLY, LATE],
        [evaluation(1, 0.0)],
        [evaluation(1, 0.0, lived("a/0", "exposed", "a", 0.0, loss=0.6), placebo=None)],
        [evaluation(1, 0.0, lived("a/0", "exposed", "wrld_" + "f" * 36, 0.0, loss=0.6))],
        [evaluation(version, 30.0 * version, *EARLY.lived) for version in range(1, 200)],
        [evaluation(1, 10.0, *EARLY.lived), evaluation(2, 10.0, *EARLY.lived)],
        [evaluation(1, math.nan)],
        [evaluation(1, 9e4, *(lived(str(n), "exposed", str(n // 5), 10.0 * n, loss=0.6) for n in range(3000)))],
    ],
    ids=["none", "one", "two", "no-experience", "no-placebo", "long-name", "many", "same-time", "no-time", "thousands"],
)
def test_there_is_always_a_picture(evaluations: list[Evaluated], tmp_path: Path) -> None:
    path = draw(evaluations, tmp_path / "memory.png", title="runs/one")
    pixels = matplotlib.image.imread(path)
    assert pixels.shape[1] == 11 * 150
    assert pixels.std() > 0.01
