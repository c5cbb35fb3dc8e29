"""How old the weights were that acted on the frames that arrive: measured, and what follows from it."""

import math
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from common.catalogue import Metric
from common.config import ReplayConfig
from common.messages import Datum
from common.metrics import Metrics
from learner.publication import Publisher
from learner.replay import staleness_weight

RECENT = 512
"""Frames that the status speaks of."""


class Staleness:
    """Knows the age of every frame's weights.

    Args:
        config: What is too old, and how fast a frame's weight falls.
        publisher: Knows when each version was made.
        metrics: Where histograms are.
        acts: Whether the weights that act are this publisher's; else their age is not known here.
    """

    def __init__(self, config: ReplayConfig, publisher: Publisher, metrics: Metrics, *, acts: bool = True) -> None:
        self._config = config
        self._publisher = publisher
        self._metrics = metrics
        self._acts = acts
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT)

    def note(self, datum: Datum) -> None:
        """Measures an admitted frame: versions behind the newest at its capture, and seconds."""
        self._metrics.observe(Metric.LEARNER_INGEST_SECONDS, (time.time_ns() - datum.sent_ns) / 1e9)
        age = self._age(datum)
        if age is None:
            return
        behind = float(self._publisher.newest_at(datum.captured_ns) - datum.weights_version)
        self._metrics.observe(Metric.LEARNER_STALENESS_VERSIONS, behind)
        self._metrics.observe(Metric.LEARNER_STALENESS_SECONDS, age)
        self._recent.append((behind, age))

    def is_stale(self, datum: Datum) -> bool:
        """Says whether newer weights had been there for longer than allowed when the frame was captured.

        Not their age decides: while nothing is published, for want of new frames for example, weights grow old, and a
        gate on the age would keep out the very frames that end it.
        """
        limit = self._config.max_staleness
        newest = self._publisher.newest_at(datum.captured_ns - round(limit * 1e9)) if limit else 0
        return newest > datum.weights_version > 0

    @property
    def weigh(self) -> Callable[[Datum], float] | None:
        """Gives a frame's factor on its chance to be drawn; None where all have the same."""
        half_life = self._config.staleness_half_life
        return (lambda datum: staleness_weight(self._age(datum), half_life)) if half_life else None

    def figures(self) -> dict[str, float]:
        """The `staleness_…` fields of a `LearnerStatus`."""
        none = 0.0 if self._acts else math.nan
        recent = np.array(list(self._recent) or [(none, none)])  # [frames, (versions, seconds)]
        over_all = {"": np.median(recent, 0), "latest_": recent[-1], "mean_": recent.mean(0), "max_": recent.max(0)}
        return {
            f"staleness_{kind}{unit}": float(value)
            for kind, values in over_all.items()
            for unit, value in zip(("versions", "seconds"), values, strict=True)
        }

    def _age(self, datum: Datum) -> float | None:
        """Age of the weights that acted on a frame when it was captured, seconds; None where it is not known."""
        born = self._publisher.born(datum.weights_version) if self._acts else None
        return None if born is None else (datum.captured_ns - born) / 1e9
