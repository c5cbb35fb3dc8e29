"""The replay ring: frames in one preallocated block, oldest replaced first, sampled uniformly."""

import time as wall
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast, override

import numpy as np
from numpy.typing import NDArray
from pamiq_core.data import DataBuffer

from common.errors import CheckpointError
from common.messages import Datum

QUEUE = 65536
"""Bound of the collector's queue, which drops silently when it is full: never reached, the ingest stops long before."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames drawn for one step.

    Attributes:
        frames_BHWC: uint8 [B, H, W, 3], a copy.
        rows_B: Ledger row of each frame's experience, int32 [B].
        fresh_F2: Of the frames drawn for the first time: when captured and when added, wall clock, ns, int64 [F, 2].
    """

    frames_BHWC: NDArray[np.uint8]
    rows_B: NDArray[np.int32]
    fresh_F2: NDArray[np.int64]


class ReplayRing(DataBuffer[Datum, NDArray[np.uint8]]):
    """A pamiq-core buffer of uint8 frames with `sample(n)`.

    Args:
        capacity: Frames it holds.
        image_size: Height and width of a frame, pixels.
        seed: Of the sampling.
        admit: Called with each datum that is added; returns the ledger row of its experience.
    """

    def __init__(self, capacity: int, image_size: tuple[int, int], *, seed: int, admit: Callable[[Datum], int]) -> None:
        super().__init__(QUEUE)
        self._frames = np.zeros((capacity, *image_size, 3), np.uint8)
        self._rows = np.zeros(capacity, np.int32)
        self._times = np.zeros((capacity, 2), np.int64)
        self._unused = np.zeros(capacity, np.bool_)
        self._generator = np.random.default_rng(seed)
        self._admit = admit
        self.added = 0

    @property
    def capacity(self) -> int:
        """Frames it holds when full."""
        return len(self._frames)

    @override
    def __len__(self) -> int:
        return min(self.added, self.capacity)

    @override
    def add(self, data: Datum) -> None:
        slot = self.added % self.capacity
        self._frames[slot] = cast(NDArray[np.uint8], data.data)
        self._rows[slot] = self._admit(data)
        self._times[slot] = data.captured_ns, wall.time_ns()
        self._unused[slot] = True
        self.added += 1

    @override
    def get_data(self) -> NDArray[np.uint8]:
        """All frames, uint8 [len, H, W, 3], as pamiq-core asks for them; training uses `sample`."""
        return self._frames[: len(self)].copy()

    def sample(self, count: int) -> Batch:
        """Draws frames uniformly, with replacement.

        Args:
            count: Number of frames.
        """
        slots = self._generator.integers(len(self), size=count)
        fresh = np.unique(slots[self._unused[slots]])
        self._unused[fresh] = False
        return Batch(np.take(self._frames, slots, axis=0), self._rows[slots], self._times[fresh])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Contents as arrays, copied: `frames` uint8 [len, H, W, 3] and `rows` int32 [len], by slot."""
        return {"frames": self._frames[: len(self)].copy(), "rows": self._rows[: len(self)].copy()}

    def numbers(self) -> dict[str, Any]:
        """What `arrays` does not hold, as JSON-able values."""
        return {"added": self.added, "generator": self._generator.bit_generator.state}

    def restore(self, arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any]) -> None:
        """Takes over the contents that `arrays` and `numbers` gave.

        Raises:
            CheckpointError: They are of another frame size or do not fit into this capacity.
        """
        frames = arrays["frames"]
        if frames.shape[1:] != self._frames.shape[1:] or len(frames) != min(numbers["added"], self.capacity):
            raise CheckpointError(
                f"replay ring of {len(frames)} frames {frames.shape[1:]} does not fit "
                f"learner.replay.capacity = {self.capacity}, frames {self._frames.shape[1:]}"
            )
        self._frames[: len(frames)] = frames
        self._rows[: len(frames)] = arrays["rows"]
        self.added = int(numbers["added"])
        self._generator.bit_generator.state = numbers["generator"]
