"""What an engine leaves on the machine, a folder and shared memory, and who may remove it.

An owner holds a lock on its engine's folder, which goes with the owner, however that ends. Ids of processes would not
do: containers may share a folder for temporary files, and each has ids of its own. Where folders cannot be locked
(Windows, some network file systems) what killed owners leave stays.
"""

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

if sys.platform != "win32":
    import fcntl

PREFIX = "engram-game-"
INSTANCE = "instance"
"""File in a folder with what the names of the engine's shared memory end with; doom_child writes it."""
_SHARED_MEMORY = Path("/dev/shm")  # nosec B108
_ID = 10
"""Characters of an instance's id."""


class EngineFolder:
    """The folder in which one engine runs, of this process as long as it lives.

    Attributes:
        path: Where it is.
    """

    def __init__(self) -> None:
        self._lock: int | None = None
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
            try:
                self._lock = _take(self.path)
            except (BlockingIOError, FileNotFoundError):  # taken for a leftover before it was locked
                continue
            except OSError:  # nobody can lock it, so nobody sweeps it
                return
            if self.path.exists():
                return
            os.close(self._lock)

    def remove(self) -> None:
        """Removes it and the engine's shared memory, which stays if the engine was killed; call it once."""
        _remove(self.path)
        if self._lock is not None:
            os.close(self._lock)


def sweep_leftovers() -> None:
    """Removes the folders and the shared memory of this user's engines whose owners were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # it has an owner, or is another user's
            lock = _take(path)
            try:
                _remove(path)
            finally:
                os.close(lock)


def _take(path: Path) -> int:
    """Locks a folder of this user.

    Raises:
        BlockingIOError: It has an owner.
        OSError: It cannot be locked, or is another user's.
    """
    if sys.platform == "win32":
        raise OSError("folders have no locks here")
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(lock).st_uid != os.geteuid():
            raise PermissionError(f"{path} is another user's")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        instance = (path / INSTANCE).read_text("ascii")
        if len(instance) == _ID and instance.isalnum():
            for block in _SHARED_MEMORY.glob(f"ViZDoom*{instance}"):
                block.unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)
