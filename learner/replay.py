"""The replay ring: frames in one preallocated block, oldest replaced first, sampled uniformly or by weight.

Without weights a draw is one call for uniform integers. With weights it is a binary search in their cumulative sum,
which is taken anew at the first draw after an addition: O(capacity) once a batch (40 µs for 16384 frames), then
O(log capacity) a frame, all in NumPy.
"""

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
        weigh: Called with each datum that is added; returns its weight, above 0. None samples uniformly.
    """

    def __init__(
        self,
        capacity: int,
        image_size: tuple[int, int],
        *,
        seed: int,
        admit: Callable[[Datum], int],
        weigh: Callable[[Datum], float] | None = None,
    ) -> None:
        super().__init__(QUEUE)
        self._frames = np.zeros((capacity, *image_size, 3), np.uint8)
        self._rows = np.zeros(capacity, np.int32)
        self._times = np.zeros((capacity, 2), np.int64)
        self._unused = np.zeros(capacity, np.bool_)
        self._generator = np.random.default_rng(seed)
        self._admit = admit
        self._weigh = weigh
        self._weights = np.ones(capacity if weigh else 0, np.float64)
        self._cumulative: NDArray[np.float64] | None = None
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
        self._times[slot, 0] = data.captured_ns  # one by one: a pair would become an array first
        self._times[slot, 1] = wall.time_ns()
        self._unused[slot] = True
        if self._weigh is not None:
            self._weights[slot] = self._weigh(data)
            self._cumulative = None
        self.added += 1

    @override
    def get_data(self) -> NDArray[np.uint8]:
        """All frames, uint8 [len, H, W, 3], as pamiq-core asks for them; training uses `sample`."""
        return self._frames[: len(self)].copy()

    def sample(self, count: int) -> Batch:
        """Draws frames with replacement.

        Args:
            count: Number of frames.
        """
        slots = self._generator.integers(len(self), size=count) if self._weigh is None else self._draw(count)
        fresh = np.unique(slots[self._unused[slots]])
        self._unused[fresh] = False
        return Batch(np.take(self._frames, slots, axis=0), self._rows[slots], self._times[fresh])

    def _draw(self, count: int) -> NDArray[np.int64]:
        """Draws slots in proportion to their weights."""
        if self._cumulative is None:
            self._cumulative = np.cumsum(self._weights[: len(self)])
        points = self._generator.random(count) * self._cumulative[-1]
        slots = cast(Any, self._cumulative).searchsorted(points, side="right")
        return np.minimum(slots, len(self) - 1)  # rounding may put a point on the very end

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Contents by slot, copied: `frames` uint8 [len, H, W, 3], `rows` int32 [len], any `weights` float64 [len]."""
        arrays: dict[str, NDArray[Any]] = {"frames": self._frames, "rows": self._rows}
        if self._weigh is not None:
            arrays["weights"] = self._weights
        return {name: array[: len(self)].copy() for name, array in arrays.items()}

    def numbers(self) -> dict[str, Any]:
        """What `arrays` does not hold, as JSON-able values."""
        return {"added": self.added, "generator": self._generator.bit_generator.state}

    def restore(self, arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any]) -> None:
        """Takes over the contents that `arrays` and `numbers` gave; frames saved without weights weigh 1.

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
        if self._weigh is not None:
            self._weights[: len(frames)] = arrays.get("weights", 1.0)
            self._cumulative = None
        self.added = int(numbers["added"])
        self._generator.bit_generator.state = numbers["generator"]
