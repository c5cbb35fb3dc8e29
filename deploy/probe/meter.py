"""How far work is, and early on how long it will take."""

import time

from rich.progress import Progress, TaskID

from evaluator.protocols.features import Watch

_ESTIMATE_AFTER = 2.0
"""Seconds after which the rest is estimated."""

_WORTH_SAYING = 20.0
"""Seconds below which nobody wants an estimate."""


class Meter:
    """Shows it.

    Args:
        progress: Where.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, tuple[TaskID, float, int]] = {}
        self._told: set[str] = set()

    def of(self, name: str) -> Watch:
        """Gives the watch of one encoder's work."""
        return lambda what, done, total: self(f"{what} ({name})", done, total)

    def __call__(self, what: str, done: int, total: int) -> None:
        """Notes that `done` of `total` is done."""
        if what not in self._tasks:
            self._tasks[what] = (self._progress.add_task(what, total=total), time.monotonic(), done)
        task, began, first = self._tasks[what]
        self._progress.update(task, completed=done, total=total)
        passed = time.monotonic() - began
        if what not in self._told and passed > _ESTIMATE_AFTER and done > first:
            self._told.add(what)
            left = passed / (done - first) * (total - done)
            if left > _WORTH_SAYING:
                self._progress.console.print(f"{what}: {done} of {total}, {_about(left)} to go")


def _about(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"about {seconds / size:.0f} {unit}"
    return f"about {seconds:.0f} s"
