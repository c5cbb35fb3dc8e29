"""The main numbers of a run over its time, in constant memory: fine while it is short, coarser as it grows.

status, twice a second ─► mean over `spacing` seconds ─► points ─► full: two neighbours become their mean
"""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.status import RunStatus

LENGTH = 600
"""Points that are kept, at most; never fewer than half of it once it was full."""
SPACING = 1.0
"""Seconds of the run between two points at its beginning."""

PROBES = ("world", "place", "heading", "depth")
ENCODERS = ("trained", "random", "pixels")
KINDS = ("exposed", "withheld", "placebo")

NAMES = (
    "fps",
    "loss",
    "images_per_second",
    "replay_ratio",
    "staleness_seconds",
    "unread",
    "rankme",
    *(f"bits_{kind}" for kind in KINDS),
    *(f"{probe}_{encoder}" for probe in PROBES for encoder in ENCODERS),
)
"""What each point holds, in this order."""


def sample(status: RunStatus) -> list[float]:
    """Takes the numbers of `NAMES` from a status; NaN for what was not measured yet."""
    learner, evaluator = status.learner, status.evaluator
    known = {
        "fps": sum(actor.fps for actor in status.actors),
        "unread": float(sum(counts.unread for counts in learner.counts.values())),
    }
    if learner.step:
        known |= {
            "loss": learner.loss,
            "images_per_second": learner.images_per_second,
            "replay_ratio": learner.replay_ratio,
        }
    if learner.version:
        known["staleness_seconds"] = learner.staleness_seconds
    if evaluator is not None and evaluator.version:
        known["rankme"] = evaluator.health.get("rankme", math.nan)
        known |= {f"bits_{kind}": evaluator.memory.get(kind, {}).get("bits", math.nan) for kind in KINDS}
        for probe in PROBES:
            scores = evaluator.probes.get(probe, {})
            known |= {f"{probe}_{encoder}": scores.get(encoder, math.nan) for encoder in ENCODERS}
    return [known.get(name, math.nan) for name in NAMES]


@dataclass(frozen=True, kw_only=True, eq=False)
class Stretch:
    """Part of a history.

    Attributes:
        spacing: Seconds that each point stands for; where it has doubled, all earlier points are others.
        points: Oldest first; each the time in seconds, then the numbers, NaN where there is none.
        now: The newest sample in the same form; None before the first.
    """

    spacing: float
    points: Sequence[Sequence[float]]
    now: Sequence[float] | None


class History:
    """Samples of one run; one thread adds, others read.

    Args:
        width: Numbers of a sample.
        length: Points that are kept, at most; even.
        spacing: Seconds between two points at the beginning.
    """

    def __init__(self, width: int = len(NAMES), *, length: int = LENGTH, spacing: float = SPACING) -> None:
        assert length % 2 == 0, "neighbours are joined in pairs"
        self._spacing = spacing
        self._points = np.full((length, 1 + width), np.nan)
        self._used = 0
        self._since = math.nan
        self._sum, self._count = np.zeros(1 + width), np.zeros(1 + width)
        self._now: NDArray[np.float64] | None = None
        self._lock = threading.Lock()

    def add(self, time: float, numbers: Sequence[float]) -> None:
        """Adds a sample; one that is no later than the last one replaces it only as the newest.

        Args:
            time: Seconds of the run, pauses excluded.
            numbers: The sample.
        """
        row = np.array([time, *numbers], np.float64)
        with self._lock:
            stands = self._now is not None and time <= self._now[0]
            self._now = row
            if stands:
                return
            if time - self._since >= self._spacing:
                self._close()
            if not self._count[0]:
                self._since = time
            finite = np.isfinite(row)
            self._sum += np.where(finite, row, 0.0)
            self._count += finite

    def since(self, time: float = -math.inf) -> Stretch:
        """Gives the points after a time."""
        with self._lock:
            used = self._points[: self._used]
            points = used[used[:, 0] > time].tolist()
            now = None if self._now is None else self._now.tolist()
            return Stretch(spacing=self._spacing, points=points, now=now)

    def _close(self) -> None:
        """Makes a point of what was gathered, and room for the next."""
        self._points[self._used] = _mean(self._sum, self._count)
        self._used += 1
        self._sum[:], self._count[:] = 0.0, 0.0
        if self._used == len(self._points):
            self._used //= 2
            halves = self._points.reshape(self._used, 2, -1)
            finite = np.isfinite(halves)
            self._points[: self._used] = _mean(np.where(finite, halves, 0.0).sum(axis=1), finite.sum(axis=1))
            self._spacing *= 2


def _mean(total: NDArray[np.float64], count: NDArray[Any]) -> NDArray[np.float64]:
    """Divides; NaN where there is nothing."""
    return np.where(count, total / np.maximum(count, 1), np.nan)
