"""Follows VRChat's own log while VRChat writes it.

A new file begins with each start of VRChat. A log that is there already is read from its last journey on, so that a
huge one costs nothing. Lines are given out whole; a half-written one waits for its rest.
"""

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from actors.worlds.vrchat.lines import Sign, read_line
from actors.worlds.vrchat.whereabouts import Whereabouts
from common.messages import Unfit

_FOLDER = Path("AppData/LocalLow/VRChat/VRChat")
_PROTON = Path("steamapps/compatdata/438100/pfx/drive_c/users/steamuser") / _FOLDER
_STEAM = (".local/share/Steam", ".steam/steam", ".steam/root", ".var/app/com.valvesoftware.Steam/.local/share/Steam")
_FILES = "output_log_*.txt"

_BLOCK = 2**20
"""Bytes that are read at one step, so that the step stays short."""
_LONGEST = 2**16
"""Bytes of a line; a longer one is none that tells anything and is passed over."""
_JOURNEY = b"[Behaviour] Joining "
_BEFORE, _LINE = 64, 512
"""Bytes that a line has at most before these words, and of which one tells from there on whether it is a journey."""
_FOREIGN = 200
"""Lines of which none had the known form, after which the log is said to be of an unknown one."""
_LISTED = 1.0

_log = logging.getLogger(__name__)


def log_folder() -> Path | None:
    """Finds the folder of VRChat's logs: of this user on Windows, or in Steam's Proton prefix; None without one."""
    home = Path.home()
    places = [home / _FOLDER, *(home / steam / _PROTON for steam in _STEAM)]
    return next((place for place in places if place.is_dir()), None)


def newest_log(folder: Path) -> Path | None:
    """Finds the log of VRChat's last start; None where there is none."""
    # By name, which holds the time of the start: other times change when files are copied.
    return max(folder.glob(_FILES), default=None, key=lambda path: path.name)


class VRChatLog:
    """Says where the player is. Never raises: what cannot be read is said once, and nothing is known then.

    Args:
        folder: Where the logs are; None finds it, now or later.
        settle: See `Whereabouts`.
        silence: Seconds without a new line after which VRChat counts as gone; 0 for never.

    Attributes:
        passed_over: Lines that were too long to be read.
    """

    def __init__(self, folder: Path | None, *, settle: float, silence: float) -> None:
        self._given = folder
        self._silence = silence
        self._whereabouts = Whereabouts(settle)
        self._path: Path | None = None
        self._file: BinaryIO | None = None
        self._offset = 0
        self._half = b""
        self._skips = False
        self._listed = -_LISTED
        self._size = 0
        self._grew = 0.0
        self._known = self._foreign = 0
        self._said = ""
        self.passed_over = 0

    def at(self, now: float) -> tuple[str, Unfit | None]:
        """Reads what is new and says which world a frame of `now` seconds (monotonic) shows: see `Whereabouts.at`."""
        try:
            self._follow(now)
            if self._file is None or not self._read(now):
                return "", Unfit.UNKNOWN_WORLD
        except OSError as error:
            self._say(f"VRChat's log cannot be read: {error.strerror}")
            self.close()
            return "", Unfit.UNKNOWN_WORLD
        if self._silence and now - self._grew > self._silence:
            return "", Unfit.DISCONNECTED
        return self._whereabouts.at(now)

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        if self._file is not None:
            self._file.close()
        self._file, self._path = None, None
        self._whereabouts.forget()

    def _follow(self, now: float) -> None:
        """Once a second, looks which log is the newest."""
        if now - self._listed < _LISTED:
            return
        self._listed = now
        folder = self._given or log_folder()
        newest = newest_log(folder) if folder else None
        if newest is None:
            self._say(
                f"no log of VRChat in {folder}" if folder else "VRChat's logs are not found: set world.vrchat.logs"
            )
            self.close()
        elif newest != self._path:
            self._open(newest, now)

    def _open(self, path: Path, now: float) -> None:
        self.close()
        # Kept open for reading only, which does not keep VRChat from writing to it.
        self._file = path.open("rb", buffering=0)
        self._path = path
        status = os.fstat(self._file.fileno())
        self._begin_at(_last_journey(self._file, status.st_size))
        self._size = status.st_size
        self._grew = now - max(0.0, time.time() - status.st_mtime)
        self._known = self._foreign = 0
        self._said = ""

    def _begin_at(self, offset: int) -> None:
        self._offset, self._half, self._skips = offset, b"", False
        self._whereabouts.forget()

    def _read(self, now: float) -> bool:
        """Reads at most a block; says whether nothing is left to read."""
        assert self._file is not None
        size = os.fstat(self._file.fileno()).st_size
        if size < self._offset:
            self._begin_at(_last_journey(self._file, size))
        if size != self._size:
            self._size = size
            self._grew = now
        self._file.seek(self._offset)
        block = self._file.read(_BLOCK)
        self._offset += len(block)
        for line in self._lines(block):
            self._hear(line, now)
        return self._offset >= size

    def _lines(self, block: bytes) -> Iterator[str]:
        *whole, rest = (self._half + block).split(b"\n")
        for line in whole:
            if self._skips or len(line) > _LONGEST:
                self._skips = False
                self.passed_over += 1
            else:
                yield line.decode("utf-8", "replace").rstrip("\r")
        if len(rest) > _LONGEST:
            self._skips, rest = True, b""
        self._half = rest

    def _hear(self, line: str, now: float) -> None:
        event = read_line(line)
        if event is None:
            self._foreign += bool(line.strip())
            if self._foreign == _FOREIGN and not self._known:
                self._say("VRChat's log has a form that is not known: no world can be told")
            return
        self._known += 1
        if event.sign is not Sign.OTHER:
            self._whereabouts.hear(event, now)

    def _say(self, what: str) -> None:
        if what != self._said:
            _log.warning("%s", what)
            self._said = what


def _last_journey(file: BinaryIO, size: int) -> int:
    """Finds the line by which the last world was joined, from the end of the file; 0 if there is none."""
    start = size
    while start > 0:
        end, start = start, max(0, start - _BLOCK)
        file.seek(start)
        block = file.read(end - start + _LINE)
        at = len(block)
        while (at := block.rfind(_JOURNEY, 0, at)) >= 0:
            # Names may hold these words too: only a line that begins with them counts.
            file.seek(max(0, start + at - _BEFORE))
            before = file.read(min(_BEFORE, start + at))
            line = before[before.rfind(b"\n") + 1 :]
            event = read_line((line + block[at : at + _LINE]).split(b"\n")[0].decode("utf-8", "replace"))
            if event is not None and event.sign is Sign.JOINING:
                return start + at - len(line)
    return 0
