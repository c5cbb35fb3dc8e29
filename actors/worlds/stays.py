"""Visits of an actor that does not choose its worlds: it finds itself in them."""

from collections.abc import Callable

GAP = 1.0
"""Seconds without a good frame after which a stay is no longer unbroken."""


class Stays:
    """Numbers unbroken stays: a new one begins with another world, and with the first good frame after a gap.

    Args:
        clock: Seconds of system time.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._world: str | None = None
        self._visit = -1
        self._began = 0.0
        self._good = 0.0

    def at(self, world: str, *, fit: bool) -> tuple[int, float]:
        """Says which visit a frame belongs to, and how many seconds into it, given its world and whether it is good."""
        now = self._clock()
        if self._visit < 0 or (fit and (world != self._world or now - self._good > GAP)):
            self._world, self._visit, self._began, self._good = world, self._visit + 1, now, now
        if fit:
            self._good = now
        return self._visit, now - self._began
