"""Half-times of the mean contrast: what is planted in simulated runs, far below what single experiences show."""

from dataclasses import replace

import numpy as np
import pytest

from evaluator.calibration.plan import LEVELS, Noise, Plan
from evaluator.calibration.simulator import simulate
from evaluator.scores import NotMeasurable, Score
from evaluator.times.contrasts import Contrast, episodic
from evaluator.times.population import course, curve
from evaluator.times.study import Clock, Run

FAINT = Plan(bits=0.5, collapses=0.0, never=0.0, every=15.0, half_life=120.0, kept=120.0, rise=40.0)
"""A quarter of what calibration plants: no single experience passes θ."""
LOUD = replace(LEVELS["high"], offset=0.4, wobble=0.2)


def lived(plan: Plan, noise: Noise, seeds: range) -> tuple[list[Run], list[Contrast]]:
    runs = [Run.read(simulate(plan, noise, np.random.default_rng(seed))) for seed in seeds]
    return runs, [episodic(run) for run in runs]


def test_faint_memories_have_half_times_where_no_single_one_is_known() -> None:
    runs, contrasts = lived(FAINT, LOUD, range(3))
    found = course(runs, contrasts)
    assert isinstance(found.level, Score)
    assert found.level.value == pytest.approx(0.5, abs=0.15)
    assert isinstance(found.decay, Score)
    assert found.decay.value == pytest.approx(120, rel=0.3)
    assert found.decay.low is not None
    assert found.decay.high is not None
    assert found.decay.low < 120 < found.decay.high
    assert isinstance(found.rise, Score)
    assert 15 <= found.rise.value <= 60


def test_intervals_cover_what_was_planted() -> None:
    covered = 0
    for study in range(12):
        found = course(*lived(FAINT, LOUD, range(100 + 3 * study, 103 + 3 * study)))
        decay = found.decay
        covered += isinstance(decay, Score) and (decay.low or 0) <= 120 <= (decay.high or np.inf)
    assert covered >= 10


def test_where_nothing_is_remembered_there_is_no_half_time() -> None:
    found = course(*lived(replace(FAINT, bits=1e-9), LOUD, range(3)))
    assert isinstance(found.level, Score)
    assert isinstance(found.decay, NotMeasurable)
    assert "not above 0 for sure" in found.decay.because


def test_longer_memories_are_found_longer_in_seconds_and_in_steps() -> None:
    short, long = (course(*lived(replace(FAINT, half_life=life), LOUD, range(3))).decay for life in (60.0, 240.0))
    assert isinstance(short, Score)
    assert isinstance(long, Score)
    assert 2 < long.value / short.value < 8
    runs, contrasts = lived(FAINT, LOUD, range(3))
    seconds, steps = (course(runs, contrasts, clock=clock).decay for clock in (Clock.SECONDS, Clock.STEPS))
    assert isinstance(seconds, Score)
    assert isinstance(steps, Score)
    assert steps.value == pytest.approx(2.0 * seconds.value, rel=0.05)  # two steps a second


def test_a_choice_of_experiences_counts_alone_and_few_are_too_few() -> None:
    runs, contrasts = lived(FAINT, LOUD, range(2))
    none = course(runs, contrasts, which=lambda run: np.zeros(len(run.names), bool))
    assert isinstance(none.level, NotMeasurable)
    assert "20 needed" in none.level.because


def test_the_curve_since_the_last_exposure_falls() -> None:
    bins = curve(*lived(FAINT, LOUD, range(3)), np.array([0.0, 60.0, 240.0, 600.0, 1e6]), since_exposure=True)
    values = [result.value for *_, result in bins if isinstance(result, Score)]
    assert len(values) >= 3
    assert values == sorted(values, reverse=True)
    assert isinstance(bins[-1][2], Score | NotMeasurable)
