"""When something is memorised and forgotten: worked out by hand."""

from collections.abc import Sequence

import numpy as np
import pytest

from evaluator.experience import Kind
from evaluator.times.contrasts import episodic
from evaluator.times.events import Events, Forgetting, Outcome, forgotten, half_of_peak, memorised, rememorised
from evaluator.times.study import Clock, Run
from tests.evaluator.times.diary import Bits, Diary, Page

TIMES = [20.0, 40.0, 60.0, 80.0, 100.0, 120.0, 140.0]


def life(
    bits: Sequence[Bits],
    *,
    exposures: Sequence[int | None] = (1, 2, 3, 4, 4, 4, 4),
    last: float = 75.0,
    unhealthy: Sequence[int] = (),
    times: Sequence[float] = tuple(TIMES),
) -> Run:
    """One exposed experience, captured from 4 to 14 s, first used at 15 s, next to a withheld one that stays at 0."""
    pages = [
        Page(name="a/0", kind=Kind.EXPOSED, visit="a", bits=bits, start=4.0, end=14.0, first=15.0, last=last,
             exposures=exposures),
        Page(name="a/1", kind=Kind.WITHHELD, visit="a", bits=[0.0] * len(times), start=14.0, end=24.0),
    ]  # fmt: skip
    return Diary(times=times, pages=pages, unhealthy=unhealthy).run()


def only(events: Events) -> tuple[Outcome, float, float]:
    assert len(events.low_N) == 1
    return Outcome(events.outcome_N[0]), float(events.low_N[0]), float(events.high_N[0])


def t_mem(run: Run, m: int = 2) -> tuple[Outcome, float, float]:
    return only(memorised(run, episodic(run), 0.5, m))


def gone(run: Run, m: int = 2) -> Forgetting:
    contrast = episodic(run)
    return forgotten(run, contrast, memorised(run, contrast, 0.5, m), m)


RISE = [0.1, 0.6, 0.2, 0.7, 0.8, 0.9, 0.9]


def test_memory_begins_with_the_first_of_m_measurements_in_a_row() -> None:
    run = life(RISE)
    assert t_mem(run, m=1) == (Outcome.EVENT, 20.0, 40.0)
    assert t_mem(run, m=2) == (Outcome.EVENT, 60.0, 80.0)
    assert memorised(run, episodic(run), 0.5).origin_N[0] == 4.0  # capture of the first frame


def test_measurements_that_were_not_taken_are_no_gap() -> None:
    assert t_mem(life([0.1, None, 0.6, None, 0.7, 0.1, 0.1])) == (Outcome.EVENT, 20.0, 60.0)


def test_memory_at_the_first_measurement_is_only_known_to_be_later_than_capture() -> None:
    assert t_mem(life([0.9] * 7)) == (Outcome.EVENT, 4.0, 20.0)


def test_without_a_gradient_nothing_is_memorised() -> None:
    assert t_mem(life([0.9] * 7, exposures=(0, 0, 0, 1, 1, 1, 1))) == (Outcome.EVENT, 60.0, 80.0)
    assert t_mem(life([0.9] * 7, exposures=(0,) * 7)) == (Outcome.CENSORED, 120.0, np.inf)


def test_the_last_measurement_cannot_begin_two_and_so_censoring_comes_before_it() -> None:
    assert t_mem(life([0.1] * 6 + [0.9])) == (Outcome.CENSORED, 120.0, np.inf)
    assert t_mem(life([0.1] * 7), m=1) == (Outcome.CENSORED, 140.0, np.inf)
    assert t_mem(life([0.9] + [None] * 6)) == (Outcome.CENSORED, 4.0, np.inf)


def test_collapse_is_no_memory_and_comes_between_the_versions_that_show_it() -> None:
    assert t_mem(life([0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0.9], unhealthy=[3, 4])) == (Outcome.COLLAPSE, 60.0, 80.0)
    assert t_mem(life([0.9] * 7, unhealthy=range(7))) == (Outcome.COLLAPSE, 4.0, 20.0)
    assert t_mem(life([0.9] * 7, unhealthy=[3, 4])) == (Outcome.EVENT, 4.0, 20.0)  # memorised before it


