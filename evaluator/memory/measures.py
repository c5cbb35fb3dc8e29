"""The four measures by name, and a measured number with its two halves.

Shapes: K frames of an experience.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from evaluator.experience import Experience
from evaluator.scores import NotMeasurable

CEILING = 7.5
"""Memory bits above which a score is near its ceiling of 8: it can hardly rise, which in a contrast looks like
forgetting."""


class Measure(StrEnum):
    """How an experience is scored; formulas in docs/measures.md."""

    LOSS = "loss"
    """Training loss under fixed masks: lower is better, alone no evidence."""
    NMSE = "nmse"
    """Squared error ÷ that of each position's mean target: 1 is no better than the mean."""
    BITS = "bits"
    """Memory bits: what the prediction tells about which target is its own, at most 8; higher is better."""
    REFERENCE = "reference"
    """Squared error of the prediction read out into fixed features: 1 is no better than each position's mean."""


@dataclass(frozen=True, slots=True)
class Halved:
    """A measure of one experience.

    Attributes:
        value: On all its K frames, finite.
        halves: On the even numbered (0, 2, …) and on the odd numbered frames: one sets level and threshold of an event,
            the other tells when it happens, or the same noise would bias it short.
    """

    value: float
    halves: tuple[float, float]

    def row(self) -> dict[str, float | list[float]]:
        """Gives the measure as plain JSON."""
        return {"value": self.value, "halves": list(self.halves)}


type Measured = Halved | NotMeasurable
"""What every measure of an experience is: never NaN."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remembered:
    """What one experience scored at one version.

    Attributes:
        experience: What was measured.
        measures: Each measure.
        negatives: Frames of its world, never trained on, that its targets were told from; 0 where there were too few.
    """

    experience: Experience
    measures: Mapping[Measure, Measured]
    negatives: int

    @property
    def near_ceiling(self) -> bool:
        """Whether its memory bits can hardly rise."""
        bits = self.measures[Measure.BITS]
        return isinstance(bits, Halved) and bits.value > CEILING


def halved(above_K: NDArray[np.float64], below_K: NDArray[np.float64] | None = None) -> Measured:
    """Averages over frames, or divides the sums of two quantities over frames.

    Args:
        above_K: One number a frame, at least two of them.
        below_K: What to divide by; ones if left out.
    """
    if below_K is None:
        below_K = np.ones(len(above_K))
    parts = [slice(None), slice(0, None, 2), slice(1, None, 2)]
    with np.errstate(all="ignore"):
        value, even, odd = (float(above_K[part].sum() / below_K[part].sum()) for part in parts)
    if not np.isfinite([value, even, odd]).all():
        return NotMeasurable("what the network gives is not finite")
    return Halved(value, (even, odd))
