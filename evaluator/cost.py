"""Where an evaluation's CPU time goes."""

from collections.abc import Generator
from contextlib import contextmanager

from evaluator.budget import Clock


class Cost:
    """Adds up CPU seconds by part.

    Args:
        clock: CPU seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, part: str) -> Generator[None]:
        """Counts what runs inside towards a part; pauses belong outside."""
        began = self._clock()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + self._clock() - began
