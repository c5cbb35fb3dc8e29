"""Advantages and rewards, by hand."""

import numpy as np
import pytest

from common.config.curiosity import MixedVersions
from common.curiosity.rollout import Rollout
from learner.curiosity.advantage import RewardScale, estimate_advantages, rewarded
from tests.learner.curiosity.rollouts import make_rollout


def test_advantages_are_the_sums_of_the_paper() -> None:
    generator = np.random.default_rng(0)
    rewards = generator.normal(size=7).astype(np.float32)
    values = generator.normal(size=8).astype(np.float32)
    gamma, lam = 0.9, 0.8
    errors = rewards + gamma * values[1:] - values[:-1]
    expected = [sum((gamma * lam) ** (k - t) * errors[k] for k in range(t, 7)) for t in range(7)]
    found = estimate_advantages(rewards, values, gamma=gamma, gae_lambda=lam)
    assert np.allclose(found, expected, atol=1e-5)


def test_with_lambda_one_they_are_returns_less_values() -> None:
    rewards, values = np.ones(3, np.float32), np.array([5, 6, 7, 8], np.float32)
    found = estimate_advantages(rewards, values, gamma=0.5, gae_lambda=1.0)
    assert np.allclose(found[0], 1 + 0.5 + 0.25 + 0.125 * 8 - 5)


def _changing() -> Rollout:
    return make_rollout(versions=np.array([1, 1, 2, 2, 2]), joined=np.array([True, True, True, False]), steps=4)


def test_a_change_of_the_encoder_is_masked_unless_it_is_to_be_kept() -> None:
    assert rewarded(_changing(), MixedVersions.MASK).tolist() == [True, False, True, False]
    assert rewarded(_changing(), MixedVersions.KEEP).tolist() == [True, True, True, False]


def test_rewards_come_out_centred_and_of_unit_spread() -> None:
    scale = RewardScale()
    generator = np.random.default_rng(0)
    found = [
        scale(make_rollout(rewards=(3 + 2 * generator.normal(size=16)).astype(np.float32), steps=16), np.ones(16, bool))
        for _ in range(400)
    ]
    assert scale.mean == pytest.approx(3, abs=0.3)
    assert scale.spread == pytest.approx(2, abs=0.2)
    assert np.mean(found[200:]) == pytest.approx(0, abs=0.05)
    assert np.std(found[200:]) == pytest.approx(1, abs=0.05)


def test_what_is_not_rewarded_counts_as_average() -> None:
    scale = RewardScale()
    counted = np.array([True, True, False, True])
    rollout = make_rollout(rewards=np.array([1, 3, 1000, 2], np.float32), steps=4)
    found = scale(rollout, counted)
    assert scale.mean == pytest.approx(2)
    assert found[2] == 0


def test_it_goes_on_from_its_state() -> None:
    one, other = RewardScale(), RewardScale()
    generator = np.random.default_rng(0)
    rollouts = [
        make_rollout(actor=f"actor-{number % 2}", rewards=generator.normal(size=8).astype(np.float32), steps=8)
        for number in range(20)
    ]
    for rollout in rollouts[:10]:
        one(rollout, np.ones(8, bool))
    other.restore(one.state())
    for rollout in rollouts[10:]:
        assert np.array_equal(one(rollout, np.ones(8, bool)), other(rollout, np.ones(8, bool)))
