"""Brings the states of actors, evaluator and curiosity to the run directory, so that who is started anew goes on."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import ray
import ray.exceptions

from actors.belongings import check_name
from deploy.rundir import RunDirectory
from deploy.supervision import Part

EVALUATOR = "evaluator.safetensors"
"""Name of the evaluator's file: it holds pictures."""

_log = logging.getLogger(__name__)


def file_of(part: str) -> str:
    """Where a part's last state is, below the run directory; each state replaces the one before."""
    return EVALUATOR if part == "evaluator" else f"states/{part}.state"


def read_state(directory: RunDirectory, part: str) -> bytes | None:
    """Gives the last state of a part that was written; None where there is none."""
    path = directory.path / file_of(part)
    return path.read_bytes() if path.exists() else None


def bring_home(directory: RunDirectory, belongings: Mapping[str, bytes] | None) -> bool:
    """Writes what an actor has handed over in a cluster, in place of what it had brought along.

    Args:
        directory: The run directory.
        belongings: Contents by name; None where it handed over nothing.

    Returns:
        Whether all of it is here now.
    """
    if belongings is None:
        return False
    try:
        for name, content in belongings.items():
            directory.write_atomic(f"{directory.actors.name}/{check_name(name)}", content)
    except OSError as error:
        _log.warning("what an actor has written stays on its host: %s", error)
        return False
    return True


@dataclass
class _Kept:
    """How far one part's state has got."""

    due: float
    asked: Any = None
    writing: Future[None] | None = None


class StateKeeper:
    """Asks, fetches and writes; never waits but in `save` and `close`.

    A state that cannot be written is no reason to end a run: the last one stays.

    Args:
        directory: The run directory.
        every: Seconds between two states of a part.
    """

    def __init__(self, directory: RunDirectory, *, every: float) -> None:
        self._directory, self._every = directory, every
        self._kept: dict[str, _Kept] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="states")

    def look(self, parts: Mapping[str, Part]) -> None:
        """Does what is due: asks parts, fetches what they have given, hands it to the thread.

        Args:
            parts: By the name under which their states are kept.
        """
        for name, part in parts.items():
            self._look(self._kept.setdefault(name, _Kept(time.monotonic() + self._every)), name, part)

    def _look(self, kept: _Kept, name: str, part: Part) -> None:
        if kept.asked is None and time.monotonic() >= kept.due:
            kept.due = time.monotonic() + self._every
            kept.asked = part.handle.state.remote()
        busy = kept.writing is not None and not kept.writing.done()
        if kept.asked is None or busy or not ray.wait([kept.asked], timeout=0)[0]:
            return
        asked, kept.asked = kept.asked, None
        try:
            content = cast("bytes | None", ray.get(asked))
        except ray.exceptions.RayError as error:
            _log.warning("no state of %s: %s", part.name, error)
            return
        if content is not None:
            kept.writing = self._thread.submit(self._write, name, content)

    def hasten(self) -> None:
        """Takes all next states as soon as possible."""
        for kept in self._kept.values():
            kept.due = time.monotonic()

    def forget(self, part: str) -> None:
        """Expects no answer of a part any more: it is dead."""
        if part in self._kept:
            self._kept[part].asked = None

    def save(self, part: str, content: bytes | None) -> None:
        """Writes a last state now; None keeps the one before."""
        if content is not None:
            self._thread.submit(self._write, part, content).result()

    def close(self) -> None:
        """Waits for the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _write(self, part: str, content: bytes) -> None:
        try:
            (self._directory.path / file_of(part)).parent.mkdir(exist_ok=True)
            self._directory.write_atomic(file_of(part), content)
        except OSError as error:
            _log.warning("cannot write the state of %s (%s); the one before stays", part, error)
