"""How often networks go out to those who act by them."""

import time


class SyncPace:
    """Lets a moment pass at most every so many seconds.

    Args:
        every: Seconds of wall clock; 0 lets every moment pass.
    """

    def __init__(self, every: float) -> None:
        self._every = every
        self._last = float("-inf")

    def due(self) -> bool:
        """Says whether enough time has passed since the last moment that was let pass."""
        now = time.monotonic()
        if now - self._last < self._every:
            return False
        self._last = now
        return True
