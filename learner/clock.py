"""What the learner takes for system time: its own, or that of the recording which it lives through."""

from collections.abc import Callable

from pamiq_core import time

from common.config import RunConfig
from common.messages import Datum


class StreamClock:
    """Stands at the newest system time that the stream has brought; never goes back.

    Args:
        start: Where it begins, seconds.
    """

    def __init__(self, start: float) -> None:
        self._now = start

    def __call__(self) -> float:
        """Seconds of system time."""
        return self._now

    def note(self, datum: Datum) -> None:
        """Moves on to a datum's time."""
        self._now = max(self._now, datum.system_time)


def clock_of(run: RunConfig) -> tuple[Callable[[], float], Callable[[Datum], None]]:
    """Chooses a run's clock.

    Returns:
        The clock, and who is to be told of each datum read.
    """
    if run.playback.recording:
        clock = StreamClock(run.playback.start)
        return clock, clock.note
    return time.time, lambda datum: None
