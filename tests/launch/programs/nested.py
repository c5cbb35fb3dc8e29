"""Nested agents with hidden states, two buffers, a recurrent model, and one that only ever acts."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from pathlib import Path
from typing import Any, override

import torch
from pamiq_core import Agent, Environment, FixedIntervalInteraction
from pamiq_core.data.impls import DictSequentialBuffer, SequentialBuffer
from pamiq_core.torch import OptimizersSetup, TorchTrainer, TorchTrainingModel
from pamiq_core.trainer import Trainer
from torch import Tensor, nn

from tests.launch.programs import note


class Wave(Environment[Tensor, Tensor]):
    def __init__(self) -> None:
        self.step = 0

    @override
    def observe(self) -> Tensor:
        self.step += 1
        return torch.sin(torch.arange(4) + 0.3 * self.step)

    @override
    def affect(self, action: Tensor) -> None:
        pass


class Forecaster(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.core = nn.GRUCell(4, 16)
        self.head = nn.Linear(16, 4)

    @override
    def forward(self, seen: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.core(seen, hidden)
        return self.head(hidden), hidden


class Remembering(Agent[Tensor, Tensor]):
    """The inner one: predicts, keeps a hidden state and counts its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = torch.zeros(16)
        self.steps = 0

    @override
    def on_inference_models_attached(self) -> None:
        self.forecaster = self.get_inference_model("forecaster")
        self.scale = self.get_inference_model("scale")

    @override
    def on_data_collectors_attached(self) -> None:
        self.transitions = self.get_data_collector("transitions")

    @override
    def step(self, observation: Tensor) -> Tensor:
        self.steps += 1
        before = self.hidden
        prediction, self.hidden = self.forecaster(observation, self.hidden)
        self.transitions.collect({"seen": observation, "hidden": before})
        return self.scale(prediction)

    @override
    def save_state(self, path: Path) -> None:
        super().save_state(path)
        torch.save({"hidden": self.hidden, "steps": self.steps}, path.with_suffix(".pt"))

    @override
    def load_state(self, path: Path) -> None:
        super().load_state(path)
        state = torch.load(path.with_suffix(".pt"), weights_only=True)
        self.hidden, self.steps = state["hidden"], state["steps"]


class Outer(Agent[Tensor, Tensor]):
    def __init__(self) -> None:
        self.inner = Remembering()
        super().__init__({"inner": self.inner})

    @override
    def on_data_collectors_attached(self) -> None:
        self.steps = self.get_data_collector("steps")

    @override
    def step(self, observation: Tensor) -> Tensor:
        action = self.inner.step(observation)
        self.steps.collect(self.inner.steps)
        return action


class Forecasting(TorchTrainer):
    def __init__(self) -> None:
        super().__init__("transitions", min_buffer_size=20, min_new_data_count=20)

    @override
    def on_training_models_attached(self) -> None:
        self.model: Any = self.get_training_model("forecaster")

    @override
    def create_optimizers(self) -> OptimizersSetup:
        return {"adam": torch.optim.Adam(self.model.model.parameters(), lr=1e-2)}

    @override
    def train(self) -> None:
        data: dict[str, list[Tensor]] = self.get_data_user("transitions").get_data()
        seen, hidden = torch.stack(data["seen"]), torch.stack(data["hidden"])
        loss = torch.zeros(())
        for _ in range(5):
            predicted, _ = self.model(seen[:-1], hidden[:-1])
            loss = (predicted - seen[1:]).square().mean()
            self.optimizers["adam"].zero_grad()
            loss.backward()
            self.optimizers["adam"].step()
        steps = self.get_data_user("steps").get_data()
        note(size=len(seen), loss=float(loss), steps=steps[-1])


def interaction() -> FixedIntervalInteraction[Tensor, Tensor]:
    return FixedIntervalInteraction.with_sleep_adjustor(Outer(), Wave(), 0.02)


def models() -> dict[str, TorchTrainingModel[Any]]:
    return {
        "forecaster": TorchTrainingModel(Forecaster()),
        "scale": TorchTrainingModel(nn.Linear(4, 1), inference_thread_only=True),
    }


def buffers() -> dict[str, Any]:
    return {"transitions": DictSequentialBuffer(["seen", "hidden"], 500), "steps": SequentialBuffer[int](500)}


def trainers() -> dict[str, Trainer]:
    return {"forecasting": Forecasting()}
