import math

import pytest
import torch

from common.config import OptimConfig
from common.config.optim import EmaSchedule, Schedule
from common.errors import ConfigError
from learner.schedules import learning_rate, target_momentum, weight_decay
from tests.learner.networks import PLAIN, Ticks, frames

WARMUP, TOTAL, PEAK = 5, 45, 0.4


def config(**fields: object) -> OptimConfig:
    return OptimConfig(**({"lr": PEAK, "warmup_steps": WARMUP, "total_steps": TOTAL} | fields))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("schedule", Schedule)
def test_warmup_is_a_straight_line_that_ends_at_the_peak(schedule: Schedule) -> None:
    rising = config(schedule=schedule, decay_steps=10)
    assert [learning_rate(rising, step) for step in range(WARMUP)] == pytest.approx([0.08, 0.16, 0.24, 0.32, 0.4])
    assert learning_rate(rising, WARMUP) == pytest.approx(PEAK)


@pytest.mark.parametrize("schedule", Schedule)
def test_no_warmup_starts_at_the_peak(schedule: Schedule) -> None:
    assert learning_rate(config(schedule=schedule, decay_steps=10, warmup_steps=0), 0) == pytest.approx(PEAK)


def test_constant_stays() -> None:
    assert {learning_rate(config(), step) for step in range(WARMUP, 10 * TOTAL)} == {PEAK}


def test_cosine_is_half_way_in_the_middle_and_stays_at_its_end() -> None:
    cosine = config(schedule=Schedule.COSINE, final_lr=0.1)
    middle = WARMUP + (TOTAL - WARMUP) // 2
    assert learning_rate(cosine, middle) == pytest.approx((PEAK + 0.1 * PEAK) / 2)
    assert learning_rate(cosine, WARMUP + (TOTAL - WARMUP) // 4) == pytest.approx(
        0.04 + 0.36 * (1 + math.sqrt(0.5)) / 2
    )
    assert [learning_rate(cosine, step) for step in (TOTAL, 3 * TOTAL)] == pytest.approx([0.04, 0.04])


def test_wsd_stays_then_falls_in_a_straight_line() -> None:
    wsd = config(schedule=Schedule.WSD, decay_steps=20, final_lr=0.5)
    assert {learning_rate(wsd, step) for step in range(WARMUP, TOTAL - 20 + 1)} == {PEAK}
    fall = [learning_rate(wsd, step) for step in (TOTAL - 15, TOTAL - 10, TOTAL - 5, TOTAL, TOTAL + 9)]
    assert fall == pytest.approx([0.35, 0.3, 0.25, 0.2, 0.2])


def test_weight_decay_grows_along_half_a_cosine() -> None:
    growing = config(weight_decay=0.04, weight_decay_growth=10.0, total_steps=40)
    values = [weight_decay(growing, step) for step in (0, 10, 20, 40, 99)]
    quarter = 0.4 - 0.36 * (1 + math.sqrt(0.5)) / 2
    assert values == pytest.approx([0.04, quarter, 0.22, 0.4, 0.4])
    assert {weight_decay(config(weight_decay=0.04), step) for step in range(99)} == {0.04}


def test_the_papers_schedules_are_the_official_ones() -> None:
    """Its cosines are one step ahead, for it counts a step before it uses it; warm-up and momentum are equal."""
    paper = config(
        schedule=Schedule.COSINE,
        weight_decay=0.04,
        weight_decay_growth=10.0,
        ema=0.996,
        ema_schedule=EmaSchedule.LINEAR,
        final_ema=1.0,
    )
    for step in range(TOTAL):
        official = step + 1
        if official < WARMUP:
            assert learning_rate(paper, step) == pytest.approx(PEAK * official / WARMUP)
        else:
            progress = (official - WARMUP) / (TOTAL - WARMUP)
            expected = PEAK * 0.5 * (1 + math.cos(math.pi * progress))
            assert learning_rate(paper, official) == pytest.approx(expected, abs=1e-12)
        expected = 0.4 + (0.04 - 0.4) * 0.5 * (1 + math.cos(math.pi * official / TOTAL))
        assert weight_decay(paper, official) == pytest.approx(expected)
        assert target_momentum(paper, step, 0.0) == pytest.approx(0.996 + step * (1.0 - 0.996) / TOTAL)
    assert target_momentum(paper, 2 * TOTAL, 0.0) == 1.0


def test_half_of_the_target_is_old_after_a_half_life_of_steps() -> None:
    half_life = config(ema_schedule=EmaSchedule.STEPS, ema_half_life=12.0)
    kept = math.prod(target_momentum(half_life, step, elapsed=3.0) for step in range(12))
    assert kept == pytest.approx(0.5)


@pytest.mark.parametrize("lengths", [(2.0,) * 6, (0.5,) * 24, (0.1, 5.0, 0.0, 3.9, 3.0)])
def test_half_of_the_target_is_old_after_a_half_life_of_seconds(lengths: tuple[float, ...]) -> None:
    half_life = config(ema_schedule=EmaSchedule.SECONDS, ema_half_life=12.0)
    kept = math.prod(target_momentum(half_life, step, elapsed) for step, elapsed in enumerate(lengths))
    assert kept == pytest.approx(0.5)


def test_the_target_encoder_follows_the_clock() -> None:
    """With the context encoder held still, the distance to it halves in a half-life, however long the steps are."""
    recipe = PLAIN.but(ema_schedule=EmaSchedule.SECONDS, ema_half_life=4.0, lr=1e-12, weight_decay=0.0)
    step = recipe.build(clock=Ticks((9.0, 0.5, 1.5, 2.0)))
    source = step.model.context_encoder.norm.bias
    with torch.no_grad():
        source.fill_(1.0)
    follower = step.model.target_encoder.norm.bias
    step(frames())
    assert follower.abs().max() == 0, "before the second step no time has passed"
    for _ in range(3):
        step(frames())
    assert torch.allclose(follower, torch.full_like(follower, 0.5), atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schedule": Schedule.COSINE, "total_steps": 5}, "schedule .*cosine.* total_steps above warmup_steps = 5"),
        ({"schedule": Schedule.WSD, "decay_steps": 0}, "decay_steps"),
        ({"schedule": Schedule.WSD, "decay_steps": 41}, "decay_steps .*41.* at most total_steps − warmup_steps = 40"),
        ({"ema_schedule": EmaSchedule.LINEAR, "total_steps": 0}, "ema_schedule .*needs total_steps"),
        ({"ema_schedule": EmaSchedule.STEPS}, "ema_half_life .*above 0 for ema_schedule = steps"),
        ({"ema_schedule": EmaSchedule.SECONDS}, "ema_half_life .*above 0 for ema_schedule = seconds"),
        ({"weight_decay_growth": 10.0, "total_steps": 0}, "weight_decay_growth .*needs total_steps"),
        ({"weight_decay_growth": 0.0}, "weight_decay_growth"),
        ({"ema": 1.1}, "ema .*from 0 to 1"),
        ({"final_lr": -0.1}, "final_lr"),
        ({"orthogonal": 1.0}, "orthogonal .*below 1"),
        ({"batch_size": 9, "accumulate": 2}, "accumulate .*must divide batch_size = 9"),
    ],
)
def test_schedules_that_cannot_be_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**fields)
