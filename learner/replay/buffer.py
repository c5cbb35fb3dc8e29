"""The replay buffer: frames in one preallocated block, each in a slot with its number, ledger row and times.

Shape suffixes: B frames of a batch, C slots, N slots held, H and W pixels; the colours come last.
"""

import time as wall
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, cast, override

import numpy as np
from numpy.typing import NDArray
from pamiq_core.data import DataBuffer

from common.config import ReplayConfig
from common.errors import CheckpointError
from common.messages import Datum
from learner.replay.draw import Drawer
from learner.replay.keep import Keeper
from learner.replay.strategies import drawer_of, keeper_of

QUEUE = 65536
"""Bound of the collector's queue, which drops silently when it is full: never reached, the ingest stops long before."""
FADED = 40.0
"""Half-lives after which a weight falls no more: alone, such frames are still drawn; beside fresh ones, never."""


def staleness_weight(age: float | None, half_life: float) -> float:
    """Weight of a frame by the age of the weights that acted on it: 2^(−age ÷ half_life), and 1 for no known age.

    Args:
        age: Of the weights at the frame's capture, seconds; below 0 (clocks differ) counts as 0.
        half_life: Age that halves the weight, seconds.
    """
    return 1.0 if age is None else 2.0 ** -min(max(age, 0.0) / half_life, FADED)


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames drawn for one step.

    Attributes:
        frames_BHWC: uint8 [B, H, W, 3], a copy.
        rows_B: Ledger row of each frame's experience, int32 [B].
        fresh_F2: Of the frames drawn for the first time: when captured and when added, wall clock, ns, int64 [F, 2].
        slots_B: Slot of each frame, int64 [B].
        serials_B: Number of each frame, int64 [B]: tells whether it is still in its slot when news of it come.
    """

    frames_BHWC: NDArray[np.uint8]
    rows_B: NDArray[np.int32]
    fresh_F2: NDArray[np.int64]
    slots_B: NDArray[np.int64]
    serials_B: NDArray[np.int64]


class ReplayBuffer(DataBuffer[Datum, NDArray[np.uint8]]):
    """A pamiq-core buffer of uint8 frames with `sample(n)`, and `learned(…)` for what became of it.

    Frames are numbered as they are added, from 0; those that the keeper leaves out have numbers too. What is added is
    admitted, whether or not it is kept: the limiter, the ledger and the accounting count what was offered to the
    keeper, so they do not depend on its choice.

    Args:
        image_size: Height and width of a frame, pixels.
        keep: Chooses the frames that stay; its capacity is the buffer's.
        draw: Chooses the frames of a batch.
        admit: Called with each datum that is added; returns the ledger row of its experience.
        weigh: Called with each datum that is kept; returns a factor on its chance to be drawn, above 0. None for equal
            ones.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        *,
        keep: Keeper,
        draw: Drawer,
        admit: Callable[[Datum], int],
        weigh: Callable[[Datum], float] | None = None,
    ) -> None:
        super().__init__(QUEUE)
        capacity = keep.capacity
        self._frames_CHWC = np.zeros((capacity, *image_size, 3), np.uint8)
        self._rows_C = np.zeros(capacity, np.int32)
        self._serials_C = np.zeros(capacity, np.int64)
        self._times_C2 = np.zeros((capacity, 2), np.int64)
        self._unused_C = np.zeros(capacity, np.bool_)
        self._weights_C = np.ones(capacity if weigh else 0, np.float64)
        self._keep = keep
        self._draw = draw
        self._admit = admit
        self._weigh = weigh
        self.added = 0
        """Frames added so far."""
        self.left_out = 0
        """Frames among them that the keeper did not take."""

    @classmethod
    def from_config(
        cls,
        config: ReplayConfig,
        image_size: tuple[int, int],
        *,
        dim: int,
        seed: int,
        admit: Callable[[Datum], int],
        weigh: Callable[[Datum], float] | None = None,
    ) -> Self:
        """Builds the buffer of a configuration.

        Args:
            config: Capacity and strategies.
            image_size: Height and width of a frame, pixels.
            dim: Width of the features that `learned` will get.
            seed: Of all random choices.
            admit: See the class.
            weigh: See the class.
        """
        keep, draw = keeper_of(config, dim=dim, seed=seed), drawer_of(config, seed=seed)
        return cls(image_size, keep=keep, draw=draw, admit=admit, weigh=weigh)

    @property
    def capacity(self) -> int:
        """Frames it holds when full."""
        return self._keep.capacity

    @property
    def wants_losses(self) -> bool:
        """Whether `learned` needs losses."""
        return self._draw.wants_losses

    @property
    def wants_features(self) -> bool:
        """Whether `learned` needs features."""
        return self._keep.wants_features

    @override
    def __len__(self) -> int:
        return min(self.added, self.capacity)

    @override
    def add(self, data: Datum) -> None:
        row = self._admit(data)
        slot = self._keep.place(self.added)
        if slot is None:
            self.left_out += 1
        else:
            self._frames_CHWC[slot] = cast(NDArray[np.uint8], data.data)
            self._rows_C[slot] = row
            self._serials_C[slot] = self.added
            self._times_C2[slot, 0] = data.captured_ns  # one by one: a pair would become an array first
            self._times_C2[slot, 1] = wall.time_ns()
            self._unused_C[slot] = True
            if self._weigh is not None:
                self._weights_C[slot] = self._weigh(data)
            self._draw.placed(slot, data.experience)
        self.added += 1

    @override
    def get_data(self) -> NDArray[np.uint8]:
        """All frames, uint8 [N, H, W, 3], as pamiq-core asks for them; training uses `sample`."""
        return self._frames_CHWC[: len(self)].copy()

    def sample(self, count: int) -> Batch:
        """Draws frames with replacement.

        Args:
            count: Number of frames.
        """
        held = len(self)
        weights_N = None if self._weigh is None else self._weights_C[:held]
        slots_B = self._draw.draw(count, self._serials_C[:held], weights_N)
        fresh_F = np.unique(slots_B[self._unused_C[slots_B]])
        self._unused_C[fresh_F] = False
        return Batch(
            frames_BHWC=np.take(self._frames_CHWC, slots_B, axis=0),
            rows_B=self._rows_C[slots_B],
            fresh_F2=self._times_C2[fresh_F],
            slots_B=slots_B,
            serials_B=self._serials_C[slots_B],
        )

    def learned(
        self,
        slots_B: NDArray[np.int64],
        serials_B: NDArray[np.int64],
        *,
        losses_B: NDArray[np.float32] | None = None,
        features_BD: NDArray[np.float32] | None = None,
    ) -> None:
        """Tells what a step found about the frames of a batch; news of frames that were replaced since are dropped.

        Args:
            slots_B: The batch's slots.
            serials_B: The batch's numbers.
            losses_B: Loss of each frame; needed where `wants_losses`, finite.
            features_BD: Pooled features of each frame, from the target encoder; needed where `wants_features`, finite.
        """
        still_B = self._serials_C[slots_B] == serials_B
        if losses_B is not None:
            self._draw.learned(slots_B[still_B], losses_B[still_B])
        if features_BD is not None:
            self._keep.learned(slots_B[still_B], features_BD[still_B])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Contents by slot, copied: `frames` uint8 [N, H, W, 3], `rows` int32 [N], `serials` int64 [N].

        With weights `weights` float64 [N]; the strategies' own as `keep.…` and `draw.…`.
        """
        arrays: dict[str, NDArray[Any]] = {
            "frames": self._frames_CHWC[: len(self)].copy(),
            "rows": self._rows_C[: len(self)].copy(),
            "serials": self._serials_C[: len(self)].copy(),
        }
        if self._weigh is not None:
            arrays["weights"] = self._weights_C[: len(self)].copy()
        arrays |= {f"keep.{name}": array.copy() for name, array in self._keep.arrays().items()}
        return arrays | {f"draw.{name}": array.copy() for name, array in self._draw.arrays().items()}

    def numbers(self) -> dict[str, Any]:
        """What `arrays` does not hold, as JSON-able values."""
        return {
            "made_by": self._made_by(),
            "added": self.added,
            "left_out": self.left_out,
            "keep": self._keep.numbers(),
            "draw": self._draw.numbers(),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any]) -> None:
        """Goes on from what `arrays` and `numbers` gave; frames saved without weights weigh 1.

        Raises:
            CheckpointError: They come from another capacity, another frame size, or other strategies or settings.
        """
        own, found = self._made_by(), numbers.get("made_by", {})
        if wrong := [name for name in own if own[name] != found.get(name)]:
            parts = ", ".join(f"{name} = {found.get(name)} instead of {own[name]}" for name in wrong)
            raise CheckpointError(f"the checkpoint's replay buffer does not fit learner.replay: {parts}")
        self.added, self.left_out = int(numbers["added"]), int(numbers["left_out"])
        held = len(self)
        self._frames_CHWC[:held] = arrays["frames"]
        self._rows_C[:held] = arrays["rows"]
        self._serials_C[:held] = arrays["serials"]
        if self._weigh is not None:
            self._weights_C[:held] = arrays.get("weights", 1.0)
        self._unused_C[:] = False
        self._keep.restore(_below("keep.", arrays), numbers["keep"])
        self._draw.restore(_below("draw.", arrays), numbers["draw"])

    def _made_by(self) -> dict[str, Any]:
        """What must be equal for a state to fit."""
        return {
            "capacity": self.capacity,
            "image_size": list(self._frames_CHWC.shape[1:3]),
            "keep": self._keep.name.value,
            "draw": self._draw.name.value,
            **self._keep.settings(),
            **self._draw.settings(),
        }


def _below(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
