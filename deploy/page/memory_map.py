"""Memory of every experience at every evaluation, as rows and columns: bounded, and filled while the rows come.

    evaluations.jsonl ─► MemoryMap.take ─► at most ROWS experiences × COLUMNS evaluations ─► drawn()

What is too much is thinned and never cut off: two neighbouring evaluations share a column, where the later one counts,
and of a kind of experience that has no room left every second one is given up, so that old ones stand wider apart.

Shapes: R experiences, C columns.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evaluator.experience import Kind
from evaluator.memory.measures import Measure
from evaluator.times.rows import ExperienceRow, RowError, VersionRow, read_row

ROOM = {Kind.EXPOSED: 72, Kind.WITHHELD: 32, Kind.PLACEBO: 24}
"""Experiences of each kind that are kept, at most."""
COLUMNS = 128
"""Columns, at most; even."""

type Cell = tuple[float, float]
"""Bits above those of the world's own frames, and above the mean of the placebos; NaN for what is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    kind: Kind
    world: str
    visit: str
    start: float
    end: float


@dataclass(slots=True)
class _Column:
    version: int
    time: float
    evaluations: int = 1
    cells: dict[str, Cell] = field(default_factory=dict[str, Cell])


class MemoryMap:
    """Takes rows and tells what to draw; not for two threads at once."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}
        self._given_up = dict.fromkeys(Kind, -math.inf)
        """By kind, start of the newest experience when some were given up: older ones that are not here stay out."""
        self._columns: list[_Column] = []
        self._stride = 1
        self._worlds: dict[str, bool] = {}
        """Whether the world has frames of its own that experiences are held against."""
        self._head: VersionRow | None = None
        self._of_worlds: Mapping[str, float] = {}
        self._placebo = math.nan
        self.evaluations = 0
        """Evaluations taken so far."""

    def take(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Takes rows of `evaluations.jsonl` in their order; what is malformed or of another schema is left out."""
        for row in rows:
            try:
                match read_row(row, Measure.BITS):
                    case VersionRow() as head:
                        self._begin(head, row)
                    case ExperienceRow() as found if self._head is not None and found.version == self._head.version:
                        self._place(found, self._head)
                    case _:
                        pass
            except RowError:
                continue

    def drawn(self) -> dict[str, Any]:
        """Gives rows by kind, visit and time, and their cells, each carried on until it is measured again.

        Returns:
            `baseline`: `world` or `placebo`; `limit`: the end of the scale, bits; `worlds`: names; `times`: system
            time of each column, s; `versions`; `rows`: kind, world's number, name, start and end, s; `cells`: bits
            above the baseline [R, C], NaN before the first measurement.
        """
        order = self._order()
        worlds = list(self._worlds)
        # As in the report: the world's own frames where every world has them, else the placebos for all.
        by_world = bool(worlds) and all(self._worlds.values())
        cells = np.full((len(order), len(self._columns)), np.nan)
        for number, column in enumerate(self._columns):
            for place, name in enumerate(order):
                if name in column.cells:
                    cells[place, number] = column.cells[name][0 if by_world else 1]
        measured = np.abs(cells[np.isfinite(cells)])
        for number in range(1, len(self._columns)):
            empty = np.isnan(cells[:, number])
            cells[empty, number] = cells[empty, number - 1]
        return {
            "evaluations": self.evaluations,
            "baseline": "world" if by_world else "placebo",
            "limit": float(np.percentile(measured, 98)) or 1.0 if len(measured) else 1.0,
            "worlds": worlds,
            "times": [column.time for column in self._columns],
            "versions": [column.version for column in self._columns],
            "rows": [
                {"name": name, "kind": row.kind, "world": worlds.index(row.world), "start": row.start, "end": row.end}
                for name, row in ((name, self._rows[name]) for name in order)
            ],
            "cells": np.round(cells, 3),
        }

    def _order(self) -> list[str]:
        """Sorts by kind, then by visit, then by time; placebos as they came."""
        kinds = list(Kind)
        began: dict[str, float] = {}
        for row in self._rows.values():
            began[row.visit] = min(row.start, began.get(row.visit, math.inf))

        def place(name: str) -> tuple[int, float, str, float]:
            row = self._rows[name]
            if row.kind is Kind.PLACEBO:
                return kinds.index(row.kind), 0.0, "", 0.0
            return kinds.index(row.kind), began[row.visit], row.visit, row.start

        return sorted(self._rows, key=place)

    def _begin(self, head: VersionRow, row: Mapping[str, Any]) -> None:
        self._head = head
        self.evaluations += 1
        self._of_worlds = head.worlds
        self._placebo = _mean_bits(row)
        last = self._columns[-1] if self._columns else None
        if last is not None and last.evaluations < self._stride:
            last.version, last.time, last.evaluations = head.version, head.system_time, last.evaluations + 1
            return
        if len(self._columns) == COLUMNS:
            self._columns = [_joined(*self._columns[at : at + 2]) for at in range(0, COLUMNS, 2)]
            self._stride *= 2
        self._columns.append(_Column(head.version, head.system_time))

    def _place(self, found: ExperienceRow, head: VersionRow) -> None:
        if found.name not in self._rows and not self._admit(found):
            return
        if found.end > head.system_time or not math.isfinite(found.value):  # not over yet, or not measurable
            return
        of_world = self._of_worlds.get(found.world, math.nan)
        self._worlds[found.world] = self._worlds[found.world] or math.isfinite(of_world)
        self._columns[-1].cells[found.name] = found.value - of_world, found.value - self._placebo

    def _admit(self, found: ExperienceRow) -> bool:
        same = [name for name, row in self._rows.items() if row.kind is found.kind]
        if len(same) >= ROOM[found.kind]:
            if found.kind is Kind.PLACEBO:
                return False
            same.sort(key=lambda name: self._rows[name].start)
            self._given_up[found.kind] = self._rows[same[-1]].start
            for name in same[1::2]:
                self._forget(name)
        if found.start <= self._given_up[found.kind]:
            return False
        self._rows[found.name] = _Row(
            kind=found.kind, world=found.world, visit=found.visit, start=found.start, end=found.end
        )
        self._worlds.setdefault(found.world, False)
        return True

    def _forget(self, name: str) -> None:
        del self._rows[name]
        for column in self._columns:
            column.cells.pop(name, None)


def _joined(first: _Column, second: _Column) -> _Column:
    return _Column(second.version, second.time, first.evaluations + second.evaluations, first.cells | second.cells)


def _mean_bits(row: Mapping[str, Any]) -> float:
    """Mean of the placebos' bits at a version; NaN where there is none."""
    match row.get("memory"):
        case {"placebo": {"bits": {"value": float() as value}}}:
            return value
        case _:
            return math.nan
