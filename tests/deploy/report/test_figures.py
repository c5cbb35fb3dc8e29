"""What stands behind the figures: rows and colours of the heat map, neighbours, drawings on both grounds."""

import re

import numpy as np
import pytest

from deploy.report.blocks import Reasons, missing, number, table
from deploy.report.canvas import Canvas, drawing, picture
from deploy.report.heat import Grid
from deploy.report.material import MOST_SHOWN, sparse
from deploy.report.neighbours import nearest, queries
from deploy.report.tints import Tint, better_or_worse
from evaluator.scores import NotMeasurable, Score
from evaluator.times.study import Run
from tests.evaluator.walks import probe_set


def rows(worlds: dict[str, list[float]]) -> list[dict[str, object]]:
    """Three versions; two visits of two actors that take turns, one placebo."""
    measured = {
        "a/0": ("exposed", "w", 0.0, [1.0, None, 3.0]),
        "b/0": ("exposed", "v", 5.0, [None, 2.0, 2.0]),
        "a/1": ("exposed", "w", 10.0, [9.0, 2.0, None]),
        "p/0": ("placebo", "q", None, [0.5, 1.0, 1.5]),
    }
    found: list[dict[str, object]] = []
    for version, time in enumerate((10.0, 30.0, 60.0)):
        head = {"schema": 2, "version": version, "step": version, "system_time": time, "created_ns": int(time * 1e9)}
        of_world = {name: {"bits": {"value": of[version], "halves": [0.0, 0.0]}} for name, of in worlds.items()}
        found.append({**head, "row": "evaluation", "learner_health": {}, "health": {"trained": {}}, "worlds": of_world})
        for name, (kind, world, start, bits) in measured.items():
            if (value := bits[version]) is not None:
                found.append(
                    {**head, "row": "experience", "experience": name, "kind": kind, "world": world,
                     "visit": name[0], "start": start, "end": None if start is None else start + 10.0,
                     "measures": {"bits": {"value": value, "halves": [value, value]}},
                     **dict.fromkeys(("exposures", "admitted_step", "first_step", "last_step", "first_ns", "last_ns"))}
                )  # fmt: skip
    return found


def test_rows_go_by_kind_then_visit_and_hold_the_gain_over_frames_of_their_world() -> None:
    run = Run.read(rows({"w": [0.5, 1.0, 1.0], "v": [0.0, 1.0, 2.0], "q": [0.5, 0.5, 0.5]}))
    grid = Grid.of(run)
    assert [run.names[index] for index in grid.order_R] == ["a/0", "a/1", "b/0", "p/0"]
    assert grid.baseline == "world"
    nan = np.nan
    expected = [[0.5, nan, 2.0], [nan, 1.0, nan], [nan, 1.0, 0.0], [0.0, 0.5, 1.0]]
    np.testing.assert_allclose(grid.bits_RV, expected)  # the end of a/1 is later than the first version


def test_without_frames_of_every_world_the_placebos_are_subtracted() -> None:
    run = Run.read(rows({"w": [0.5, 1.0, 1.0]}))
    grid = Grid.of(run)
    assert grid.baseline == "placebo"
    np.testing.assert_allclose(grid.bits_RV[0], [0.5, np.nan, 1.5])
    np.testing.assert_allclose(grid.bits_RV[-1], [0.0, 0.0, 0.0])


def test_a_cell_lasts_until_the_next_measurement_and_nothing_stands_before_the_first() -> None:
    grid = Grid(order_R=np.arange(2), bits_RV=np.array([[1.0, np.nan, 3.0], [np.nan, 2.0, np.nan]]), baseline="world")
    shown = grid.on_clock(np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.0, 1.5, 2.5, 3.5]))
    nan = np.nan
    np.testing.assert_allclose(shown, [[nan, 1.0, 1.0, 1.0, 3.0], [nan, nan, nan, 2.0, 2.0]])


