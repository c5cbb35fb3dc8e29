"""A trainer with a mistake in it."""

from typing import Any, override

from pamiq_core.trainer import Trainer

from tests.launch.programs.minimal import Averaging, buffers, interaction, models

__all__ = ["buffers", "interaction", "models", "trainers"]


class Mistaken(Averaging):
    @override
    def train(self) -> None:
        super().train()
        data: Any = self.get_data_user("numbers").get_data()
        assert len(data) / 0


def trainers() -> dict[str, Trainer]:
    return {"averaging": Mistaken()}
