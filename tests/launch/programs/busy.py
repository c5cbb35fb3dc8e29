"""A small agent that never rests: frames through a convolutional network, each collected, trained on meanwhile.

At the end the environment notes how long a step took: observe, decide, collect, act.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import time as wall
from statistics import median
from typing import Any, override

import numpy as np
import torch
from numpy.typing import NDArray
from pamiq_core import Agent, Environment, Interaction
from pamiq_core.data.impls import RandomReplacementBuffer
from pamiq_core.torch import OptimizersSetup, TorchTrainer, TorchTrainingModel
from pamiq_core.trainer import Trainer
from torch import Tensor, nn

from tests.launch.programs import note

type Seen = NDArray[np.uint8]


class Frames(Environment[Seen, Tensor]):
    def __init__(self) -> None:
        self._frames = np.random.default_rng(0).integers(0, 255, (16, 96, 96, 3), np.uint8)
        self._began = 0.0
        self._took: list[float] = []

    @override
    def observe(self) -> Seen:
        self._began = wall.perf_counter()
        return self._frames[len(self._took) % 16].copy()

    @override
    def affect(self, action: Tensor) -> None:
        assert action.shape == (8,)
        self._took.append(wall.perf_counter() - self._began)

    @override
    def teardown(self) -> None:
        settled = self._took[len(self._took) // 2 :]
        note(steps=len(self._took), median=median(settled), mean=sum(settled) / len(settled))


def network() -> nn.Sequential:
    layers = [nn.Conv2d(3, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4096, 8))


def act(model: nn.Module, seen: Seen) -> Tensor:
    return model(torch.from_numpy(seen).permute(2, 0, 1)[None] / 255)[0]


class Acting(Agent[Seen, Tensor]):
    @override
    def on_inference_models_attached(self) -> None:
        self.policy = self.get_inference_model("policy")

    @override
    def on_data_collectors_attached(self) -> None:
        self.seen = self.get_data_collector("seen")

    @override
    def step(self, observation: Seen) -> Tensor:
        self.seen.collect(observation)
        return self.policy(observation)


class Regressing(TorchTrainer):
    def __init__(self) -> None:
        super().__init__("seen", min_buffer_size=32, min_new_data_count=100)

    @override
    def on_training_models_attached(self) -> None:
        self.model: Any = self.get_training_model("policy")

    @override
    def create_optimizers(self) -> OptimizersSetup:
        return {"sgd": torch.optim.SGD(self.model.model.parameters(), lr=1e-3)}

    @override
    def train(self) -> None:
        frames = np.stack(self.get_data_user("seen").get_data()[-32:])
        loss = self.model(torch.from_numpy(frames).permute(0, 3, 1, 2) / 255).square().mean()
        self.optimizers["sgd"].zero_grad()
        loss.backward()
        self.optimizers["sgd"].step()


def interaction() -> Interaction[Seen, Tensor]:
    return Interaction(Acting(), Frames())


def models() -> dict[str, TorchTrainingModel[Any]]:
    return {"policy": TorchTrainingModel(network(), inference_procedure=act)}


def buffers() -> dict[str, RandomReplacementBuffer[Any]]:
    return {"seen": RandomReplacementBuffer(1000)}


def trainers() -> dict[str, Trainer]:
    return {"regressing": Regressing()}
