"""D against controls at the same version: worked out by hand."""

import numpy as np
import pytest

from evaluator.experience import Kind
from evaluator.memory.measures import Measure
from evaluator.scores import NotMeasurable, Score
from evaluator.times.contrasts import episodic, mean_at, placebo, world_contrast, world_differences
from evaluator.times.rows import RowError
from evaluator.times.study import Run
from tests.evaluator.times.diary import Diary, Page

NAN = float("nan")


def visit(name: str, *, start: float = 0.0, exposures: tuple[int | None, ...] = (None, 3, 5)) -> list[Page]:
    """A visit with one exposed and two withheld blocks."""
    end = start + 10
    return [
        Page(
            name=f"{name}/0", kind=Kind.EXPOSED, visit=name, bits=[1.0, (2.0, 3.0), 4.0], start=start, end=end,
            exposures=exposures, first=start + 5, last=start + 20,
        ),
        Page(name=f"{name}/1", kind=Kind.WITHHELD, visit=name, bits=[0.5, 1.0, 1.0], start=start + 10, end=end + 10),
        Page(name=f"{name}/2", kind=Kind.WITHHELD, visit=name, bits=[None, (2.0, 1.0), 0.0], start=start, end=end),
    ]  # fmt: skip


def test_episodic_contrast_is_the_trained_minus_the_mean_of_the_withheld_of_the_same_visit() -> None:
    run = Diary(times=[5.0, 15.0, 30.0], pages=[*visit("a"), *visit("b")]).run()
    found = episodic(run)
    assert [run.names[index] for index in found.experience_N] == ["a/0", "b/0"]
    np.testing.assert_allclose(found.full_NV[0], [NAN, 2.5 - 1.25, 4.0 - 0.5])  # not before it has ended
    np.testing.assert_allclose(found.halves_NVH[0, 1], [2.0 - 1.5, 3.0 - 1.0])
    np.testing.assert_array_equal(found.trained_NV[0], [False, True, True])


def test_the_ledger_decides_what_was_trained_on_but_not_in_the_intention_to_treat() -> None:
    run = Diary(times=[5.0, 15.0, 30.0], pages=visit("a", exposures=(None, 0, 2))).run()
    np.testing.assert_array_equal(episodic(run).trained_NV[0], [False, False, True])
    np.testing.assert_array_equal(episodic(run, assigned=True).trained_NV[0], [False, True, True])
    assert isinstance(mean_at(episodic(run), run, 1), NotMeasurable)
    assert mean_at(episodic(run, assigned=True), run, 1) == Score(value=1.25, low=None, high=None, frames=1, clusters=1)


def test_a_ledger_that_does_not_know_is_no_training() -> None:
    rows = Diary(times=[15.0], pages=[Page(name="a/0", kind=Kind.EXPOSED, visit="a", bits=[1.0])]).rows()
    rows[1]["ledger"] = "unknown"
    assert np.isnan(Run.read(rows).exposures_EV).all()


def test_loss_like_measures_are_turned_round() -> None:
    diary = Diary(times=[15.0], pages=[Page(name="a/0", kind=Kind.EXPOSED, visit="a", bits=[1.0])])
    rows = diary.rows()
    rows[1]["measures"]["loss"] = {"value": 0.3, "halves": [0.2, 0.4]}
    run = Run.read(rows, Measure.LOSS)
    assert run.score_EV[0, 0] == -0.3
    np.testing.assert_array_equal(run.halves_EVH[0, 0], [-0.2, -0.4])


