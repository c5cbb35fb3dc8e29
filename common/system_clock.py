"""The system time of this process (`pamiq_core.time`), as far as a run has a say in it."""

import time as wall
from dataclasses import dataclass
from typing import Self

from pamiq_core import time
from pamiq_core.time import get_global_time_controller

type Stood = tuple[float, float | None]
"""Seconds of the pauses before, and when the pause began that goes on, wall clock, s; None for none."""


def set_behind(seconds: float, since: float | None = None) -> None:
    """Sets system time behind the wall clock by what the run has stood still so far, for a process that joins later.

    Args:
        seconds: How far, before the pause that may be going on.
        since: When that began, wall clock, s: system time stands still from the beginning then; None for no pause.
    """
    if since is not None:
        seconds += wall.time() - since
    get_global_time_controller().load_state_dict(
        {
            "scaled_anchor_time": wall.time() - seconds,
            "scaled_anchor_monotonic": wall.monotonic() - seconds,
            "scaled_anchor_perf_counter": wall.perf_counter() - seconds,
        }
    )
    if since is not None:
        time.pause()


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockReading:
    """How system time goes in one process, for another one to go by.

    Attributes:
        taken: Moment of the reading, wall clock, s.
        time: `pamiq_core.time.time()` then.
        monotonic: `pamiq_core.time.monotonic()` then.
        perf_counter: `pamiq_core.time.perf_counter()` then.
        scale: Seconds of system time a second.
    """

    taken: float
    time: float
    monotonic: float
    perf_counter: float
    scale: float

    @classmethod
    def take(cls) -> Self:
        """Reads the clock of this process."""
        return cls(
            taken=wall.time(),
            time=time.time(),
            monotonic=time.monotonic(),
            perf_counter=time.perf_counter(),
            scale=time.get_time_scale(),
        )

    def apply(self) -> None:
        """Has the clock of this process go as if it had been the other one's ever since the reading."""
        passed = (wall.time() - self.taken) * self.scale
        time.set_time_scale(self.scale)
        get_global_time_controller().load_state_dict(
            {
                "scaled_anchor_time": self.time + passed,
                "scaled_anchor_monotonic": self.monotonic + passed,
                "scaled_anchor_perf_counter": self.perf_counter + passed,
            }
        )
