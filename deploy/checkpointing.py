"""Brings the learner's checkpoints to the run directory: asked for at a steady pace, written on a thread."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import ray
import ray.exceptions

from deploy.rundir import RunDirectory
from learner import archive
from learner import checkpoint as checkpoints
from learner.checkpoint import Checkpoint

_log = logging.getLogger(__name__)


class Checkpointer:
    """Asks, fetches and writes; never waits but in `save` and `close`.

    Args:
        directory: The run directory.
        every: Seconds between checkpoints.
        keep: Newest checkpoints that stay on disk.
        first: Seconds until the first one.
        saved: Called on the thread when one is on disk.
    """

    def __init__(
        self,
        directory: RunDirectory,
        *,
        every: float,
        keep: int,
        first: float,
        saved: Callable[[], object] = lambda: None,
    ) -> None:
        self._directory = directory
        self._saved = saved
        self._every = every
        self._keep = keep
        self._due = time.monotonic() + first
        self._written = 0
        self._asked: list[Any] = []
        self._writing: Future[Path] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")

    def look(self, learners: Sequence[Any]) -> None:
        """Does what is due: asks all ranks of the learner, fetches what they have given, hands it to the thread.

        Raises:
            RunError: The last checkpoint could not be written.
        """
        if self._writing is not None and self._writing.done():
            self._settle()
        if not self._asked and time.monotonic() >= self._due:
            self._due = time.monotonic() + self._every
            self._asked = [learner.snapshot.remote(self._written) for learner in learners]
        if not self._asked or self._writing is not None:
            return
        if ray.wait(self._asked, num_returns=len(self._asked), timeout=0)[1]:
            return
        asked, self._asked = self._asked, []
        try:
            self._writing = self._thread.submit(self._write, checkpoints.gather(cast(list[Checkpoint], ray.get(asked))))
        except ray.exceptions.RayError as error:
            _log.warning("no checkpoint: %s", error)

    def hasten(self) -> None:
        """Takes the next checkpoint as soon as possible."""
        self._due = time.monotonic()

    def forget(self) -> None:
        """Expects no answer any more: the learner that was asked is dead."""
        self._asked = []

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint now.

        Raises:
            RunError: It could not be written.
        """
        self._settle()
        self._write(checkpoint)

    def close(self) -> None:
        """Waits for the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _settle(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def _write(self, checkpoint: Checkpoint) -> Path:
        path = checkpoints.save(checkpoint, self._directory.checkpoints, keep=self._keep)
        archive.write_whole(path, checkpoint.whole_ledger(), self._directory.path / "ledger.parquet")
        self._written = int(checkpoint.state["number"])
        self._directory.event("checkpoint", step=checkpoint.step, version=checkpoint.state["version"])
        self._saved()
        return path
