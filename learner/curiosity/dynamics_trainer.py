"""Trains the forward dynamics on the newest rollouts of all actors."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch and safetensors are untyped in parts)

import json
from pathlib import Path
from typing import Any, override

import numpy as np
import torch
from pamiq_core.torch import OptimizersSetup, TorchTrainer
from torch import Tensor

from common.config.curiosity import CuriosityConfig, Reward
from common.curiosity.dynamics import ForwardDynamics
from common.curiosity.models import DYNAMICS, PAST
from common.curiosity.rollout import ROLLOUTS, Rollout
from learner.curiosity.advantage import rewarded
from learner.curiosity.buffer import Rollouts
from learner.curiosity.pace import SyncPace

_ADAM = "adam"
_MAX_GRADIENT = 1.0
_MOST = 16
"""Gradient steps of one training, at most: a pause waits for its end; what is owed beyond is done in the next."""


class DynamicsTrainer(TorchTrainer):
    """Draws whole rollouts, evenly among those that are kept; as many as the replay ratio asks for.

    Steps between features of two weights versions are masked or kept, and rollouts far behind the newest version are
    left out, as the configuration says.

    Args:
        config: How it trains.
        seed: Of the draws.
        pause: Called after each gradient step; keeps the process at its share.
    """

    def __init__(self, config: CuriosityConfig, *, seed: int, pause: Any = lambda: None) -> None:
        super().__init__(ROLLOUTS)
        self._config = config
        self._random = np.random.default_rng(seed)
        self._pause = pause
        self._pace = SyncPace(config.sync)
        self._seen = 0
        self._new: list[Rollout] = []
        self._owed = 0.0
        self.steps = 0
        """Gradient steps."""
        self.losses: tuple[float, ...] = ()
        """Surprise after 1, 2, … steps foreseen, nats a dimension, of the last training."""
        self.masked = 0.0
        """Share of steps that were left out of the last training."""

    @override
    def on_data_users_attached(self) -> None:
        super().on_data_users_attached()
        self._rollouts = self.get_data_user(ROLLOUTS)

    @override
    def on_training_models_attached(self) -> None:
        super().on_training_models_attached()
        self._model = self.get_torch_training_model(DYNAMICS, ForwardDynamics)
        progress = self._config.reward is Reward.PROGRESS
        self._past = self.get_torch_training_model(PAST, ForwardDynamics) if progress else None

    @override
    def create_optimizers(self) -> OptimizersSetup:
        return {_ADAM: torch.optim.Adam(self._model.model.parameters(), lr=self._config.dynamics.lr)}

    @override
    def is_trainable(self) -> bool:
        self._rollouts.update()
        found: Rollouts = self._rollouts.get_data()
        self._owed += (found.taken - self._seen) * self._config.dynamics.replay_ratio
        self._new += found.since(self._seen)
        self._seen = found.taken
        return bool(found.kept) and self._owed >= self._config.dynamics.batch

    @override
    def train(self) -> None:
        config = self._config.dynamics
        rollouts = self._fit(self._rollouts.get_data().kept)
        for rollout in self._fit(self._new):  # what was just seen sets the scale, once each
            self._model.model.norm.update(_tensor(rollout.features, self._device))
        self._new = []
        losses: list[Tensor] = []
        counted: list[float] = []
        while rollouts and self._owed >= config.batch and len(losses) < _MOST:
            self._owed -= config.batch
            drawn = [rollouts[number] for number in self._random.integers(len(rollouts), size=config.batch)]
            each, share = self._step(drawn)
            losses.append(each)
            counted.append(share)
            self._pause()
        if losses:
            self.losses = tuple(torch.stack(losses).mean(0).tolist())
            self.masked = 1.0 - float(np.mean(counted))
        else:
            self._owed = 0.0  # nothing that may be trained on

    def _fit(self, rollouts: list[Rollout]) -> list[Rollout]:
        """Those that do not lie too many versions of the encoder behind the newest."""
        age = self._config.dynamics.max_age
        newest = max((int(rollout.versions[-1]) for rollout in rollouts), default=0)
        return [rollout for rollout in rollouts if not age or newest - int(rollout.versions[0]) <= age]

    @property
    def _device(self) -> torch.device:
        return self._model.model.norm.mean.device

    def _step(self, drawn: list[Rollout]) -> tuple[Tensor, float]:
        model = self._model.model
        counted_BT = np.stack([rewarded(rollout, self._config.mixed) for rollout in drawn])
        loss, each = model.loss(
            _tensor(np.stack([rollout.features for rollout in drawn]), self._device),
            _tensor(np.stack([rollout.choices for rollout in drawn]), self._device).long(),
            _tensor(np.stack([rollout.hidden for rollout in drawn]), self._device),
            _tensor(counted_BT, self._device),
            self._config.dynamics.imagination,
        )
        optimizer = self.optimizers[_ADAM]
        optimizer.zero_grad()
        loss.backward()  # pyright: ignore[reportUnknownMemberType]
        torch.nn.utils.clip_grad_norm_(model.parameters(), _MAX_GRADIENT)
        optimizer.step()
        self.steps += 1
        self._age()
        return each.detach(), float(counted_BT.mean())

    @torch.no_grad()
    def _age(self) -> None:
        """Lets the past follow."""
        if self._past is None:
            return
        fresh = 1 - 0.5 ** (1 / self._config.dynamics.past)
        for old, new in zip(self._past.model.parameters(), self._model.model.parameters(), strict=True):
            old.lerp_(new, fresh)
        for old, new in zip(self._past.model.buffers(), self._model.model.buffers(), strict=True):
            old.copy_(new)

    @override
    def sync_models(self) -> None:
        if self._pace.due():
            super().sync_models()

    @override
    def save_state(self, path: Path) -> None:
        super().save_state(path)
        state = {
            "steps": self.steps,
            "owed": self._owed,
            "seen": self._seen,
            "random": self._random.bit_generator.state,
        }
        (path / "dynamics.json").write_text(json.dumps(state), "utf-8")

    @override
    def load_state(self, path: Path) -> None:
        super().load_state(path)
        state = json.loads((path / "dynamics.json").read_text("utf-8"))
        self.steps, self._owed, self._seen = state["steps"], state["owed"], state["seen"]
        self._random.bit_generator.state = state["random"]


def _tensor(array: Any, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)  # pyright: ignore[reportUnknownMemberType]
