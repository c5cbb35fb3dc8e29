"""What was trained on, exactly: per experience, when it was admitted, first and last used, and how often.

Rows live in preallocated columns that double when full, so that recording a batch is a handful of NumPy calls.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.messages import Datum

NEVER = -1
"""Step of an experience that was not used in a gradient yet."""

_COLUMNS = (
    "started_ns",
    "admitted_ns",
    "admitted_step",
    "frames",
    "exposures",
    "first_step",
    "first_ns",
    "last_step",
    "last_ns",
)


class Ledger:
    """The learner's book of experiences.

    Columns, one row an experience: `started_ns` capture of its first admitted frame; `admitted_ns`, `admitted_step`
    when that frame was admitted; `frames` admitted; `exposures` uses of a frame in a gradient; `first_step`,
    `first_ns`, `last_step`, `last_ns` of those (−1 before the first). Times are wall clock, ns.
    """

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._visits: list[str] = []
        self._worlds: list[str] = []
        self._columns = {name: np.full(256, NEVER, np.int64) for name in _COLUMNS}
        for name in ("frames", "exposures"):
            self._columns[name][:] = 0

    def __len__(self) -> int:
        """Number of experiences."""
        return len(self._rows)

    @property
    def experiences(self) -> list[str]:
        """Ids of the experiences, in order of admission: row i of every column."""
        return list(self._rows)

    def column(self, name: str) -> NDArray[np.int64]:
        """One column, int64 [rows]; a view."""
        return self._columns[name][: len(self._rows)]

    def admit(self, datum: Datum, *, step: int, now_ns: int) -> int:
        """Notes an admitted frame.

        Args:
            datum: The frame.
            step: Optimiser steps done.
            now_ns: Wall clock, ns.

        Returns:
            The row of its experience.
        """
        row = self._rows.get(datum.experience)
        if row is None:
            row = self._rows[datum.experience] = len(self._rows)
            if row == len(self._columns["frames"]):
                self._grow()
            self._visits.append(datum.visit)
            self._worlds.append(datum.world)
            self._columns["started_ns"][row] = datum.captured_ns
            self._columns["admitted_ns"][row] = now_ns
            self._columns["admitted_step"][row] = step
        self._columns["frames"][row] += 1
        return row

    def expose(self, rows_B: NDArray[np.int32], *, step: int, now_ns: int) -> None:
        """Notes one gradient step.

        Args:
            rows_B: Row of each frame of the batch.
            step: Number of the step, from 1.
            now_ns: Wall clock, ns.
        """
        used, counts = np.unique(rows_B, return_counts=True)
        self._columns["exposures"][used] += counts
        fresh = used[self._columns["first_step"][used] == NEVER]
        self._columns["first_step"][fresh] = step
        self._columns["first_ns"][fresh] = now_ns
        self._columns["last_step"][used] = step
        self._columns["last_ns"][used] = now_ns

    def table(self) -> dict[str, list[Any]]:
        """All columns by name, with `experience`, `visit` and `world` in front."""
        names: dict[str, list[Any]] = {
            "experience": self.experiences,
            "visit": list(self._visits),
            "world": list(self._worlds),
        }
        return names | {name: self.column(name).tolist() for name in _COLUMNS}

    @classmethod
    def from_table(cls, table: Mapping[str, list[Any]]) -> "Ledger":
        """Rebuilds the ledger that gave this table."""
        ledger = cls()
        ledger._rows = {experience: row for row, experience in enumerate(table["experience"])}
        ledger._visits, ledger._worlds = list(table["visit"]), list(table["world"])
        while len(ledger._columns["frames"]) < len(ledger._rows):
            ledger._grow()
        for name in _COLUMNS:
            ledger._columns[name][: len(ledger._rows)] = table[name]
        return ledger

    def _grow(self) -> None:
        for name, column in self._columns.items():
            empty = 0 if name in ("frames", "exposures") else NEVER
            self._columns[name] = np.concatenate([column, np.full_like(column, empty)])
