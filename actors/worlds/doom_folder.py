"""What an engine leaves on the machine, a folder and shared memory, and who may remove it.

An owner holds a lock on its engine's folder, which goes with the owner, however that ends. Ids of processes would not
do: containers may share a folder for temporary files, and each has ids of its own.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "engram-doom-"
INSTANCE = "instance"
"""File in a folder with what the names of the engine's shared memory end with; doom_child writes it."""
_SHARED_MEMORY = Path("/dev/shm")  # nosec B108


class EngineFolder:
    """The folder in which one engine runs, of this process as long as it lives.

    Attributes:
        path: Where it is.
    """

    def __init__(self) -> None:
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
            try:
                self._lock = _take(self.path)
            except (BlockingIOError, FileNotFoundError):  # taken for a leftover before it was locked
                continue
            if self.path.exists():
                return
            os.close(self._lock)

    def remove(self) -> None:
        """Removes it and the engine's shared memory, which stays if the engine was killed; call it once."""
        _remove(self.path)
        os.close(self._lock)


def sweep_leftovers() -> None:
    """Removes the folders and the shared memory of engines whose owners were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # it has an owner, or is another user's
            lock = _take(path)
            _remove(path)
            os.close(lock)


def _take(path: Path) -> int:
    """Locks a folder.

    Raises:
        BlockingIOError: It has an owner.
        OSError: It cannot be opened.
    """
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        instance = (path / INSTANCE).read_text("ascii")
        if instance.isalnum():
            for block in _SHARED_MEMORY.glob(f"ViZDoom*{instance}"):
                block.unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)
