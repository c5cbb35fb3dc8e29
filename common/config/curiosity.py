"""The curious agent: how it imagines what comes next, what it is rewarded for, and how its two networks are trained."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from common.config import checks
from common.config.units import ByteCount, Seconds


class Reward(StrEnum):
    """What the curious agent seeks."""

    ERROR = "error"
    """What its forward dynamics could not foresee: the negative log-likelihood of what came."""
    PROGRESS = "progress"
    """What it has lately learned to foresee: how much better than its own past self it predicted what came."""
    NOVELTY = "novelty"
    """What it has not seen yet in this visit: distance from the views that it remembers. Needs no foresight."""


class MixedVersions(StrEnum):
    """What trainers do with steps between features of two weights versions: that the encoder changed was no event."""

    MASK = "mask"
    """The dynamics does not learn them, and they count as of average reward."""
    KEEP = "keep"
    """They count as any other."""


@dataclass(frozen=True, kw_only=True)
class DynamicsConfig:
    """The forward dynamics and its trainer.

    Attributes:
        dim: Width of the recurrent layers.
        depth: Recurrent layers.
        imagination: Steps that are foreseen without seeing any, in training and for the reward: their mean counts.
        lr: Learning rate of Adam.
        rollouts: Newest rollouts that are kept to train on.
        batch: Rollouts of a gradient step.
        replay_ratio: Times that a rollout is used, on average.
        max_age: Versions of the encoder that a rollout may lie behind the newest; older ones are left out. 0 for any.
        past: Steps after which half of the average that learning progress is measured against is new.
    """

    GROUP: ClassVar[str] = "curiosity.dynamics"

    dim: int = 256
    depth: int = 1
    imagination: int = 1
    lr: float = 1e-3
    rollouts: int = 256
    batch: int = 8
    replay_ratio: float = 8.0
    max_age: int = 0
    past: float = 200.0

    def __post_init__(self) -> None:
        checks.positive(self, "dim", "depth", "lr", "rollouts", "batch", "replay_ratio", "past")
        checks.between(self, 1, 8, "imagination")
        checks.not_negative(self, "max_age")
        if self.batch > self.rollouts:
            raise checks.refuse(self, "batch", f"must be at most rollouts = {self.rollouts}")


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """The policy and its trainer: proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347).

    Attributes:
        dim: Width of the hidden layers.
        lr: Learning rate of Adam.
        rollouts: Rollouts that are gathered for a training; each is used in one.
        epochs: Times that each is used then.
        minibatch: Steps of a gradient step.
        gamma: Discount a step.
        gae_lambda: λ of generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438).
        clip: Bound of the probability ratio's change (ε).
        entropy: Weight of the policy's entropy.
        value: Weight of the value's error.
        max_gradient: Longest gradient; longer ones are cut to it.
    """

    GROUP: ClassVar[str] = "curiosity.policy"

    dim: int = 256
    lr: float = 3e-4
    rollouts: int = 8
    epochs: int = 4
    minibatch: int = 128
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    entropy: float = 0.01
    value: float = 0.5
    max_gradient: float = 0.5

    def __post_init__(self) -> None:
        checks.positive(self, "dim", "lr", "rollouts", "epochs", "clip", "max_gradient")
        checks.between(self, 8, 2**20, "minibatch")
        checks.not_negative(self, "entropy", "value")
        checks.between(self, 0, 1, "gae_lambda")
        if not 0 < self.gamma < 1:
            raise checks.refuse(self, "gamma", "must lie between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class CuriosityConfig:
    """The agent `curious`, whose networks are trained by a process of their own beside the learner.

    Attributes:
        reward: What is sought: what could not be foreseen (`error`), what is being learned (`progress`), or what was
            not seen yet in this visit (`novelty`).
        mixed: What becomes of steps between features of two weights versions: `mask` or `keep`.
        rollout: Steps that travel, and are trained on, together.
        hold: Steps from one decision to the next; in between, the action is held.
        keep: Probability with which each head keeps its choice at a decision instead of being asked: exploration that
            lasts (Dabney et al. 2021, arXiv:2006.01782).
        budget: Bytes of rollouts that may wait in Redis for the trainers, all actors together.
        sync: Shortest time between two versions of the agent's networks that actors get, seconds.
        threads: CPU threads of torch in the trainers' process.
        nice: Its Unix niceness.
        share: Share of a core that the trainers may use, averaged over time.
        device: `cpu`, `cuda`, `cuda:N`, or `auto` for a GPU where there is one; its share of it is `gpus`.
        gpus: Share of a GPU that Ray reserves for it, where it uses one.
    """

    GROUP: ClassVar[str] = "curiosity"

    reward: Reward = Reward.ERROR
    mixed: MixedVersions = MixedVersions.MASK
    rollout: int = 64
    hold: int = 1
    keep: float = 0.0
    budget: ByteCount = 64 * 2**20
    sync: Seconds = 1.0
    threads: int = 1
    nice: int = 10
    share: float = 1.0
    device: str = "cpu"
    gpus: float = 0.25
    dynamics: DynamicsConfig = DynamicsConfig()
    policy: PolicyConfig = PolicyConfig()

    def __post_init__(self) -> None:
        if self.policy.rollouts > self.dynamics.rollouts:
            allowed = f"must be at most dynamics.rollouts = {self.dynamics.rollouts}: the buffer is the same"
            raise checks.refuse(self, "policy.rollouts", allowed)
        checks.between(self, 2, 4096, "rollout")
        checks.between(self, 1, 100, "hold")
        checks.between(self, 0, 0.99, "keep")
        checks.not_negative(self, "sync")
        checks.positive(self, "threads")
        checks.between(self, 2**20, 2**40, "budget")
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", self.device):
            raise checks.refuse(self, "device", "must be auto, cpu, cuda or cuda:N")
        checks.between(self, 0, 19, "nice")
        checks.between(self, 0.01, 64, "share")
        checks.between(self, 0, 1, "gpus")
        if self.rollout <= self.dynamics.imagination:
            raise checks.refuse(self, "rollout", f"must be above dynamics.imagination = {self.dynamics.imagination}")
