"""θ keeps the whole-run chance of a false memory at 5 %."""

import numpy as np
import pytest

from evaluator.experience import Kind
from evaluator.scores import NotMeasurable
from evaluator.times.series import Series, first_run, run_maxima
from evaluator.times.study import Study
from evaluator.times.threshold import calibrate, least_placebos, quantile
from tests.evaluator.times.diary import Diary, Page

NAN = float("nan")


def test_the_run_maximum_is_the_level_that_m_measurements_in_a_row_reach() -> None:
    series = Series.of(np.array([[0.1, NAN, 0.9, 0.4, NAN, 0.6], [NAN, NAN, 0.3, NAN, NAN, NAN]]))
    np.testing.assert_array_equal(series.count_N, [4, 1])
    np.testing.assert_allclose(run_maxima(series.value_NL, 1), [0.9, 0.3])
    np.testing.assert_allclose(run_maxima(series.value_NL, 2), [0.4, NAN])
    np.testing.assert_allclose(run_maxima(series.value_NL, 3), [0.4, NAN])


@pytest.mark.parametrize("m", [1, 2, 3])
def test_there_is_a_run_of_m_just_where_the_run_maximum_reaches_it(m: int) -> None:
    values = np.random.default_rng(0).normal(size=(200, 9))
    reached = first_run(values >= 0.3, m) >= 0
    np.testing.assert_array_equal(reached, run_maxima(values, m) >= 0.3)


@pytest.mark.parametrize(("placebos", "rank"), [(19, 19), (24, 24), (38, 38), (39, 38), (59, 57)])
def test_theta_is_the_95th_percentile_with_one_more_to_come(placebos: int, rank: int) -> None:
    found = quantile(np.random.default_rng(0).permutation(np.arange(1.0, placebos + 1)))
    assert found is not None
    assert rank < found < rank + 1e-9


def test_fewer_than_nineteen_placebos_have_no_percentile() -> None:
    assert least_placebos() == 19
    assert quantile(np.arange(18.0)) is None


def test_one_more_placebo_passes_theta_in_at_most_five_of_a_hundred_runs() -> None:
    rng = np.random.default_rng(1)
    passed = [(draws := rng.standard_cauchy(25))[24] >= (quantile(draws[:24]) or 0.0) for _ in range(4000)]
    assert np.mean(passed) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)
    assert np.mean(passed) >= 0.02  # and it is not so high that nothing ever passes


def walks(count: int, versions: int = 4) -> list[Page]:
    rng = np.random.default_rng(2)
    return [
        Page(
            name=f"p{n:02}/0", kind=Kind.PLACEBO, visit=f"p{n:02}", world="far", bits=rng.normal(size=versions).tolist()
        )
        for n in range(count)
    ]


def test_theta_comes_from_the_placebos_of_all_runs() -> None:
    runs = [Diary(times=[10.0, 20.0, 30.0, 40.0], pages=walks(12)).run() for _ in range(2)]
    assert calibrate(Study(runs=runs[:1]), 2) == NotMeasurable(
        "there are 12 placebos and θ needs the run-maxima of 19, each measured 2 times in a row"
    )
    found = calibrate(Study(runs=runs), 2)
    assert not isinstance(found, NotMeasurable)
    scores = np.array([page.bits for page in walks(12)], np.float64)
    maxima = run_maxima(scores - np.roll(scores, -1, axis=0), 2)
    assert found.theta == pytest.approx(maxima.max())
    assert found.placebos == 24


def test_placebos_are_judged_by_the_theta_of_the_others() -> None:
    pages = walks(25)
    loud = Page(name="p24/0", kind=Kind.PLACEBO, visit="p24", world="far", bits=[99.0] * 4)
    found = calibrate(Study(runs=[Diary(times=[10.0, 20.0, 30.0, 40.0], pages=[*pages[:24], loud]).run()]), 2)
    assert not isinstance(found, NotMeasurable)
    assert found.judged == 25
    assert 1 <= found.false <= 5


def test_collapsed_versions_say_nothing_about_placebos() -> None:
    pages = [
        Page(name=f"p{n}", kind=Kind.PLACEBO, visit=f"p{n}", world="far", bits=[0.0, 0.0, n * 9.0]) for n in range(30)
    ]
    diary = Diary(times=[10.0, 20.0, 30.0], pages=pages, unhealthy=[2])
    found = calibrate(Study(runs=[diary.run()]), 1)
    assert not isinstance(found, NotMeasurable)
    assert found.theta < 1e-9
