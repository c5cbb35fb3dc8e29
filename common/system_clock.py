"""The system time of this process (`pamiq_core.time`), as far as a run has a say in it."""

import time as wall

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
