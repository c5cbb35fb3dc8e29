"""Keepers: which frames a full buffer holds.

Costs are those of one added frame with a capacity of C, beside the copy of its pixels.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, override

import numpy as np
from numpy.typing import NDArray

from common.config import Keep
from common.config.replay import EULER_GAMMA


class Keeper(ABC):
    """Decides for each new frame the slot that it takes.

    As long as there is room, every frame is kept, in the next slot.

    Args:
        capacity: Number of slots.
    """

    name: ClassVar[Keep]
    """As the configuration calls it."""
    wants_features: ClassVar[bool] = False
    """Whether `learned` is to be called."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity

    def place(self, serial: int) -> int | None:
        """Chooses the slot of a frame.

        Args:
            serial: How many frames came before it, left-out ones included; grows by one from call to call.

        Returns:
            The slot, whose frame goes, or None where the new frame is left out.
        """
        return serial if serial < self.capacity else self._replace(serial)

    @abstractmethod
    def _replace(self, serial: int) -> int | None:
        """Chooses the slot of a frame that finds the buffer full."""

    def learned(  # noqa: B027 - to be overridden by who needs it
        self, slots_B: NDArray[np.int64], features_BD: NDArray[np.float32]
    ) -> None:
        """Takes note of the features of frames that were trained on and are still there; a slot may come twice."""

    def settings(self) -> dict[str, Any]:
        """What must be equal for a state to fit, beside the kind and the capacity: JSON-able."""
        return {}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """State for safetensors: live arrays, no copies."""
        return {}

    def numbers(self) -> dict[str, Any]:
        """State for JSON."""
        return {}

    def restore(self, arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any]) -> None:
        """Goes on from what `arrays` and `numbers` gave, from a keeper of the same kind, capacity and settings."""
        for name, own in self.arrays().items():
            own[...] = arrays[name]


class Fifo(Keeper):
    """Keeps the newest. Time O(1), no memory."""

    name = Keep.FIFO

    @override
    def _replace(self, serial: int) -> int:
        return serial % self.capacity


class RandomKeeper(Keeper):
    """A keeper with a generator of its own, so that draws are the same whatever is kept.

    Args:
        capacity: Number of slots.
        seed: Of its generator.
    """

    def __init__(self, capacity: int, *, seed: int) -> None:
        super().__init__(capacity)
        self._generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))

    @override
    def numbers(self) -> dict[str, Any]:
        return {"generator": self._generator.bit_generator.state}

    @override
    def restore(self, arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any]) -> None:
        super().restore(arrays, numbers)
        self._generator.bit_generator.state = numbers["generator"]


class Reservoir(RandomKeeper):
    """Keeps a uniform sample of all the past: algorithm R (Vitter 1985, doi:10.1145/3147.3165).

    The n-th frame, from 1, is kept with probability C ÷ n, in the place of a random one; then each of the n frames is
    held with probability C ÷ n. Time O(1), no memory.
    """

    name = Keep.RESERVOIR

    @override
    def _replace(self, serial: int) -> int | None:
        slot = int(self._generator.integers(serial + 1))
        return slot if slot < self.capacity else None


def replace_probability(capacity: int, survival: int) -> float:
    """Chance with which `RandomReplacement` keeps a frame, as pamiq-core 0.6 derives it.

        p = min(1, C ÷ survival · (ln C + γ))        γ = 0.5772…

    Replacements fall on random slots, so it takes C · H_C ≈ C (ln C + γ) of them until each slot was hit: the coupon
    collector's expectation. At p replacements a frame that is `survival` frames.

    Args:
        capacity: C, number of slots.
        survival: Frames after which all of the buffer is expected to be replaced; 0 for p = 1.
    """
    return min(1.0, capacity / survival * (math.log(capacity) + EULER_GAMMA)) if survival else 1.0


class RandomReplacement(RandomKeeper):
    """Keeps each new frame with the same chance p, in the place of a random one (pamiq-core's RandomReplacementBuffer).

    A kept frame lives geometrically, C ÷ p frames in the mean; the ages of what is held fall off exponentially.
    `survival` is the time until *all* are replaced, which is ln C + γ mean lives: with C = 1000 and survival = 36000,
    p = 0.208 and the mean life is 4810 frames. Time O(1), no memory.

    Args:
        capacity: Number of slots.
        survival: See `replace_probability`.
        seed: Of its generator.
    """

    name = Keep.RANDOM_REPLACEMENT

    def __init__(self, capacity: int, *, survival: int, seed: int) -> None:
        super().__init__(capacity, seed=seed)
        self.probability = replace_probability(capacity, survival)

    @override
    def _replace(self, serial: int) -> int | None:
        if self._generator.random() >= self.probability:
            return None
        return int(self._generator.integers(self.capacity))


class TwoTier(RandomKeeper):
    """Keeps the newest frames, and a uniform sample of all that are no longer among them.

    The oldest of the short tier leaves it for each new frame and is offered to a reservoir (algorithm R) over the other
    slots. Frames stay where they are, only their slot changes tier: where the reservoir takes the one that leaves, the
    new frame gets the slot of the one that the reservoir gives up. Time O(1), memory 4 C bytes.

    Args:
        capacity: Number of slots.
        newest: Slots of the short tier, at least 1 and less than all.
        seed: Of its generator.
    """

    name = Keep.TWO_TIER

    def __init__(self, capacity: int, *, newest: int, seed: int) -> None:
        super().__init__(capacity, seed=seed)
        self._long = capacity - newest
        self._order = np.arange(capacity, dtype=np.int32)
        """Slots of the long tier; behind them those of the short one, a ring."""

    @property
    def newest(self) -> int:
        """Slots of the short tier."""
        return self.capacity - self._long

    @override
    def _replace(self, serial: int) -> int:
        head = self._long + (serial - self.capacity) % self.newest
        gone = int(self._generator.integers(serial - self.newest + 1))
        if gone < self._long:
            self._order[head], self._order[gone] = self._order[gone], self._order[head]
        return int(self._order[head])

    @override
    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"order": self._order}

    @override
    def settings(self) -> dict[str, Any]:
        return {"newest": self.newest}


class LogAge(Keeper):
    """Keeps as many frames of each age on a logarithmic scale: of each octave as many.

    Age is counted in frames, from 1 for the newest. A new frame replaces the one whose neighbours in age are closest to
    each other in log-age, the oldest of equals; the oldest frame of all stays. So with n frames so far

        ln(age of the older ÷ age of the younger) ≤ 2 ln n ÷ (C − 1)

    holds for every two neighbours between which a frame has gone: the gap that opens is the smallest of C − 1 that
    cover the ages from 1 to n twice at most, and gaps only shrink with age. So an octave holds all of its frames or at
    least (C − 1) ÷ (2 log₂ n) − 1 of them.

    Time O(C): one division and a shift of the order. Memory 12 C bytes. Deterministic.

    Args:
        capacity: Number of slots, at least 2.
    """

    name = Keep.LOG_AGE

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._order = np.arange(capacity, dtype=np.int32)
        self._births = np.arange(capacity, dtype=np.int64)
        """Slots and serials of what is held, oldest first."""

    @override
    def _replace(self, serial: int) -> int:
        ages = serial + 1.0 - self._births
        younger = np.append(ages[2:], 1.0)
        victim = 1 + int((ages[:-1] / younger).argmin())
        slot = self._order[victim]
        self._order[victim:-1] = self._order[victim + 1 :]
        self._births[victim:-1] = self._births[victim + 1 :]
        self._order[-1], self._births[-1] = slot, serial
        return int(slot)

    @override
    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"order": self._order, "births": self._births}
