"""Rollouts for tests."""

from typing import Any

import numpy as np

from common.config.curiosity import CuriosityConfig, DynamicsConfig, PolicyConfig
from common.curiosity.controls import CHOICES
from common.curiosity.rollout import Rollout

FEATURES = 8
SMALL = CuriosityConfig(
    rollout=8,
    sync=0.0,
    dynamics=DynamicsConfig(dim=16, rollouts=32, batch=4, replay_ratio=2.0),
    policy=PolicyConfig(dim=16, rollouts=4, minibatch=16, lr=1e-2),
)
"""A configuration whose networks train in no time."""


def make_rollout(*, steps: int = 8, seed: int = 0, dim: int = 16, **fields: Any) -> Rollout:
    """Makes a rollout of noise; keyword arguments replace fields."""
    generator = np.random.default_rng(seed)
    noise: dict[str, Any] = {
        "actor": "actor-0",
        "features": generator.normal(size=(steps + 1, FEATURES)).astype(np.float32),
        "versions": np.ones(steps + 1, np.int64),
        "choices": np.stack([generator.integers(count, size=steps) for count in CHOICES], 1).astype(np.int8),
        "asked": np.ones((steps, len(CHOICES)), bool),
        "log_probs": np.full(steps, -np.log(CHOICES).sum(), np.float32),
        "values": np.zeros(steps + 1, np.float32),
        "memories": generator.normal(size=(steps, dim)).astype(np.float32),
        "rewards": generator.normal(size=steps).astype(np.float32),
        "joined": np.ones(steps, bool),
        "hidden": np.zeros((1, dim), np.float32),
    }
    return Rollout(**noise | fields)
