"""Steps at absolute deadlines: an overrun shortens the next wait instead of shifting all that follow."""

from typing import override

from pamiq_core import time
from pamiq_core.interaction import IntervalAdjustor


class DeadlineAdjustor(IntervalAdjustor):
    """Keeps the mean rate exact, and counts the steps that came late.

    A step that overruns by a whole interval or more gives up the deadlines it slept through instead of catching up in
    a burst of frames.

    Args:
        interval: Seconds between deadlines, in system time.
        tolerance: Share of the interval after its deadline at which a step counts as late.
    """

    def __init__(self, interval: float, tolerance: float = 0.2) -> None:
        super().__init__(interval)
        self._tolerance = tolerance
        self._deadline: float | None = None
        self.late = 0
        self.skipped = 0
        self.waited = 0.0
        """Seconds spent waiting so far."""

    @property
    def interval(self) -> float:
        """Seconds between deadlines."""
        return self._interval

    def restart(self) -> None:
        """Forgets the deadlines, for instance after a pause."""
        self._deadline = None

    @override
    def adjust_impl(self) -> None:
        now = time.perf_counter()
        if self._deadline is None:
            self._deadline = now
        self._deadline += self._interval
        behind = now - self._deadline
        if behind > self._tolerance * self._interval:
            self.late += 1
        if behind >= self._interval:
            missed = int(behind / self._interval)
            self.skipped += missed
            self._deadline += missed * self._interval
        if (remaining := self._deadline - now) > 0:
            time.sleep(remaining)
            self.waited += time.perf_counter() - now
