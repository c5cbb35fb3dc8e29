"""How long an actor's stream may be: from its share of the byte budget and the sizes of the entries it holds."""

from collections import deque

ENTRY_OVERHEAD = 250
"""Bytes that the server needs for an entry beside its values: names of the fields, lengths, its node in the tree."""


class Retention:
    """Knows the sizes of the newest entries, and so how many of them fit.

    JPEG frames and dicts of tensors have no size that a configuration could foretell, and a mean would be wrong for as
    long as it takes to notice that a world is richer than the last one.

    Args:
        budget: Bytes that the stream may hold.
        length: Entries that it may hold at most.
    """

    def __init__(self, budget: int, length: int) -> None:
        self._budget = budget
        self._limit = length
        self._sizes: deque[int] = deque()
        self._held = 0

    def inherit(self, count: int, size: int) -> None:
        """Accounts for older entries of a stream that is taken over; their size is taken to be `size` bytes."""
        size += ENTRY_OVERHEAD
        fitting = min(count, max(0, self._budget - self._held) // size)
        self._sizes.extendleft([size] * fitting)
        self._held += fitting * size

    def add(self, size: int) -> None:
        """Accounts for a new entry with `size` bytes of values; the newest always fits."""
        self._sizes.append(size + ENTRY_OVERHEAD)
        self._held += self._sizes[-1]
        while len(self._sizes) > 1 and (self._held > self._budget or len(self._sizes) > self._limit):
            self._held -= self._sizes.popleft()

    @property
    def length(self) -> int:
        """Entries that the stream may keep now."""
        return max(1, len(self._sizes))
