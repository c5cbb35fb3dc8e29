"""A Gymnasium environment through pamiq-core's adapter: the next observation is predicted from this one."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from typing import Any, override

import gymnasium
import numpy as np
import torch
from pamiq_core import FixedIntervalInteraction
from pamiq_core.data.impls import DictRandomReplacementBuffer
from pamiq_core.gym import GymAgent, GymEnvironment
from pamiq_core.torch import OptimizersSetup, TorchTrainer, TorchTrainingModel
from pamiq_core.trainer import Trainer
from torch import nn

from tests.launch.programs import note


class Pushing(GymAgent[Any, int]):
    """Pushes at random, and collects what follows what."""

    def __init__(self) -> None:
        super().__init__()
        self._generator = np.random.default_rng(0)
        self._before: Any = None

    @override
    def on_data_collectors_attached(self) -> None:
        self.pairs = self.get_data_collector("pairs")

    @override
    def on_reset(self, obs: Any, info: dict[str, Any]) -> int:
        self._before = obs
        return int(self._generator.integers(2))

    @override
    def on_step(self, obs: Any, reward: float, terminated: bool, truncated: bool, info: dict[str, Any]) -> int:
        self.pairs.collect({"before": self._before, "after": obs})
        self._before = obs
        return int(self._generator.integers(2))


class Predicting(TorchTrainer):
    def __init__(self) -> None:
        super().__init__("pairs", min_buffer_size=32, min_new_data_count=32)

    @override
    def on_training_models_attached(self) -> None:
        self.model: Any = self.get_training_model("dynamics")

    @override
    def create_optimizers(self) -> OptimizersSetup:
        return {"adam": torch.optim.Adam(self.model.model.parameters(), lr=1e-2)}

    @override
    def train(self) -> None:
        data: dict[str, list[Any]] = self.get_data_user("pairs").get_data()
        before, after = (torch.from_numpy(np.stack(data[key])) for key in ("before", "after"))
        loss = torch.zeros(())
        for _ in range(10):
            loss = (self.model(before) - after).square().mean()
            self.optimizers["adam"].zero_grad()
            loss.backward()
            self.optimizers["adam"].step()
        note(size=len(before), loss=float(loss))


def interaction() -> FixedIntervalInteraction[Any, Any]:
    environment = GymEnvironment(gymnasium.make("CartPole-v1"))
    return FixedIntervalInteraction.with_sleep_adjustor(Pushing(), environment, 0.02)


def models() -> dict[str, TorchTrainingModel[Any]]:
    return {"dynamics": TorchTrainingModel(nn.Linear(4, 4))}


def buffers() -> dict[str, DictRandomReplacementBuffer[Any]]:
    return {"pairs": DictRandomReplacementBuffer(["before", "after"], 256)}


def trainers() -> dict[str, Trainer]:
    return {"predicting": Predicting()}
