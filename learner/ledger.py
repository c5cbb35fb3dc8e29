"""What was trained on, exactly: per experience, when it was admitted, first and last used, and how often.

A row has a slot in preallocated columns, so that recording a batch is a handful of NumPy calls. The buffer knows rows
by their slots. Memory is bounded: a row whose experience can be trained on no more is retired, first into a checkpoint,
then, once that is on disk, out of memory; its slot is given to the next. So there are at most as many rows as frames in
the buffer, and those of the last checkpoint's interval and of `LINGER` versions.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.ledger import COLUMNS, COUNTED, LedgerNews, join
from common.messages import Datum

NEVER = -1
"""Step of an experience that was not used in a gradient yet."""
LINGER = 64
"""Versions for which a row stays in memory after its last change, so that evaluators see it: by default 5 minutes."""

_NUMBERS = ("started_ns", *COLUMNS)
_WORDS = ("visit", "world", "actor")
_UNDONE = ("exposures", "first_step", "first_ns", "last_step", "last_ns")
"""Columns that a rollback takes back."""
_FIRST_ROWS = 256

type Table = dict[str, list[Any]]
"""Columns by name, a row an experience."""


class Ledger:
    """The learner's book of experiences.

    Columns, one row an experience: `started_ns` capture of its first admitted frame; `admitted_ns`, `admitted_step`
    when that frame was admitted; `frames` admitted; `exposures` uses of a frame in a gradient; `first_step`,
    `first_ns`, `last_step`, `last_ns` of those (−1 before the first). Times are wall clock, ns.

    A **rollback** takes back the uses after the step it returns to: `exposures` and the columns of first and last use
    are again what they were then, so that they always tell of the weights that there are; what was taken back is added
    to `undone`, the mark of such a row. Steps after a rollback carry numbers that were given before: all steps here are
    those of the weights that there are, `admitted_step` too. So Σ `exposures` + Σ `undone` = frames ever used.
    """

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._words: dict[str, list[str]] = {name: [] for name in _WORDS}
        self._numbers = {name: np.full(_FIRST_ROWS, _empty(name), np.int64) for name in _NUMBERS}
        self._marked: dict[str, NDArray[np.int64]] = {}
        self._mark_version: int | None = None
        self._changed = np.zeros(_FIRST_ROWS, np.int64)  # the first version that tells of a row's state
        self._retired = np.zeros(_FIRST_ROWS, np.int64)  # the checkpoint that a row went into; 0 for none
        self._newest: dict[str, int] = {}  # slot of each actor's newest row: more frames may come
        self._free: list[int] = []
        self._version = 0
        self._since = 0
        self._gone = 0

    def __len__(self) -> int:
        """Experiences in memory."""
        return len(self._rows)

    @property
    def total(self) -> int:
        """Experiences ever admitted, those included that have left memory."""
        return len(self._rows) + self._gone

    @property
    def experiences(self) -> list[str]:
        """Ids of the experiences in memory, in order of admission."""
        return list(self._rows)

    def admit(self, datum: Datum, *, step: int, now_ns: int) -> int:
        """Notes an admitted frame.

        Args:
            datum: The frame.
            step: Optimiser steps done.
            now_ns: Wall clock, ns.

        Returns:
            The slot of its experience.
        """
        slot = self._rows.get(datum.experience)
        if slot is None:
            slot = self._rows[datum.experience] = self._take_slot(datum)
            self._numbers["started_ns"][slot] = datum.captured_ns
            self._numbers["admitted_ns"][slot] = now_ns
            self._numbers["admitted_step"][slot] = step
            self._newest[datum.actor] = slot
        self._numbers["frames"][slot] += 1
        self._changed[slot] = self._version + 1
        return slot

    def expose(self, rows_B: NDArray[np.int32], *, step: int, now_ns: int) -> None:
        """Notes one gradient step.

        Args:
            rows_B: Slot of each frame of the batch.
            step: Number of the step, from 1.
            now_ns: Wall clock, ns.
        """
        used, counts = np.unique(rows_B, return_counts=True)
        self._numbers["exposures"][used] += counts
        fresh = used[self._numbers["first_step"][used] == NEVER]
        self._numbers["first_step"][fresh] = step
        self._numbers["first_ns"][fresh] = now_ns
        self._numbers["last_step"][used] = step
        self._numbers["last_ns"][used] = now_ns
        self._changed[used] = self._version + 1

    def mark(self) -> None:
        """Remembers what was used so far, for `undo`."""
        self._marked = {name: self._numbers[name].copy() for name in _UNDONE}
        self._mark_version = self._version

    def undo(self, step: int) -> int:
        """Takes back every use since the last `mark`.

        Args:
            step: Optimiser steps of the weights that there are now.

        Returns:
            Uses taken back.
        """
        taken = self._numbers["exposures"] - self._marked["exposures"]
        self._numbers["undone"] += taken
        for name, column in self._marked.items():
            self._numbers[name][:] = column
        slots = self._slots()
        late = slots[self._numbers["admitted_step"][slots] > step]
        self._numbers["admitted_step"][late] = step
        self._changed[late] = self._changed[taken > 0] = self._version + 1
        return int(taken.sum())

    def news(self, version: int) -> LedgerNews:
        """Says what evaluators are told with this version, the next one."""
        self._version = version
        slots = self._slots()
        columns = {name: self._numbers[name][slots] for name in COLUMNS}
        return LedgerNews(since=self._since, experiences=tuple(self._rows), columns=columns)

    def unsettled(self, in_buffer: NDArray[np.int32]) -> set[str]:
        """Finds the experiences in memory that something may still change.

        The others are over (their actor has begun another), have no frame in the buffer, and have not changed for
        `LINGER` versions nor since the last `mark`.

        Args:
            in_buffer: Slots of the frames in the buffer.
        """
        asleep = self._changed <= self._version - LINGER
        if self._mark_version is not None:
            asleep &= self._changed <= self._mark_version
        asleep[in_buffer] = False
        asleep[list(self._newest.values())] = False
        return {name for name, slot in self._rows.items() if not asleep[slot]}

    def retire(self, unsettled: Collection[str], *, checkpoint: int) -> None:
        """Chooses the rows that leave memory once the checkpoint with this number is on disk.

        Args:
            unsettled: Experiences that stay: those of `unsettled`, on any of the ranks that train together.
            checkpoint: Number of the checkpoint that is being taken, above 0.
        """
        for name, slot in self._rows.items():
            if not self._retired[slot] and name not in unsettled:
                self._retired[slot] = checkpoint

    def forget(self, checkpoint: int) -> None:
        """Drops the rows that went into checkpoints up to this one: it is on disk."""
        gone = [(name, slot) for name, slot in self._rows.items() if 0 < self._retired[slot] <= checkpoint]
        for name, slot in gone:
            del self._rows[name]
            self._since = max(self._since, int(self._changed[slot]))
            self._retired[slot] = 0
            self._free.append(slot)
        self._gone += len(gone)

    def table(self) -> Table:
        """All rows that are not retired; `slot` is theirs, `experience`, `visit`, `world` and `actor` are words."""
        return self._table([(name, slot) for name, slot in self._rows.items() if not self._retired[slot]])

    def retired(self) -> Table:
        """The rows that are retired and still in memory: what checkpoints have to keep."""
        return self._table([(name, slot) for name, slot in self._rows.items() if self._retired[slot]])

    @classmethod
    def from_table(cls, table: Mapping[str, list[Any]], *, version: int = 0, gone: int = 0) -> "Ledger":
        """Rebuilds the ledger that gave this table.

        Args:
            table: What `table` gave.
            version: Newest version that anybody may have seen: what came between the table and it is not known here.
            gone: Experiences that had left memory before.
        """
        ledger = cls()
        slots: list[int] = table["slot"]
        ledger._rows = dict(zip(table["experience"], slots, strict=True))
        top = max(slots, default=-1) + 1
        ledger._free = sorted(set(range(top)) - set(slots), reverse=True)
        while len(ledger._changed) < top:
            ledger._grow()
        for name in _WORDS:
            words = dict(zip(slots, table[name], strict=True))
            ledger._words[name] = [words.get(slot, "") for slot in range(top)]
        for name in _NUMBERS:
            ledger._numbers[name][slots] = table[name]
        ledger._newest = dict(zip(table["actor"], slots, strict=True))  # of equal actors the last one stays
        ledger._version, ledger._gone = version, gone
        ledger._since = version + 1 if slots else 0
        ledger._changed[slots] = version + 1
        return ledger

    def _table(self, rows: Collection[tuple[str, int]]) -> Table:
        slots = [slot for _, slot in rows]
        words = {name: [column[slot] for slot in slots] for name, column in self._words.items()}
        numbers = {name: column[slots].tolist() for name, column in self._numbers.items()}
        return {"experience": [name for name, _ in rows], "slot": slots, **words, **numbers}

    def _slots(self) -> NDArray[np.int64]:
        return np.fromiter(self._rows.values(), np.int64, len(self._rows))

    def _take_slot(self, datum: Datum) -> int:
        words = {"visit": datum.visit, "world": datum.world, "actor": datum.actor}
        if not self._free:
            slot = len(self._words["visit"])
            if slot == len(self._changed):
                self._grow()
            for name, word in words.items():
                self._words[name].append(word)
            return slot
        slot = self._free.pop()
        for name, word in words.items():
            self._words[name][slot] = word
        for columns in (self._numbers, self._marked):
            for name, column in columns.items():
                column[slot] = _empty(name)
        return slot

    def _grow(self) -> None:
        for columns in (self._numbers, self._marked):
            for name, column in columns.items():
                columns[name] = np.concatenate([column, np.full_like(column, _empty(name))])
        self._changed = np.concatenate([self._changed, np.zeros_like(self._changed)])
        self._retired = np.concatenate([self._retired, np.zeros_like(self._retired)])


def _empty(name: str) -> int:
    return 0 if name in COUNTED else NEVER


def joined(tables: Sequence[Mapping[str, list[Any]]]) -> Mapping[str, list[Any]]:
    """Makes one table, without slots, of those of several ranks; a single one stays as it is."""
    if len(tables) == 1:
        return tables[0]
    books = [(table["experience"], {name: np.array(table[name], np.int64) for name in _NUMBERS}) for table in tables]
    experiences, numbers = join(books)
    whole: Table = {"experience": experiences, **{name: column.tolist() for name, column in numbers.items()}}
    for name in _WORDS:
        words = {key: word for table in tables for key, word in zip(table["experience"], table[name], strict=True)}
        whole[name] = [words[experience] for experience in experiences]
    return whole
