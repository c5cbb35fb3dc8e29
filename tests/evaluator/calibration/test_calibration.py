"""A small calibration: tolerances are those of so few studies. The large one is `make bench ARGS=calibration`."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest

from evaluator.calibration.check import NULL_EVERY, Calibration, Time, agreement, trials
from evaluator.calibration.plan import LEVELS, Noise, Plan, Planted, truth
from evaluator.calibration.simulator import simulate
from evaluator.experience import Kind
from evaluator.times.study import Run

STUDIES = 40


@pytest.fixture(scope="module")
def calibrated() -> Calibration:
    return agreement(list(trials(Plan(), LEVELS["middle"], 1, range(STUDIES))), 1)


@pytest.mark.parametrize("time", Time)
def test_planted_medians_are_found_and_intervals_hold_them(calibrated: Calibration, time: Time) -> None:
    found = calibrated.times[time]
    assert found.studies >= STUDIES - 3
    assert found.censored > 0.25
    assert abs(found.ratio - 1) < 0.1
    assert 0.95 - 4 * sqrt(0.95 * 0.05 / STUDIES) <= found.coverage
    assert found.coverage >= found.coverage_percentile


def test_hardly_anything_never_learned_is_called_a_memory(calibrated: Calibration) -> None:
    judged, null = calibrated.judged
    assert judged == 24 * STUDIES
    assert null == 112 * STUDIES / NULL_EVERY
    assert calibrated.false_placebos is not None
    assert calibrated.false_memories is not None
    assert calibrated.false_placebos <= 0.05 + 4 * sqrt(0.05 * 0.95 / judged)
    assert calibrated.false_memories <= 0.12  # four studies, and those of one study share their θ


def test_medians_without_noise_follow_from_the_plan() -> None:
    plan = replace(Plan(), spread=0.0, spread_visit=0.0, never=0.0, wait=0.0)
    t_mem, t_forget = truth(plan, 1.0)
    assert t_mem == pytest.approx(0.5 + plan.rise * np.cbrt(np.log(2)), rel=0.02)  # half of 2 bits
    assert t_forget == plan.half_life


def test_planted_times_are_crossings_of_what_is_remembered() -> None:
    planted = Planted.draw(Plan(never=0.0), (np.zeros(50), np.zeros(50)), np.random.default_rng(0))
    reached = planted.reaches(0.8)
    crossing = np.isfinite(reached)
    assert crossing.sum() > 40
    known = planted.remembered(np.where(crossing, reached, 0.0)[:, None])[:, 0]
    np.testing.assert_allclose(known[crossing], 0.8)
    later = planted.remembered((planted.last + planted.half_life)[:, None])[:, 0]
    np.testing.assert_allclose(later, planted.remembered(planted.last[:, None])[:, 0] / 2)


def test_a_collapse_takes_everything_with_it() -> None:
    run = Run.read(simulate(Plan(collapses=1.0), LEVELS["low"], np.random.default_rng(0)))
    sick = ~run.healthy_V
    assert sick.any()
    assert np.nanmax(np.abs(run.score_EV[:, sick])) < 0.15


def test_the_noise_of_placebos_is_what_was_put_in() -> None:
    noise = Noise(offset=0.4, wobble=0.1, offset_half=0.2, wobble_half=0.05)
    plan = Plan(placebos=400, visits=2, collapses=0.0)
    found = Noise.of(Run.read(simulate(plan, noise, np.random.default_rng(0))))
    for name in ("offset", "wobble", "offset_half", "wobble_half"):
        assert getattr(found, name) == pytest.approx(getattr(noise, name), rel=0.15), name


def test_noise_of_too_few_placebos_is_refused() -> None:
    rows = [
        row
        for row in simulate(Plan(visits=1), LEVELS["low"], np.random.default_rng(0))
        if row.get("kind") != str(Kind.PLACEBO)
    ]
    with pytest.raises(ValueError, match="three placebos"):
        Noise.of(Run.read(rows))


def test_a_study_is_the_same_each_time() -> None:
    first, again = (list(trials(Plan(visits=4), LEVELS["low"], 1, [7])) for _ in range(2))
    assert first == again
