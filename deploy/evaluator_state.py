"""Brings the evaluator's state to the run directory, so that one that is started anew follows the same experiences."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, cast

import ray
import ray.exceptions

from deploy.rundir import RunDirectory
from deploy.supervision import Part

STATE = "evaluator.safetensors"
"""Name of the file; each state replaces the one before."""

_log = logging.getLogger(__name__)


def read_state(directory: RunDirectory) -> bytes | None:
    """Gives the last state that was written; None where there is none."""
    path = directory.path / STATE
    return path.read_bytes() if path.exists() else None


class EvaluatorKeeper:
    """Asks, fetches and writes; never waits but in `save` and `close`.

    A state that cannot be written is no reason to end a run: the last one stays.

    Args:
        directory: The run directory.
        every: Seconds between two states.
    """

    def __init__(self, directory: RunDirectory, *, every: float) -> None:
        self._directory, self._every = directory, every
        self._due = time.monotonic() + every
        self._asked: Any = None
        self._writing: Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="evaluator-state")

    def look(self, evaluator: Part | None) -> None:
        """Does what is due: asks the evaluator, fetches what it has given, hands it to the thread."""
        if evaluator is not None and self._asked is None and time.monotonic() >= self._due:
            self._due = time.monotonic() + self._every
            self._asked = evaluator.handle.state.remote()
        busy = self._writing is not None and not self._writing.done()
        if self._asked is None or busy or not ray.wait([self._asked], timeout=0)[0]:
            return
        asked, self._asked = self._asked, None
        try:
            content = cast("bytes | None", ray.get(asked))
        except ray.exceptions.RayError as error:
            _log.warning("no state of the evaluator: %s", error)
            return
        if content is not None:
            self._writing = self._thread.submit(self._write, content)

    def hasten(self) -> None:
        """Takes the next state as soon as possible."""
        self._due = time.monotonic()

    def forget(self) -> None:
        """Expects no answer any more: the evaluator that was asked is dead."""
        self._asked = None

    def save(self, content: bytes | None) -> None:
        """Writes the last state now; None keeps the one before."""
        if content is not None:
            self._thread.submit(self._write, content).result()

    def close(self) -> None:
        """Waits for the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _write(self, content: bytes) -> None:
        try:
            self._directory.write_atomic(STATE, content)
        except OSError as error:
            _log.warning("cannot write the evaluator's state (%s); the one before stays", error)
