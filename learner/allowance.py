"""How many frames an actor may bring: one that writes as fast as it can must not crowd the others out of the buffer.

    tokens of an actor = min(backlog, tokens + 2 · fps · seconds since its last frame); each frame takes one

An honest actor never runs out: it captures `fps` frames a second, and what it brings faster has waited, in its stream
or its spool, which hold `backlog` frames at most. Time is the reader's own: no clock of an actor is believed.
"""

import time
from collections.abc import Callable
from math import inf
from typing import Self

from common.config import RunConfig

FACTOR = 2.0
"""Frames that are taken for each that an actor should capture: clocks and pacing may differ a little, not so much."""
PACKED = 128
"""Times that a packed frame may be smaller than a raw one."""


class Allowance:
    """Says of each frame whether its actor may have brought so many.

    Args:
        rate: Frames a second of each actor.
        backlog: Frames that may come at once.
        now: Seconds of a clock that never goes back.
    """

    def __init__(self, rate: float, backlog: float, now: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._backlog = backlog
        self._now = now
        self._left: dict[str, tuple[float, float]] = {}

    @classmethod
    def of(cls, run: RunConfig) -> Self:
        """The allowance of a run's actors; without bound where a recording plays at a speed of its own."""
        if run.playback.recording:
            return cls(inf, inf)
        height, width = run.world.image_size
        smallest = height * width * 3 / (1 if run.stream.codec == "raw" else PACKED)
        in_stream = run.stream.budget / run.actors.total / smallest
        return cls(FACTOR * run.actors.fps, in_stream + run.actors.spool * run.actors.fps)

    def grants(self, actor: str) -> bool:
        """Takes one token of an actor's; says whether it had one."""
        now = self._now()
        left, since = self._left.get(actor, (self._backlog, now))
        left = min(self._backlog, left + (now - since) * self._rate) if self._rate < inf else inf
        granted = left >= 1
        self._left[actor] = (left - granted, now)
        return granted
