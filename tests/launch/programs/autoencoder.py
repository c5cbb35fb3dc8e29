"""A torch autoencoder, trained on what is seen, from a buffer that replaces at random."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from typing import Any, override

import torch
from pamiq_core import Agent, Environment, FixedIntervalInteraction
from pamiq_core.data.impls import RandomReplacementBuffer
from pamiq_core.torch import OptimizersSetup, TorchTrainer, TorchTrainingModel
from pamiq_core.trainer import Trainer
from torch import Tensor, nn

from tests.launch.programs import note


class Patterns(Environment[Tensor, Tensor]):
    """One of four patterns with noise."""

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(0)
        self._patterns = torch.randn(4, 32, generator=self._generator)

    @override
    def observe(self) -> Tensor:
        which = torch.randint(4, (), generator=self._generator)
        return self._patterns[which] + 0.05 * torch.randn(32, generator=self._generator)

    @override
    def affect(self, action: Tensor) -> None:
        assert action.shape == (4,)


class Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(32, 4)
        self.decoder = nn.Linear(4, 32)

    @override
    def forward(self, seen: Tensor) -> Tensor:
        return self.decoder(self.encoder(seen))


def encode(model: Autoencoder, seen: Tensor) -> Tensor:
    return model.encoder(seen)


class Encoding(Agent[Tensor, Tensor]):
    @override
    def on_inference_models_attached(self) -> None:
        self.model = self.get_inference_model("autoencoder")

    @override
    def on_data_collectors_attached(self) -> None:
        self.seen = self.get_data_collector("seen")

    @override
    def step(self, observation: Tensor) -> Tensor:
        self.seen.collect(observation)
        return self.model(observation)


class Reconstructing(TorchTrainer):
    def __init__(self) -> None:
        super().__init__("seen", min_buffer_size=32, min_new_data_count=16)

    @override
    def on_training_models_attached(self) -> None:
        self.model: Any = self.get_training_model("autoencoder")

    @override
    def create_optimizers(self) -> OptimizersSetup:
        return {"adam": torch.optim.Adam(self.model.model.parameters(), lr=3e-3)}

    @override
    def train(self) -> None:
        seen = torch.stack(self.get_data_user("seen").get_data())
        losses: list[float] = []
        for _ in range(10):
            loss = (self.model(seen) - seen).square().mean()
            self.optimizers["adam"].zero_grad()
            loss.backward()
            self.optimizers["adam"].step()
            losses.append(float(loss))
        note(size=len(seen), loss=losses[-1])


def interaction() -> FixedIntervalInteraction[Tensor, Tensor]:
    return FixedIntervalInteraction.with_sleep_adjustor(Encoding(), Patterns(), 0.02)


def models() -> dict[str, TorchTrainingModel[Autoencoder]]:
    return {"autoencoder": TorchTrainingModel(Autoencoder(), inference_procedure=encode)}


def buffers() -> dict[str, RandomReplacementBuffer[Tensor]]:
    return {"seen": RandomReplacementBuffer(128)}


def trainers() -> dict[str, Trainer]:
    return {"reconstructing": Reconstructing()}
