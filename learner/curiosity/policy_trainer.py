"""Trains the policy by proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347), on each rollout once."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch and safetensors are untyped in parts)

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, override

import numpy as np
import torch
from numpy.typing import NDArray
from pamiq_core.torch import OptimizersSetup, TorchTrainer
from torch import Tensor

from common.config.curiosity import CuriosityConfig, PolicyConfig
from common.curiosity.models import POLICY
from common.curiosity.policy import PolicyValue
from common.curiosity.rollout import ROLLOUTS, Rollout
from learner.curiosity.advantage import RewardScale, estimate_advantages, rewarded
from learner.curiosity.buffer import Rollouts

_ADAM = "adam"


@dataclass(frozen=True, kw_only=True, slots=True)
class Steps:
    """Steps of any rollouts, in any order: N of them.

    Attributes:
        features_ND: What was seen.
        memories_NC: What was remembered.
        choices_NA: What was done, int64.
        asked_NA: Which heads were asked for it, bool.
        log_probs_N: Log-probability of their choices.
        advantages_N: How much better it was than expected.
        returns_N: What the value should have been.
    """

    features_ND: Tensor
    memories_NC: Tensor
    choices_NA: Tensor
    asked_NA: Tensor
    log_probs_N: Tensor
    advantages_N: Tensor
    returns_N: Tensor

    def __getitem__(self, rows: Tensor) -> "Steps":
        return Steps(**{name: getattr(self, name)[rows] for name in Steps.__dataclass_fields__})

    def __len__(self) -> int:
        return len(self.log_probs_N)


@dataclass(frozen=True, kw_only=True, slots=True)
class Losses:
    """What a gradient step found, each a scalar; `kl`, `clipped` are diagnostics without gradient.

    Attributes:
        policy: Clipped surrogate objective (eq. 7), to be made small.
        value: Squared error of the value.
        entropy: Of the choices, nats.
        kl: Estimate of the divergence from the policy that acted, (r − 1) − log r (Schulman 2020).
        clipped: Share of steps whose probability ratio left the bounds.
    """

    policy: Tensor
    value: Tensor
    entropy: Tensor
    kl: Tensor
    clipped: Tensor


def policy_losses(model: PolicyValue, steps: Steps, config: PolicyConfig) -> Losses:
    """Measures the policy on some steps; advantages are standardised among them."""
    choices, values_N = model(steps.features_ND, steps.memories_NC)
    log_ratio_N = choices.log_prob(steps.choices_NA, steps.asked_NA) - steps.log_probs_N
    ratio_N = log_ratio_N.exp()
    advantages_N = (steps.advantages_N - steps.advantages_N.mean()) / (steps.advantages_N.std(correction=0) + 1e-8)
    bounded_N = ratio_N.clamp(1 - config.clip, 1 + config.clip)
    return Losses(
        policy=-torch.minimum(ratio_N * advantages_N, bounded_N * advantages_N).mean(),
        value=(values_N - steps.returns_N).square().mean(),
        entropy=choices.entropy().mean(),
        kl=((ratio_N - 1) - log_ratio_N).detach().mean(),
        clipped=((ratio_N - 1).abs() > config.clip).float().mean(),
    )


class PolicyTrainer(TorchTrainer):
    """Waits for a set of rollouts, goes through it some times, and lets it go.

    Rollouts that were gathered while it trained begin the next set. Their policy may be a version old; the probability
    ratio is that of the policy that acted.

    Args:
        config: How it trains.
        seed: Of the order of steps.
        pause: Called after each gradient step; keeps the process at its share.
    """

    def __init__(self, config: CuriosityConfig, *, seed: int, pause: Any = lambda: None) -> None:
        super().__init__(ROLLOUTS)
        self._config = config
        self._random = torch.Generator().manual_seed(seed)
        self._pause = pause
        self._scale = RewardScale()
        self._used = 0
        self.trainings = 0
        """Sets of rollouts that were trained on."""
        self.diagnostics: dict[str, float] = {}
        """Means over the last training, by name."""

    @override
    def on_data_users_attached(self) -> None:
        super().on_data_users_attached()
        self._rollouts = self.get_data_user(ROLLOUTS)

    @override
    def on_training_models_attached(self) -> None:
        super().on_training_models_attached()
        self._model = self.get_torch_training_model(POLICY, PolicyValue)

    @override
    def create_optimizers(self) -> OptimizersSetup:
        return {_ADAM: torch.optim.Adam(self._model.model.parameters(), lr=self._config.policy.lr, eps=1e-5)}

    @override
    def is_trainable(self) -> bool:
        self._rollouts.update()
        found: Rollouts = self._rollouts.get_data()
        return found.taken - self._used >= self._config.policy.rollouts

    @override
    def train(self) -> None:
        config = self._config.policy
        steps = self._prepare(self._fresh())
        found: list[Losses] = []
        for _ in range(config.epochs):
            for rows in torch.randperm(len(steps), generator=self._random).split(config.minibatch):
                found.append(self._step(steps[rows.to(steps.log_probs_N.device)]))
                self._pause()
        self.trainings += 1
        names = Losses.__dataclass_fields__
        self.diagnostics |= {
            name: float(torch.stack([getattr(one, name).detach() for one in found]).mean()) for name in names
        }
        # The policy that acts keeps its scale until all of this set is done with.
        self._model.model.norm.update(steps.features_ND)

    def _fresh(self) -> list[Rollout]:
        """The rollouts that were in no training yet."""
        found: Rollouts = self._rollouts.get_data()
        fresh = found.since(self._used)
        self._used = found.taken
        return fresh

    def _prepare(self, rollouts: list[Rollout]) -> Steps:
        config = self._config.policy
        advantages: list[NDArray[np.float32]] = []
        for rollout in rollouts:
            rewards_T = self._scale(rollout, rewarded(rollout, self._config.mixed))
            advantages.append(
                estimate_advantages(rewards_T, rollout.values, gamma=config.gamma, gae_lambda=config.gae_lambda)
            )
        values_N = np.concatenate([rollout.values[:-1] for rollout in rollouts])
        advantages_N = np.concatenate(advantages)
        returns_N = values_N + advantages_N
        variance = float(returns_N.var())
        self.diagnostics = {
            "reward": self._scale.mean,
            "reward_spread": self._scale.spread,
            "explained": 1 - float(advantages_N.var()) / variance if variance else float("nan"),
        }
        device = self._model.model.value.weight.device

        def gather(parts: list[NDArray[Any]]) -> Tensor:
            return torch.from_numpy(np.concatenate(parts)).to(device)  # pyright: ignore[reportUnknownMemberType]

        return Steps(
            features_ND=gather([rollout.features[:-1] for rollout in rollouts]),
            memories_NC=gather([rollout.memories for rollout in rollouts]),
            choices_NA=gather([rollout.choices for rollout in rollouts]).long(),
            asked_NA=gather([rollout.asked for rollout in rollouts]),
            log_probs_N=gather([rollout.log_probs for rollout in rollouts]),
            advantages_N=gather([advantages_N]),
            returns_N=gather([returns_N]),
        )

    def _step(self, steps: Steps) -> Losses:
        config = self._config.policy
        losses = policy_losses(self._model.model, steps, config)
        optimizer = self.optimizers[_ADAM]
        optimizer.zero_grad()
        (losses.policy + config.value * losses.value - config.entropy * losses.entropy).backward()  # pyright: ignore[reportUnknownMemberType]
        torch.nn.utils.clip_grad_norm_(self._model.model.parameters(), config.max_gradient)
        optimizer.step()
        return losses

    @override
    def save_state(self, path: Path) -> None:
        super().save_state(path)
        random = self._random.get_state().numpy().tobytes().hex()  # pyright: ignore[reportUnknownMemberType]
        state = {"trainings": self.trainings, "used": self._used, "scale": self._scale.state(), "random": random}
        (path / "policy.json").write_text(json.dumps(state), "utf-8")

    @override
    def load_state(self, path: Path) -> None:
        super().load_state(path)
        state = json.loads((path / "policy.json").read_text("utf-8"))
        self.trainings, self._used = state["trainings"], state["used"]
        self._scale.restore(state["scale"])
        self._random.set_state(torch.frombuffer(bytearray.fromhex(state["random"]), dtype=torch.uint8))
