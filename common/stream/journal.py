"""An actor's counters in a small memory-mapped file: they survive SIGKILL, so after a death the gap is the loss."""

import mmap
import os
import struct
from enum import StrEnum
from pathlib import Path

from common.errors import StreamError

_MAGIC = 0x4D4152474E45
_SLOT = struct.Struct("<q")
_PAIR = struct.Struct("<qq")


class DropCause(StrEnum):
    """Why a captured frame never reached the server."""

    SPOOL_FULL = "spool_full"
    """Redis was away for longer than the spool lasts; the oldest went."""
    DIED = "died"
    """It was in the memory of a process that was killed."""
    REJECTED = "rejected"
    """The server refused this entry for a reason other than memory."""
    CLOSED = "closed"
    """It was still waiting when the actor was told to stop and the server did not answer."""


class CaptureJournal:
    """Counters of one actor over its whole life, in a file that only this actor writes.

    Not locked: the stream writer, its only user, holds its own lock around a change.

    Args:
        path: The file; made if it does not exist.

    Raises:
        StreamError: The file is not a journal.
    """

    _NAMES = ("magic", "captured", "written", "acked", "generation", *DropCause)

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        size = _SLOT.size * len(self._NAMES)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fresh = os.fstat(descriptor).st_size == 0
            if fresh:
                os.ftruncate(descriptor, size)
            elif os.fstat(descriptor).st_size != size:
                raise StreamError(f"{path} is not a capture journal: move it away")
            self._map = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        if fresh:
            self._set("magic", _MAGIC)
        elif self._get("magic") != _MAGIC:
            raise StreamError(f"{path} is not a capture journal: move it away")
        self._set("generation", self.generation + 1)

    def _get(self, name: str) -> int:
        return _SLOT.unpack_from(self._map, self._NAMES.index(name) * _SLOT.size)[0]

    def _set(self, name: str, value: int) -> None:
        _SLOT.pack_into(self._map, self._NAMES.index(name) * _SLOT.size, value)

    @property
    def generation(self) -> int:
        """How many processes this actor has lived in, this one included."""
        return self._get("generation")

    @property
    def captured(self) -> int:
        """The last `seq` given."""
        return self._get("captured")

    @captured.setter
    def captured(self, value: int) -> None:
        self._set("captured", value)

    @property
    def written(self) -> int:
        """Entries that the server has acknowledged; the next entry's `ord`."""
        return self._get("written")

    @property
    def acked(self) -> int:
        """The `seq` of the last acknowledged entry."""
        return self._get("acked")

    @property
    def dropped(self) -> dict[str, int]:
        """Frames given up, by cause."""
        return {str(cause): self._get(cause) for cause in DropCause}

    @property
    def unsettled(self) -> int:
        """Frames neither written nor dropped."""
        return self.captured - self.written - sum(self.dropped.values())

    def acknowledge(self, seq: int) -> None:
        """Records that the entry with this `seq` is in the stream."""
        # Side by side and in one call: a death between the two would give the next entry the `ord` of this one.
        _PAIR.pack_into(self._map, self._NAMES.index("written") * _SLOT.size, self.written + 1, seq)

    def drop(self, cause: DropCause, count: int = 1) -> None:
        """Records frames that are given up; a negative count takes that back."""
        self._set(cause, self._get(cause) + count)

    def close(self) -> None:
        """Writes the file out and lets it go."""
        self._map.flush()
        self._map.close()
