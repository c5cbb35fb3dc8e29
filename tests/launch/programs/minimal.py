"""The smallest system: numbers are collected and counted; a model without torch that learns their mean."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import time as wall
from pathlib import Path
from typing import Any, override

from pamiq_core import Agent, Environment, FixedIntervalInteraction
from pamiq_core.data.impls import SequentialBuffer
from pamiq_core.model import InferenceModel, TrainingModel
from pamiq_core.trainer import Trainer

from tests.launch.programs import note


class Counting(Environment[int, float]):
    def __init__(self) -> None:
        self.count = 0

    @override
    def observe(self) -> int:
        self.count += 1
        return self.count

    @override
    def affect(self, action: float) -> None:
        pass

    @override
    def save_state(self, path: Path) -> None:
        path.with_suffix(".txt").write_text(str(self.count))

    @override
    def load_state(self, path: Path) -> None:
        self.count = int(path.with_suffix(".txt").read_text())


class MeanInference(InferenceModel):
    def __init__(self, mean: float) -> None:
        self.mean = mean

    @override
    def infer(self) -> float:
        return self.mean


class Mean(TrainingModel[MeanInference]):
    def __init__(self) -> None:
        super().__init__()
        self.mean = 0.0

    @override
    def _create_inference_model(self) -> MeanInference:
        return MeanInference(self.mean)

    @override
    def forward(self) -> float:
        return self.mean

    @override
    def sync_impl(self, inference_model: MeanInference) -> None:
        inference_model.mean = self.mean

    @override
    def save_state(self, path: Path) -> None:
        path.with_suffix(".txt").write_text(str(self.mean))

    @override
    def load_state(self, path: Path) -> None:
        self.mean = float(path.with_suffix(".txt").read_text())


class Collecting(Agent[int, float]):
    @override
    def on_inference_models_attached(self) -> None:
        self.mean = self.get_inference_model("mean")

    @override
    def on_data_collectors_attached(self) -> None:
        self.numbers = self.get_data_collector("numbers")

    @override
    def step(self, observation: int) -> float:
        self.numbers.collect({"number": observation, "name": f"n{observation}", "nested": [observation, (0.5, None)]})
        return self.mean()


class Averaging(Trainer):
    def __init__(self) -> None:
        super().__init__("numbers", min_buffer_size=5, min_new_data_count=10)

    @override
    def on_training_models_attached(self) -> None:
        self.mean: Any = self.get_training_model("mean")

    @override
    def train(self) -> None:
        data: list[dict[str, Any]] = self.get_data_user("numbers").get_data()
        assert all(one["name"] == f"n{one['number']}" for one in data)
        assert all(one["nested"] == [one["number"], (0.5, None)] for one in data)
        numbers = [one["number"] for one in data]
        assert numbers == sorted(numbers)
        self.mean.mean = sum(numbers) / len(numbers)
        note(t=wall.time(), newest=numbers[-1], size=len(numbers), mean=self.mean.mean)


def interaction() -> FixedIntervalInteraction[int, float]:
    return FixedIntervalInteraction.with_sleep_adjustor(Collecting(), Counting(), 0.02)


def models() -> dict[str, Mean]:
    return {"mean": Mean()}


def buffers() -> dict[str, SequentialBuffer[Any]]:
    return {"numbers": SequentialBuffer(1000)}


def trainers() -> dict[str, Trainer]:
    return {"averaging": Averaging()}
