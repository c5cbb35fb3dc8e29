"""What evaluators are told of the learner's ledger: with every version, inside its `full` payload.

    Ledger.news(version) ─► pack ─► payload, tensor `ledger` ─► LedgerNews.unpack ─► ExposureTable.take

Readers skip versions, so each message holds every row that the learner has in memory: a row stays there while frames of
its experience are in the buffer, and at least `learner.ledger.LINGER` versions after its last change. `since` tells
whether a row may have left unseen: a reader that took a version from `since` on has lost nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, cast

import msgpack
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.errors import WireError

LEDGER = "ledger"
"""Name of the tensor in a `full` payload that is no parameter."""

COLUMNS = (
    "admitted_ns",
    "admitted_step",
    "frames",
    "exposures",
    "undone",
    "first_step",
    "first_ns",
    "last_step",
    "last_ns",
)
"""What is told of each experience: see `learner.ledger.Ledger`."""

COUNTED = frozenset({"frames", "exposures", "undone"})
"""Columns that count."""
_LATEST = frozenset({"last_step", "last_ns"})
_LATER = np.iinfo(np.int64).max


def join(
    books: Sequence[tuple[Sequence[str], Mapping[str, NDArray[np.int64]]]],
) -> tuple[list[str], dict[str, NDArray[np.int64]]]:
    """Makes one ledger of those of several ranks, each of which had a share of every experience's frames.

    Counts are added up; of first times the earliest counts and of last ones the latest; −1 stays where there is none.

    Args:
        books: Of each rank, the ids of its experiences, each once, and columns by name.

    Returns:
        The ids of all, in order of admission, and their columns.
    """
    rows: dict[str, int] = {}
    for experiences, _ in books:
        for experience in experiences:
            rows.setdefault(experience, len(rows))
    places = [np.array([rows[experience] for experience in experiences], np.int64) for experiences, _ in books]
    joined: dict[str, NDArray[np.int64]] = {}
    for name in books[0][1]:
        combine, nothing = _rule(name)
        whole = np.full(len(rows), nothing, np.int64)
        for place, (_, columns) in zip(places, books, strict=True):
            found = columns[name]
            whole[place] = combine(whole[place], np.where(found < 0, nothing, found))
        joined[name] = np.where(whole == _LATER, -1, whole)
    order = np.argsort(joined["admitted_ns"], kind="stable")
    ids = list(rows)
    return [ids[row] for row in order], {name: whole[order] for name, whole in joined.items()}


def _rule(column: str) -> tuple[np.ufunc, int]:
    """How two ranks' numbers of an experience become one, and the number that changes nothing."""
    if column in COUNTED:
        return np.add, 0
    return (np.maximum, -1) if column in _LATEST else (np.minimum, _LATER)


@dataclass(frozen=True, kw_only=True, eq=False)
class LedgerNews:
    """The rows that the learner has in memory at one version.

    Attributes:
        since: First version whose readers know the last state of every row that is no longer here; 0 where none left.
        experiences: Ids, in order of admission.
        columns: int64 [rows] by name of `COLUMNS`.
    """

    since: int = 0
    experiences: tuple[str, ...] = ()
    columns: Mapping[str, NDArray[np.int64]] = field(default_factory=dict[str, NDArray[np.int64]])

    @classmethod
    def joined(cls, news: Sequence["LedgerNews"]) -> "LedgerNews":
        """Makes one of what several ranks of a learner have at the same version."""
        experiences, columns = join([(one.experiences, one.columns) for one in news])
        return cls(since=max(one.since for one in news), experiences=tuple(experiences), columns=columns)

    def to_bytes(self) -> bytes:
        """Serialises as msgpack, about 150 bytes a row."""
        body = [self.since, list(self.experiences), [self.columns[name].astype("<i8").tobytes() for name in COLUMNS]]
        return cast(Any, msgpack).packb(body)

    def pack(self) -> Tensor:
        """`to_bytes` as a tensor, uint8 [bytes]."""
        return torch.from_numpy(np.frombuffer(self.to_bytes(), np.uint8).copy())  # pyright: ignore[reportUnknownMemberType]

    @classmethod
    def unpack(cls, tensor: Tensor) -> "LedgerNews":
        """Reads what `pack` gave.

        Raises:
            WireError: It is malformed.
        """
        return cls.from_bytes(tensor.numpy().tobytes())

    @classmethod
    def from_bytes(cls, packed: bytes) -> "LedgerNews":
        """Reads what `to_bytes` gave.

        Raises:
            WireError: It is malformed.
        """
        try:
            body: Any = cast(Any, msgpack).unpackb(packed)
            since, experiences, rows = body
            columns = {name: np.frombuffer(column, "<i8") for name, column in zip(COLUMNS, rows, strict=True)}
            lengths = {len(experiences), *(len(column) for column in columns.values())}
            _require(type(since) is int and len(lengths) == 1, f"columns of {sorted(lengths)} rows, since {since!r}")
            _require(all(type(name) is str for name in experiences), "ids that are no text")
            return cls(since=since, experiences=tuple(experiences), columns=columns)
        except Exception as error:  # msgpack raises whatever its input makes it raise
            raise WireError(f"ledger: {type(error).__name__}: {error}") from None


