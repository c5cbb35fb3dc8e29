"""How good it was what was done: rewards, scaled, and advantages. Pure NumPy, one rollout at a time."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from common.config.curiosity import MixedVersions
from common.curiosity.rollout import Rollout

_FLOOR = 1e-6


def rewarded(rollout: Rollout, mixed: MixedVersions) -> NDArray[np.bool_]:
    """Says which steps are learned from and rewarded, bool [T].

    A change of visits is no step of the world. Nor is a change of the encoder between two features, unless `mixed` is
    `KEEP`.
    """
    same = rollout.versions[1:] == rollout.versions[:-1]
    return rollout.joined & (same | (mixed is MixedVersions.KEEP))


def estimate_advantages(
    rewards_T: NDArray[np.float32], values_S: NDArray[np.float32], *, gamma: float, gae_lambda: float
) -> NDArray[np.float32]:
    """Generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438, eq. 16); a life has no episodes.

    Args:
        rewards_T: Normalised reward of each step.
        values_S: What was expected at each step and after the last; S = T + 1.
        gamma: Discount a step.
        gae_lambda: λ.

    Returns:
        float32 [T].
    """
    errors_T = (rewards_T + gamma * values_S[1:] - values_S[:-1]).astype(np.float32)
    advantages_T = np.zeros_like(errors_T)
    running = np.float32(0.0)
    for step in range(len(errors_T) - 1, -1, -1):
        running = errors_T[step] + np.float32(gamma * gae_lambda) * running
        advantages_T[step] = running
    return advantages_T


class RewardScale:
    """Rewards around 0, in units of their own spread.

    Mean and spread are moving averages, so that rewards that shrink as the world is learned stay visible. The spread is
    not that of discounted sums (Burda et al. 2019, arXiv:1808.04355, § 2.2): curiosity's rewards drift with the place,
    which makes the sums so wide that what a single step brings would drown in the value's errors. A step that is not
    rewarded counts as an average one: 0.

    Args:
        momentum: Share of the averages that a rollout keeps.
    """

    def __init__(self, momentum: float = 0.98) -> None:
        self._momentum = momentum
        self._weight = self._mean = self._square = 0.0

    @property
    def mean(self) -> float:
        """Mean reward, lately."""
        return self._mean / self._weight if self._weight else 0.0

    @property
    def spread(self) -> float:
        """Standard deviation of rewards, lately."""
        return max(self._square / self._weight - self.mean**2, 0.0) ** 0.5 if self._weight else 1.0

    def __call__(self, rollout: Rollout, rewarded_T: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Takes a rollout into the averages, and gives its normalised rewards, float32 [T]."""
        if rewarded_T.any():
            keep, fresh = self._momentum, 1 - self._momentum
            rewards = rollout.rewards[rewarded_T].astype(np.float64)
            self._mean = keep * self._mean + fresh * float(rewards.mean())
            self._square = keep * self._square + fresh * float(np.square(rewards).mean())
            self._weight = keep * self._weight + fresh
        centred_T = np.where(rewarded_T, rollout.rewards - self.mean, 0.0)
        return (centred_T / max(self.spread, _FLOOR)).astype(np.float32)

    def state(self) -> dict[str, float]:
        """All that it remembers, for JSON."""
        return {"weight": self._weight, "mean": self._mean, "square": self._square}

    def restore(self, state: Mapping[str, float]) -> None:
        """Goes on from there."""
        self._weight, self._mean, self._square = state["weight"], state["mean"], state["square"]
