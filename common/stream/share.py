"""Which of several readers answers for an entry: exactly one, and all of them agree without talking."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """A reader's part of a stream: entry n of an actor belongs to reader n mod `readers`.

    Consecutive frames go to different readers, so that all of them see every experience, and as much of it to within
    one frame. `n` is the entry's `ord`, which has no gaps: what is missed, damaged or unread has an owner too.

    Attributes:
        reader: Number of this reader, from 0.
        readers: How many there are.
    """

    reader: int = 0
    readers: int = 1

    def owns(self, ordinal: int) -> bool:
        """Says whether the entry with this number is this reader's."""
        return ordinal % self.readers == self.reader

    def count(self, start: int, end: int) -> int:
        """How many of the entries from `start` up to and without `end` are this reader's; 0 where there are none."""
        return max(0, self._below(end) - self._below(start))

    def _below(self, ordinal: int) -> int:
        return (ordinal + self.readers - 1 - self.reader) // self.readers