@dataclass(frozen=True, slots=True)
class Exposed:
    """One row of the ledger, as a reader knows it.

    Attributes:
        admitted_ns: Wall clock of the admission of its first frame, ns.
        admitted_step: Optimiser steps done then.
        frames: Frames admitted.
        exposures: Uses of a frame in the gradients that these weights are made of.
        undone: Uses that rollbacks took back.
        first_step: Step of the first use; −1 before it; likewise the next three.
        first_ns: Its wall clock, ns.
        last_step: Step of the last use.
        last_ns: Its wall clock, ns.
    """

    admitted_ns: int
    admitted_step: int
    frames: int
    exposures: int
    undone: int
    first_step: int
    first_ns: int
    last_step: int
    last_ns: int


class ExposureTable:
    """The ledger on the evaluator's side, exact as of the last version that was taken.

    Rows that the learner no longer has in memory stay as they were last seen: they cannot change any more. Where a
    reader was away for so long that one may have changed unseen (`gaps`), or the learner was restarted from an earlier
    checkpoint, rows that were alive at the last look and are gone are forgotten instead, since nobody can say what
    became of them.

    Args:
        keep: Most rows that are kept of those that have left the learner; the oldest go first.

    Attributes:
        gaps: Times that rows may have changed unseen; a reader that starts late begins with one.
        blind_ns: Wall clock before which there may have been rows that are not known here, ns; 0 where all are.
    """

    def __init__(self, keep: int = 65536) -> None:
        self._keep = keep
        self._version = 0
        self._alive: dict[str, Exposed] = {}
        self._left: dict[str, Exposed] = {}
        self.gaps = 0
        self.blind_ns = 0

    def __len__(self) -> int:
        """Rows that are known."""
        return len(self._alive) + len(self._left)

    def get(self, experience: str) -> Exposed | None:
        """The row of an experience; None where it is not known to have been admitted."""
        return self._alive.get(experience) or self._left.get(experience)

    def knows(self, experience: str, ended_ns: int) -> bool:
        """Says whether `get` tells all: a None then means that it was never admitted.

        Args:
            experience: Its id.
            ended_ns: Wall clock of its last frame, ns.
        """
        return self.get(experience) is not None or ended_ns > self.blind_ns

    def take(self, version: int, news: LedgerNews, created_ns: int = 0) -> None:
        """Takes in what came with a version, made at `created_ns` by the wall clock."""
        rows = zip(*(news.columns[name].tolist() for name in COLUMNS), strict=True)
        alive = {name: Exposed(*row) for name, row in zip(news.experiences, rows, strict=True)}
        if self._version < news.since:
            self.gaps += 1
            self.blind_ns = max(self.blind_ns, created_ns)
        else:
            self._left |= {name: row for name, row in self._alive.items() if name not in alive}
        for name in alive.keys() & self._left.keys():  # the learner went back to a checkpoint that has it in memory
            del self._left[name]
        for name in list(self._left)[: max(0, len(self._left) - self._keep)]:
            lost = self._left.pop(name)
            self.blind_ns = max(self.blind_ns, lost.admitted_ns, lost.last_ns)
        self._alive, self._version = alive, version

    def state(self, experiences: Iterable[str]) -> dict[str, Any]:
        """Gives what is known of some experiences as plain JSON, for a reader that is started anew."""
        names = list(experiences)
        rows = {
            part: {name: astuple(table[name]) for name in names if name in table}
            for part, table in (("alive", self._alive), ("left", self._left))
        }
        return {"version": self._version, "gaps": self.gaps, "blind_ns": self.blind_ns, **rows}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state` gave."""
        self._version, self.gaps, self.blind_ns = int(state["version"]), int(state["gaps"]), int(state["blind_ns"])
        self._alive = {name: Exposed(*row) for name, row in state["alive"].items()}
        self._left = {name: Exposed(*row) for name, row in state["left"].items()}


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)
