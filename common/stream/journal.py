"""An actor's counters in a small memory-mapped file: they survive SIGKILL, so after a death the gap is the loss."""

import mmap
import struct
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from common.errors import StreamError

_MAGIC = 0x4D4152474E45
_PAIR = struct.Struct("=qq")


class DropCause(StrEnum):
    """Why a captured frame never reached the server."""

    SPOOL_FULL = "spool_full"
    """Redis was away for longer than the spool lasts; the oldest went."""
    DIED = "died"
    """It was in the memory of a process that was killed."""
    REJECTED = "rejected"
    """It cannot be packed, or no reader would take it."""
    CLOSED = "closed"
    """It was still waiting when the actor was told to stop and the server did not answer."""
    UNFIT = "unfit"
    """It shows nothing that may be learned of, such as a loading screen (`common.messages.Unfit`)."""


class CaptureJournal:
    """Counters of one actor over its whole life, in a file that only this actor writes.

    Not locked: the stream writer, its only user, holds its own lock around a change.

    Args:
        path: The file; made if it does not exist.
        life: Processes that the actor has lived in, this one included, where the file may know of fewer: earlier ones
            may have been on other hosts.

    Raises:
        StreamError: The file is not a journal.
    """

    _SLOTS = ("magic", "captured", "written", "acked", "generation", *DropCause)
    _MAGIC, _CAPTURED, _WRITTEN, _ACKED, _GENERATION = range(5)
    _CAUSES: ClassVar = {cause: slot for slot, cause in enumerate(DropCause, 5)}

    def __init__(self, path: Path, *, life: int = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        size = 8 * len(self._SLOTS)
        path.touch(0o600)
        with path.open("r+b", buffering=0) as file:
            content = file.read(size + 1)
            # All zeros: the host lost power before the first page reached the disk.
            fresh = len(content) in (0, size) and not any(content)
            if fresh:
                file.seek(0)
                file.write(bytes(size))  # takes its place on the disk now: a full one must not kill later
            elif len(content) != size:
                raise StreamError(f"{path} is not a capture journal: move it away")
            self._map = mmap.mmap(file.fileno(), size)
        self._slots = memoryview(self._map).cast("q")
        if fresh:
            self._slots[self._MAGIC] = _MAGIC
        elif self._slots[self._MAGIC] != _MAGIC:
            raise StreamError(f"{path} is not a capture journal: move it away")
        self._slots[self._GENERATION] = max(self._slots[self._GENERATION] + 1, life)

    @property
    def generation(self) -> int:
        """How many processes this actor has lived in, this one included."""
        return self._slots[self._GENERATION]

    @property
    def captured(self) -> int:
        """The last `seq` given."""
        return self._slots[self._CAPTURED]

    @captured.setter
    def captured(self, value: int) -> None:
        self._slots[self._CAPTURED] = value

    @property
    def written(self) -> int:
        """Entries that the server has acknowledged; the next entry's `ord`."""
        return self._slots[self._WRITTEN]

    @property
    def acked(self) -> int:
        """The `seq` of the last acknowledged entry."""
        return self._slots[self._ACKED]

    @property
    def dropped(self) -> dict[str, int]:
        """Frames given up, by cause."""
        return {str(cause): self._slots[slot] for cause, slot in self._CAUSES.items()}

    @property
    def unsettled(self) -> int:
        """Frames neither written nor dropped."""
        return self.captured - self.written - sum(self.dropped.values())

    def acknowledge(self, seq: int) -> None:
        """Records that the entry with this `seq` is in the stream."""
        # Side by side and in one call: a death between the two would give the next entry the `ord` of this one.
        _PAIR.pack_into(self._map, 8 * self._WRITTEN, self.written + 1, seq)

    def drop(self, cause: DropCause, count: int = 1) -> None:
        """Records frames that are given up; a negative count takes that back."""
        self._slots[self._CAUSES[cause]] += count

    def catch_up(self, last: int, written: int, since: int) -> None:
        """Goes on where an earlier journal of this actor, lost with its host, had ended.

        Args:
            last: The last `seq` that the server has of this actor.
            written: Entries that the server has ever had of it.
            since: Frames captured in the meantime, whose numbers move up behind `last`.
        """
        lost = last - (self.captured - since) - (written - self.written)
        self.captured = last + since
        _PAIR.pack_into(self._map, 8 * self._WRITTEN, written, last)
        self.drop(DropCause.DIED, lost)

    def close(self) -> None:
        """Writes the file out and lets it go."""
        self._slots.release()
        self._map.flush()
        self._map.close()
