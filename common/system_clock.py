"""The system time of this process (`pamiq_core.time`), as far as a run has a say in it."""

import time as wall

from pamiq_core.time import get_global_time_controller


def set_behind(seconds: float) -> None:
    """Sets system time behind the wall clock by what the run has stood still so far, for a process that joins later.

    Args:
        seconds: How far.
    """
    get_global_time_controller().load_state_dict(
        {
            "scaled_anchor_time": wall.time() - seconds,
            "scaled_anchor_monotonic": wall.monotonic() - seconds,
            "scaled_anchor_perf_counter": wall.perf_counter() - seconds,
        }
    )
