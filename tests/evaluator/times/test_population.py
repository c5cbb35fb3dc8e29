"""Half-times of the mean contrast: what is planted in simulated runs, far below what single experiences show."""

from dataclasses import replace

import numpy as np
import pytest

from evaluator.calibration.plan import LEVELS, Noise, Plan
from evaluator.calibration.simulator import simulate
from evaluator.scores import NotMeasurable, Score
from evaluator.times.contrasts import Contrast, episodic
from evaluator.times.population import course
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


def test_what_never_fades_has_no_half_time_of_fading() -> None:
    """Noise at the far end of a monotone fit is no crossing."""
    lasting = replace(FAINT, half_life=1e9, tail=1200.0)
    found = [course(*lived(lasting, LOUD, range(seed, seed + 1))).decay for seed in range(8)]
    assert sum(isinstance(decay, Score) for decay in found) <= 1


def test_the_order_of_runs_does_not_matter() -> None:
    runs, contrasts = lived(FAINT, LOUD, range(3))
    there, back = course(runs, contrasts), course(runs[::-1], contrasts[::-1])
    assert isinstance(there.rise, Score)
    assert isinstance(back.rise, Score)
    assert there.rise.value == back.rise.value
    assert isinstance(there.decay, Score)
    assert isinstance(back.decay, Score)
    assert there.decay.value == back.decay.value


def test_runs_on_one_stream_share_the_luck_of_its_visits() -> None:
    """The same run three times over is no more than the run itself, and the crossed bootstrap knows."""
    (run,), (contrast,) = lived(FAINT, LOUD, range(1))
    alone = course([run], [contrast]).level
    thrice = course([run] * 3, [contrast] * 3, same_stream=True).level
    apart = course([run] * 3, [contrast] * 3).level
    assert isinstance(alone, Score)
    assert isinstance(thrice, Score)
    assert isinstance(apart, Score)

    def width(score: Score) -> float:
        assert score.low is not None
        assert score.high is not None
        return score.high - score.low

    assert width(thrice) == pytest.approx(width(alone), rel=0.2)
    assert width(apart) < 0.8 * width(alone)
