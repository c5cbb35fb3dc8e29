"""The same system as `busy`, thirty steps a second: what a step takes, without the sleep between two."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from typing import Any

from pamiq_core import FixedIntervalInteraction
from torch import Tensor

from tests.launch.programs.busy import Acting, Frames, buffers, models, trainers

__all__ = ["buffers", "interaction", "models", "trainers"]


def interaction() -> FixedIntervalInteraction[Any, Tensor]:
    return FixedIntervalInteraction.with_sleep_adjustor(Acting(), Frames(), 1 / 30)