def test_placebos_have_as_many_controls_as_the_poorest_visit() -> None:
    walk = [Page(name=f"p/{n}", kind=Kind.PLACEBO, visit="p", world="far", bits=[float(n)]) for n in range(4)]
    lone = [Page(name="q/0", kind=Kind.PLACEBO, visit="q", world="far", bits=[10.0])]
    poor = [
        Page(name="a/0", kind=Kind.EXPOSED, visit="a", bits=[0.0]),
        Page(name="a/1", kind=Kind.WITHHELD, visit="a", bits=[0.0]),
    ]
    rich = [*poor, Page(name="a/2", kind=Kind.WITHHELD, visit="a", bits=[0.0])]
    one = placebo(Diary(times=[15.0], pages=[*poor, *walk, *lone]).run())
    np.testing.assert_allclose(one.full_NV[:, 0], [0 - 1, 1 - 2, 2 - 3, 3 - 0, 10 - 0])  # q's walk is too short
    two = placebo(Diary(times=[15.0], pages=[*rich, *walk, *lone]).run())
    np.testing.assert_allclose(two.full_NV[:, 0], [0 - 1.5, 1 - 2.5, 2 - 1.5, 3 - 0.5, 10 - 0.5])


def test_the_world_contrast_is_a_difference_of_differences_since_the_last_version_before_the_visit() -> None:
    pages = [
        Page(name="a/0", kind=Kind.EXPOSED, visit="a", world="one", bits=[None, 1.0, 1.0], start=12.0, end=22.0),
        Page(name="b/0", kind=Kind.EXPOSED, visit="b", world="two", bits=[None, None, 1.0], start=25.0, end=35.0),
        Page(name="p/0", kind=Kind.PLACEBO, visit="p", world="far", bits=[0.0, 0.0, 0.0]),
        Page(name="q/0", kind=Kind.PLACEBO, visit="q", world="near", bits=[0.0, 0.0, 0.0]),
    ]
    worlds = {"one": [1.0, 2.0, 4.0], "two": [0.0, 1.0, 1.5], "far": [1.0, 1.5, 2.0], "near": [0.0, 0.5, 0.0]}
    run = Diary(times=[10.0, 24.0, 40.0], pages=pages, worlds=worlds).run()
    found = world_differences(run)
    np.testing.assert_allclose(found["one"], [0.0, 1.0 - 0.5, 3.0 - 0.5])
    np.testing.assert_allclose(found["two"], [NAN, 0.0, 0.5 - 0.0])  # placebos: +0.5 and −0.5 since 24 s
    result = world_contrast(run)
    assert isinstance(result, Score)
    assert result.value == pytest.approx((2.5 + 0.5) / 2)
    assert result.low is not None
    assert result.low < 0 < result.value  # two worlds against two say little


def test_the_interval_of_a_mean_is_that_of_a_t_test_when_visits_are_alike_in_size() -> None:
    pages = [page for n in range(4) for page in visit(f"v{n}", start=float(n))]
    run = Diary(times=[5.0, 15.0, 30.0], pages=pages).run()
    run.score_EV[run.of(Kind.EXPOSED), 2] = [1.0, 2.0, 4.0, 5.0]
    found = mean_at(episodic(run), run, 2)
    error = float(np.std([0.5, 1.5, 3.5, 4.5], ddof=1)) / 2
    half = 3.182446 * error  # 97.5 % of t with three degrees of freedom
    assert isinstance(found, Score)
    assert (found.low, found.high) == (pytest.approx(2.5 - half), pytest.approx(2.5 + half))


def test_without_controls_there_is_no_contrast() -> None:
    lone = Diary(times=[15.0], pages=[Page(name="a/0", kind=Kind.EXPOSED, visit="a", bits=[1.0])])
    run = lone.run()
    assert isinstance(mean_at(episodic(run), run, -1), NotMeasurable)
    assert world_contrast(run) == NotMeasurable("the version rows hold no scores of whole worlds")
    one = Diary(times=[15.0], pages=lone.pages, worlds={"home": [1.0]}).run()
    assert world_contrast(one) == NotMeasurable("there is no placebo world with scores")


def test_a_damaged_row_says_where() -> None:
    rows = Diary(times=[15.0], pages=visit("a")[:0]).rows()
    del rows[0]["health"]
    with pytest.raises(RowError, match=r"evaluation row of version 1: KeyError\('health'\)"):
        Run.read(rows)


def test_rows_of_other_schemas_are_no_rows() -> None:
    rows = [row | {"schema": 1} for row in Diary(times=[15.0], pages=visit("a", exposures=(1,))[:1]).rows()]
    assert not Run.read(rows).names