def test_without_the_event_it_was_followed_as_long_as_m_in_a_row_could_still_begin() -> None:
    for unhealthy, until in (
        ([], 120.0),
        ([5, 6], 80.0),
        ([3, 4], 40.0),
        (range(7), 4.0),
    ):  # versions at 20, 40, … 140 s
        run = life([0.1] * 7, unhealthy=unhealthy)
        assert memorised(run, episodic(run), 0.5).followed_N[0] == until


def test_one_unhealthy_version_is_skipped_and_no_collapse() -> None:
    assert t_mem(life([0.1, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1], unhealthy=[1])) == (Outcome.EVENT, 40.0, 60.0)


def test_half_of_the_peak_is_reached_by_the_other_half_of_the_frames() -> None:
    run = life([(0.6, 0.2), (0.8, 0.3), (1.0, 0.5), (1.2, 0.9), (1.0, 0.9), (1.0, 0.9), (1.0, 0.9)])
    assert only(half_of_peak(run, episodic(run), 0.5)) == (Outcome.EVENT, 40.0, 60.0)  # even: two reach 1.0


FALL = [(0.6, 0.6), (0.8, 0.8), (1.0, 0.9), (9.0, 0.7), (9.0, 0.6), (9.0, 0.5), (9.0, 0.4)]


def test_forgotten_is_where_the_odd_half_falls_to_half_of_the_even_one_at_the_last_exposure() -> None:
    found = gone(life(FALL))  # last used at 75 s: the level is 1.0, at 60 s; odd falls to 0.5 at 120 s
    assert found.level_N[0] == 1.0
    assert only(found.events) == (Outcome.EVENT, 100.0, 120.0)
    assert found.events.origin_N[0] == pytest.approx(75.0)


def test_what_holds_on_is_censored_and_what_was_never_known_cannot_be_forgotten() -> None:
    assert only(gone(life([1.0] * 7)).events) == (Outcome.CENSORED, 120.0, np.inf)
    assert not len(gone(life([0.1] * 7)).events.low_N)
    late = [0.1, 0.1, 0.1, 0.1, 0.9, 0.9, 0.1]  # only after the last use: known through others
    assert not len(gone(life(late)).events.low_N)


def test_a_collapse_is_not_forgetting() -> None:
    found = gone(life([*FALL[:4], (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)], unhealthy=[4, 5, 6]))
    assert only(found.events) == (Outcome.COLLAPSE, 80.0, 100.0)


def test_memory_comes_back_when_d_is_as_high_as_at_the_last_exposure() -> None:
    times = [*TIMES, 160.0, 180.0, 200.0]
    bits = [0.8, 1.0, 1.0, 0.4, 0.4, 0.7, 0.7, 1.1, 1.2, 1.0]
    run = life(bits, times=times, exposures=(1, 2, 3, 4, 4, 4, 4, 4, 4, 4))
    found = gone(run)
    assert only(found.events) == (Outcome.EVENT, 75.0, 80.0)
    again = rememorised(run, found, 0.5)
    assert only(again) == (Outcome.EVENT, 140.0, 160.0)
    assert again.origin_N[0] == 80.0


def test_each_clock_counts_its_own() -> None:
    run = life(RISE)
    events = memorised(run, episodic(run), 0.5)  # (60, 80] from 4 s
    counted = {
        clock: tuple(
            float(run.elapsed(clock, events.origin_N, ends, events.experience_N)[0])
            for ends in (events.low_N, events.high_N)
        )
        for clock in Clock
    }
    assert counted[Clock.SECONDS] == (56.0, 76.0)
    assert counted[Clock.FRAMES] == (560.0, 760.0)  # ten a second
    assert counted[Clock.STEPS] == pytest.approx((112.0, 152.0))  # two a second
    assert counted[Clock.OTHERS] == pytest.approx((112 * 4 - 3, 152 * 4 - 4))  # batches of four, less its own


def test_the_pace_is_known_from_the_ledger_too() -> None:
    run = life(RISE)
    np.testing.assert_allclose(run.steps_at(np.array([10.0, 15.0, 150.0])), [20.0, 30.0, 300.0])
    np.testing.assert_allclose(run.time_of_step(np.array([30.0, 300.0])), [15.0, 150.0])
    assert run.first_E[0] == pytest.approx(15.0)
    assert run.last_E[0] == pytest.approx(75.0)
