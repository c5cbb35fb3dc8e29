"""The curious agent's training side as pamiq-core has it: buffers and trainers; models are made by `common.curiosity`."""

from collections.abc import Callable

from pamiq_core import Trainer
from pamiq_core.data import DataBuffer
from pamiq_core.data.impls import SequentialBuffer

from common.config.curiosity import CuriosityConfig
from common.curiosity.rollout import FRESH, ROLLOUTS
from learner.curiosity.dynamics_trainer import DynamicsTrainer
from learner.curiosity.policy_trainer import PolicyTrainer

DYNAMICS_TRAINER, POLICY_TRAINER = "dynamics", "policy"
"""Names of the trainers."""


def training_buffers(config: CuriosityConfig) -> dict[str, DataBuffer[object, list[object]]]:
    """Makes both buffers: the newest rollouts for the forward dynamics, one set for the policy."""
    return {
        ROLLOUTS: SequentialBuffer(config.dynamics.rollouts),
        FRESH: SequentialBuffer(config.policy.rollouts),
    }


def trainers(config: CuriosityConfig, *, seed: int, pause: Callable[[], object] = lambda: None) -> dict[str, Trainer]:
    """Makes both trainers.

    Args:
        config: How they train.
        seed: Of all their random choices.
        pause: Called after each gradient step.
    """
    return {
        DYNAMICS_TRAINER: DynamicsTrainer(config, seed=seed, pause=pause),
        POLICY_TRAINER: PolicyTrainer(config, seed=seed + 1, pause=pause),
    }
