"""The curious agent's training side as pamiq-core has it: buffer and trainers; `common.curiosity` makes the models."""

from collections.abc import Callable

from pamiq_core import Trainer

from common.config.curiosity import CuriosityConfig
from common.curiosity.rollout import ROLLOUTS
from learner.curiosity.buffer import RolloutBuffer
from learner.curiosity.dynamics_trainer import DynamicsTrainer
from learner.curiosity.policy_trainer import PolicyTrainer

DYNAMICS_TRAINER, POLICY_TRAINER = "dynamics", "policy"
"""Names of the trainers."""


def training_buffers(config: CuriosityConfig, features: int) -> dict[str, RolloutBuffer]:
    """Makes the buffer that both trainers use.

    Args:
        config: Sizes.
        features: Numbers of a feature vector.
    """
    return {ROLLOUTS: RolloutBuffer(config, features)}


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
