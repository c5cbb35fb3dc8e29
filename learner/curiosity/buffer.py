"""The newest rollouts of all actors."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch and safetensors are untyped in parts)

import json
import logging
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple, override

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from pamiq_core.data import DataBuffer

from common.config.curiosity import CuriosityConfig
from common.curiosity.controls import CHOICES
from common.curiosity.rollout import Rollout

_log = logging.getLogger(__name__)


class Rollouts(NamedTuple):
    """What a buffer holds.

    Attributes:
        kept: The newest, oldest first.
        taken: How many were ever taken: the last one's number.
    """

    kept: list[Rollout]
    taken: int

    def since(self, number: int) -> list[Rollout]:
        """Those that were taken after the one with this number, as far as they are still here."""
        return self.kept[max(0, len(self.kept) - (self.taken - number)) :] if self.taken > number else []


class RolloutBuffer(DataBuffer[Any, Rollouts]):
    """Keeps the newest, in the order in which they came. What is no rollout of this system is counted and left out.

    Args:
        config: Sizes.
        features: Numbers of a feature vector.
    """

    @override
    def __init__(self, config: CuriosityConfig, features: int) -> None:
        super().__init__(config.dynamics.rollouts)
        self._kept: deque[Rollout] = deque(maxlen=config.dynamics.rollouts)
        steps, memory, heads = config.rollout, config.dynamics.dim, len(CHOICES)
        self._shapes: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
            "features": (np.float32, (steps + 1, features)),
            "versions": (np.int64, (steps + 1,)),
            "choices": (np.int8, (steps, heads)),
            "asked": (np.bool_, (steps, heads)),
            "log_probs": (np.float32, (steps,)),
            "values": (np.float32, (steps + 1,)),
            "memories": (np.float32, (steps, memory)),
            "rewards": (np.float32, (steps,)),
            "joined": (np.bool_, (steps,)),
            "hidden": (np.float32, (config.dynamics.depth, memory)),
        }
        self.taken = self.refused = 0
        """Data that were rollouts, and data that were none."""

    @override
    def add(self, data: Any) -> None:
        reason = self._fault(data)
        if reason:
            self.refused += 1
            _log.error("no rollout: %s", reason)
        else:
            self.taken += 1
            self._kept.append(Rollout.of_value(data))

    def _fault(self, data: Any) -> str:
        """Says what is wrong with a datum; nothing if nothing is."""
        if not isinstance(data, dict) or data.keys() != {"actor", *self._shapes}:  # pyright: ignore[reportUnknownMemberType]
            return "its fields are others"
        if not isinstance(data["actor"], str):
            return "actor is no name"
        for name, (dtype, shape) in self._shapes.items():
            array: Any = data[name]
            if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:  # pyright: ignore[reportUnknownMemberType]
                return f"{name} must be {np.dtype(dtype)} {shape}"
            if dtype is np.float32 and not np.isfinite(array).all():  # pyright: ignore[reportUnknownArgumentType]
                return f"{name} is not finite"
        choices: NDArray[np.int8] = data["choices"]
        if (choices < 0).any() or (choices >= np.array(CHOICES)).any():
            return "choices lie outside of their heads"
        return ""

    @override
    def get_data(self) -> Rollouts:
        return Rollouts(list(self._kept), self.taken)

    @override
    def __len__(self) -> int:
        return len(self._kept)

    @override
    def save_state(self, path: Path) -> None:
        """Saves to `path`.safetensors and `path`.json."""
        if self._kept:
            columns = {name: np.stack([getattr(one, name) for one in self._kept]) for name in self._shapes}
            safetensors.numpy.save_file(columns, path.with_suffix(".safetensors"))
        state = {"actors": [one.actor for one in self._kept], "taken": self.taken, "refused": self.refused}
        path.with_suffix(".json").write_text(json.dumps(state), "utf-8")

    @override
    def load_state(self, path: Path) -> None:
        state = json.loads(path.with_suffix(".json").read_text("utf-8"))
        self._kept.clear()
        if state["actors"]:
            columns = safetensors.numpy.load_file(path.with_suffix(".safetensors"))
            for number, actor in enumerate(state["actors"]):
                self.add({"actor": actor} | {name: column[number] for name, column in columns.items()})
        self.taken, self.refused = state["taken"], state["refused"]