def test_neighbours_are_the_most_alike_of_other_walks() -> None:
    probes = probe_set()
    features = np.random.default_rng(0).normal(size=(len(probes), 5)).astype(np.float32)
    query = queries(probes)[0]
    same_walk = np.flatnonzero(probes.walk == probes.walk[query])
    twin = int(np.flatnonzero(probes.walk != probes.walk[query])[7])
    features[twin] = features[query]
    features[same_walk] = features[query]
    found = nearest(features, probes, query)
    assert found[0] == twin
    assert not set(found) & set(same_walk.tolist())
    assert len(set(found)) == 5


def test_queries_come_from_test_walks_of_different_worlds() -> None:
    probes = probe_set()
    found = queries(probes)
    assert probes.is_test[found].all()
    assert len(set(probes.world[found].tolist())) == len(found) == len(probes.spec.names)


def test_a_drawing_has_two_widths_no_fixed_colour_and_ids_of_its_own() -> None:
    def paint(canvas: Canvas) -> None:
        for axes in canvas.panels(2, columns=canvas.pair):
            axes.plot([0, 1], [0, 1], color=Tint.BLUE, label="x")  # pyright: ignore[reportUnknownMemberType]
            axes.set_title("$a_b$ <c>", loc="left")  # pyright: ignore[reportUnknownMemberType]

    svg = drawing("one", 'a "label"', paint)
    assert svg.count("<svg") == 2
    assert [float(width) for width in re.findall(r'viewBox="0 0 ([\d.]+)', svg)] == pytest.approx([920, 356])
    assert "var(--blue)" in svg
    assert "var(--ink)" in svg
    assert not re.search(r"#[0-9a-f]{6}", svg)
    assert "$a_b$ &lt;c&gt;" in svg
    ids = re.findall(r'\bid="([^"]*)"', svg)
    assert len(ids) == len(set(ids))
    assert all(name.startswith(("one-w-", "one-n-")) for name in ids)
    assert set(re.findall(r"url\(#([^)]*)\)", svg)) <= set(ids)


def test_a_picture_is_drawn_for_either_ground() -> None:
    def paint(canvas: Canvas) -> None:
        picture(canvas.axes(0, 0, 100, 50), np.array([[-1.0, np.nan, 1.0]]), 1.0, (0, 3, 0, 1))

    svg = drawing("map", "map", paint)
    assert svg.count('<image class="on-light"') == svg.count('<image class="on-dark"') == 2


def test_equal_is_near_the_ground_on_either() -> None:
    light, dark = (np.array(better_or_worse(dark=dark)(0.5)[:3]) for dark in (False, True))
    assert light.min() > 0.9
    assert dark.max() < 0.3


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (Score(value=-0.25, low=-0.5, high=0.125, frames=1, clusters=2), "−0.250 [−0.500,\xa00.125]"),
        (Score(value=-0.0001, low=None, high=None, frames=1, clusters=1), "0.000"),
        (Score(value=3.0, low=1.0, high=None, frames=1, clusters=2), "3.000 [1.000,\xa0…]"),
    ],
    ids=["interval", "no-interval", "open"],
)
def test_numbers_have_their_intervals(score: Score, said: str) -> None:
    assert number(score) == said


def test_reasons_are_told_once_and_text_is_escaped() -> None:
    reasons = Reasons()
    cells = [reasons.cell(NotMeasurable(why)) for why in ("x < y", "other", "x < y")]
    assert cells == ["– (1)", "– (2)", "– (1)"]
    assert reasons.notes()[0] == "(1) Not measurable, because x < y."
    assert "x &lt; y" in table(["a"], [["b"]], notes=reasons.notes())
    assert "because x &lt; y." in missing("title", NotMeasurable("x < y"))


@pytest.mark.parametrize("count", [0, 1, 5, MOST_SHOWN, 5000])
def test_figures_over_time_show_the_first_and_the_last_of_few_enough(count: int) -> None:
    found = sparse(count)
    assert len(found) == min(count, MOST_SHOWN)
    assert not count or (found[0], found[-1]) == (0, count - 1)
