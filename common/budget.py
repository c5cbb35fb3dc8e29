"""Keeps a thread at its share of a core: measuring, for instance, must not slow down what is measured."""

import time
from collections.abc import Callable

type Clock = Callable[[], float]
"""Seconds since some fixed moment."""


def cpu_clock(threads: int) -> Clock:
    """Picks the clock of CPU seconds: of this thread, or of the process where torch computes in several threads."""
    return time.thread_time if threads == 1 else time.process_time


class Budget:
    """A token bucket of CPU seconds.

    Credit grows by `share` CPU seconds a wall second, up to `burst`, and falls by what was used. `pause` sleeps until
    the credit is back at zero. At the end of each `pause`, for every earlier moment s and now t:

        cpu(s, t) ≤ share × (t − s) + burst

    Since credit starts at zero, the average since the start never lies above `share` after a `pause`. Call it after
    each slice of work (about 100 ms) from the thread whose CPU time is counted.

    Args:
        share: CPU seconds a wall second; 1 or more never sleeps on one thread.
        burst: Most CPU seconds that idle time can save up.
        wall: Clock of wall seconds.
        cpu: Clock of CPU seconds.
        sleep: Waits for some seconds; an `Event.wait` makes the wait end early on shutdown.
    """

    def __init__(
        self,
        share: float,
        *,
        burst: float = 0.5,
        wall: Clock = time.monotonic,
        cpu: Clock = time.thread_time,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._share, self._burst = share, burst
        self._wall, self._cpu, self._sleep = wall, cpu, sleep
        self._start_wall = self._last_wall = wall()
        self._start_cpu = self._last_cpu = cpu()
        self._credit = 0.0

    @property
    def used(self) -> float:
        """CPU seconds ÷ wall seconds since the start; 0 before any time has passed."""
        wall = self._wall() - self._start_wall
        return (self._cpu() - self._start_cpu) / wall if wall > 0 else 0.0

    def pause(self) -> None:
        """Sleeps for as long as the thread is ahead of its share."""
        self._settle()
        if self._credit < 0:
            self._sleep(-self._credit / self._share)

    def _settle(self) -> None:
        wall, cpu = self._wall(), self._cpu()
        earned = self._share * (wall - self._last_wall)
        self._credit = min(self._burst, self._credit + earned - (cpu - self._last_cpu))
        self._last_wall, self._last_cpu = wall, cpu


def no_pause() -> None:
    """The pause of who has the machine to itself."""
