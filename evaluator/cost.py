"""Where an evaluation's CPU time goes."""

from collections.abc import Generator
from contextlib import contextmanager

from common.budget import Clock


class Cost:
    """Adds up CPU seconds by part; every second counts once, towards the innermost part.

    Args:
        clock: CPU seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._parts: list[str] = []
        self._since = clock()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, part: str) -> Generator[None]:
        """Counts what runs inside towards a part."""
        self._charge()
        self._parts.append(part)
        try:
            yield
        finally:
            self._charge()
            self._parts.pop()

    def _charge(self) -> None:
        now = self._clock()
        if self._parts:
            self.seconds[self._parts[-1]] = self.seconds.get(self._parts[-1], 0.0) + now - self._since
        self._since = now
