"""Drawers: which of the frames held make a batch. All draw with replacement.

Beside the drawer's own choice each frame may carry a weight (by staleness, see `buffer`): it multiplies in.
Costs are those of a batch of B with N frames held, beside the copy of its pixels.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, cast, override

import numpy as np
from numpy.typing import NDArray

from common.config import Draw
from common.exposure import is_rehearsed

PRIORITY_FLOOR = 1e-6
"""ε: what a loss of 0 counts for."""


class Drawer(ABC):
    """Chooses the slots of a batch.

    Args:
        seed: Of the draws.
    """

    name: ClassVar[Draw]
    """As the configuration calls it."""
    wants_losses: ClassVar[bool] = False
    """Whether `learned` is to be called."""

    def __init__(self, *, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    @abstractmethod
    def draw(
        self, count: int, serials_N: NDArray[np.int64], weights_N: NDArray[np.float64] | None
    ) -> NDArray[np.int64]:
        """Draws slots.

        Args:
            count: Number of frames, B.
            serials_N: Number of the frame in each slot held; the newest has the highest.
            weights_N: Factor on each frame's chance, above 0; None for equal ones.

        Returns:
            Slots, int64 [B].
        """

    def placed(self, slot: int, experience: str) -> None:  # noqa: B027 - to be overridden by who needs it
        """Takes note that a slot holds a new frame, of the experience of this name."""

    def learned(  # noqa: B027 - to be overridden by who needs it
        self, slots_B: NDArray[np.int64], losses_B: NDArray[np.float32]
    ) -> None:
        """Takes note of the losses of frames that were trained on and are still there; of a slot twice, the last."""

    def settings(self) -> dict[str, Any]:
        """What must be equal for a state to fit, beside the kind and the capacity: JSON-able."""
        return {}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """State for safetensors: live arrays, no copies."""
        return {}

    def numbers(self) -> dict[str, Any]:
        """State for JSON."""
        return {"generator": self._generator.bit_generator.state}

    def restore(self, arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any]) -> None:
        """Goes on from what `arrays` and `numbers` gave, from a drawer of the same kind, capacity and settings."""
        for name, own in self.arrays().items():
            own[...] = arrays[name]
        self._generator.bit_generator.state = numbers["generator"]

    def _pick(self, count: int, cumulative_N: NDArray[np.float64]) -> NDArray[np.int64]:
        """Draws in proportion to weights of which this is the cumulative sum."""
        points = self._generator.random(count) * cumulative_N[-1]
        found = cast(Any, cumulative_N).searchsorted(points, side="right")
        return np.minimum(found, len(cumulative_N) - 1)  # rounding may put a point on the very end


class Uniform(Drawer):
    """Every frame alike: p_i = 1 ÷ N, or ∝ its weight.

    Time O(B); with weights a binary search in their cumulative sum, which is taken anew at the first draw after an
    addition: O(N + B log N). Memory 8 N bytes with weights, else none.
    """

    name = Draw.UNIFORM

    def __init__(self, *, seed: int) -> None:
        super().__init__(seed=seed)
        self._cumulative_N: NDArray[np.float64] | None = None

    @override
    def draw(
        self, count: int, serials_N: NDArray[np.int64], weights_N: NDArray[np.float64] | None
    ) -> NDArray[np.int64]:
        if weights_N is None:
            return self._generator.integers(len(serials_N), size=count)
        if self._cumulative_N is None:
            self._cumulative_N = np.cumsum(weights_N)
        return self._pick(count, self._cumulative_N)

    @override
    def placed(self, slot: int, experience: str) -> None:
        self._cumulative_N = None

    @override
    def restore(self, arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any]) -> None:
        super().restore(arrays, numbers)
        self._cumulative_N = None


class LossPrioritised(Drawer):
    """In proportion to a power of the last loss: p_i ∝ (loss_i + ε)^α (Schaul et al. 2016, arXiv:1511.05952, eq. 1).

    A frame that was not trained on yet has the highest priority among the frames held, so that it is drawn soon. No
    importance weights correct for it (their eq. 2 with β = 0): the loss that is minimised is that of the prioritised
    frames, on purpose. Losses grow old while a frame is not drawn.

    Time O(N + B log N), memory 8 C bytes with a capacity of C.

    Args:
        capacity: C, number of slots.
        exponent: α; 0 draws uniformly.
        seed: Of the draws.
    """

    name = Draw.LOSS_PRIORITISED
    wants_losses = True

    def __init__(self, capacity: int, *, exponent: float, seed: int) -> None:
        super().__init__(seed=seed)
        self._exponent = exponent
        self._priorities_C = np.zeros(capacity, np.float64)
        """(loss + ε)^α; 0 for a frame that was not trained on yet."""

    @override
    def draw(
        self, count: int, serials_N: NDArray[np.int64], weights_N: NDArray[np.float64] | None
    ) -> NDArray[np.int64]:
        priorities_N = self._priorities_C[: len(serials_N)]
        chances_N = np.where(priorities_N > 0, priorities_N, priorities_N.max() or 1.0)
        if weights_N is not None:
            chances_N *= weights_N
        return self._pick(count, np.cumsum(chances_N))

    @override
    def placed(self, slot: int, experience: str) -> None:
        self._priorities_C[slot] = 0.0

    @override
    def learned(self, slots_B: NDArray[np.int64], losses_B: NDArray[np.float32]) -> None:
        self._priorities_C[slots_B] = (losses_B.astype(np.float64) + PRIORITY_FLOOR) ** self._exponent

    @override
    def settings(self) -> dict[str, Any]:
        return {"priority_exponent": self._exponent}

    @override
    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"priorities": self._priorities_C}


class NewestMix(Drawer):
    """A fixed share of each batch from the newest frames held, the rest from all others; uniform within each.

    Of B frames round(`share` · B) are drawn from the `newest` with the highest numbers, and they come first in the
    batch. What counts as new are the newest *held*: with a reservoir they are old. While no more are held, all are new.

    Time O(N): a partial sort of the numbers. No memory.

    Args:
        newest: Number of frames that count as new.
        share: Their share of a batch.
        seed: Of the draws.
    """

    name = Draw.NEWEST_MIX

    def __init__(self, *, newest: int, share: float, seed: int) -> None:
        super().__init__(seed=seed)
        self._newest = newest
        self._share = share

    @override
    def draw(
        self, count: int, serials_N: NDArray[np.int64], weights_N: NDArray[np.float64] | None
    ) -> NDArray[np.int64]:
        others = len(serials_N) - self._newest
        if others <= 0:
            return self._among(count, np.arange(len(serials_N)), weights_N)
        by_age_N = np.argpartition(serials_N, others)
        new = round(self._share * count)
        return np.concatenate(
            [
                self._among(new, by_age_N[others:], weights_N),
                self._among(count - new, by_age_N[:others], weights_N),
            ]
        )

    def _among(self, count: int, slots: NDArray[np.int64], weights_N: NDArray[np.float64] | None) -> NDArray[np.int64]:
        if weights_N is None:
            return slots[self._generator.integers(len(slots), size=count)]
        return slots[self._pick(count, np.cumsum(weights_N[slots]))]


class Rehearsal(Drawer):
    """The positive control of memory: some experiences are rehearsed for a while, and then dropped.

    p_i ∝ `times` for a frame of a chosen experience while at most `frames` newer frames were added, 0 after that, and
    1 for every frame of the others. An experience is chosen, with a chance of `share`, by a hash of its name, so that
    ranks and repeated runs choose alike. What measures memory must find that these were memorised and forgotten.

    Time O(N + B log N), memory C bytes with a capacity of C.

    Args:
        capacity: C, number of slots.
        share: Share of the experiences that is chosen.
        times: How often a frame of theirs is drawn for each time that another is.
        frames: Frames added for which this lasts.
        seed: Of the draws.
    """

    name = Draw.REHEARSAL

    def __init__(self, capacity: int, *, share: float, times: float, frames: int, seed: int) -> None:
        super().__init__(seed=seed)
        self._share, self._times, self._frames = share, times, frames
        self._chosen_C = np.zeros(capacity, np.bool_)

    @override
    def draw(
        self, count: int, serials_N: NDArray[np.int64], weights_N: NDArray[np.float64] | None
    ) -> NDArray[np.int64]:
        chosen_N = self._chosen_C[: len(serials_N)]
        young_N = serials_N.max() - serials_N <= self._frames
        chances_N = np.where(chosen_N, np.where(young_N, self._times, 0.0), 1.0)
        if not chances_N.any():  # all that is left was dropped: without anything else it is drawn after all
            chances_N[:] = 1.0
        return self._pick(count, np.cumsum(chances_N if weights_N is None else chances_N * weights_N))

    @override
    def placed(self, slot: int, experience: str) -> None:
        self._chosen_C[slot] = is_rehearsed(experience, self._share)

    @override
    def settings(self) -> dict[str, Any]:
        return {"rehearsed": self._share, "rehearsal_times": self._times, "rehearsal_frames": self._frames}

    @override
    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"rehearsed": self._chosen_C}
