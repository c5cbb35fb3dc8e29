"""One run as continual learning sees it: visits, and place accuracy of every world at every version.

Shapes: V versions, W worlds, C test walks of all worlds, R replicates, N visits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from evaluator.experience import Kind
from evaluator.scores import REPLICATES, SEED, NotMeasurable, Result, Score, interval

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]
type Row = Mapping[str, Any]

SCHEMA = 2
"""Schema of the rows that are read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """One stay in one world.

    Attributes:
        world: Name of the world.
        actor: Who was there.
        start: System time of the first frame that is known of it, s.
        end: System time of the last one, s.
    """

    world: str
    actor: str
    start: float
    end: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """Visits and accuracies of one run.

    a(t, w) is the accuracy, at the version made at system time t, of a linear probe for the places of world w that is
    fitted anew at that version on training walks of w and asked about its test walks. A fall of a(t, w) therefore means
    that the features themselves tell the places of w apart less well, not that a read-out went stale (Davari et al.
    2022, arXiv:2203.13381).

    Attributes:
        time_V: System time at which each version was made, s, ascending.
        worlds: Worlds of the probe set that have a place score; the visited ones first, by their first visits.
        first_W: System time of the first visit; infinite where there was none.
        right_VC: Frames told right in each test walk.
        asked_C: Frames asked in each.
        base_C: Frames told right in each by the random-init encoder.
        world_C: World of each walk.
        visits: All visits by their starts.
        unmeasured: Versions left out for want of place scores.
    """

    time_V: Floats
    worlds: tuple[str, ...]
    first_W: Floats
    right_VC: Floats
    asked_C: Floats
    base_C: Floats
    world_C: Ints
    visits: tuple[Visit, ...]
    unmeasured: int = 0

    @classmethod
    def read(cls, rows: Iterable[Row]) -> "Stream | NotMeasurable":
        """Puts the rows of one run together; of a version measured twice the last one counts."""
        known = list(rows)
        heads = {row["version"]: row for row in known if row.get("schema") == SCHEMA and row.get("row") == "evaluation"}
        ordered = sorted(heads.values(), key=lambda row: (row["system_time"], row["version"]))
        return _assemble(ordered, visits_of(known))

    @cached_property
    def accuracy_VW(self) -> Floats:
        """a(t, w) on all test walks: float64 [V, W]."""
        return self._accuracy(self.right_VC, np.ones((1, len(self.asked_C))))[0]

    @cached_property
    def base_W(self) -> Floats:
        """The same of the random-init encoder: float64 [W]."""
        return self._accuracy(self.base_C[None], np.ones((1, len(self.asked_C))))[0, 0]

    def _accuracy(self, right_VC: Floats, weight_RC: Floats) -> Floats:
        of_world_CW = (self.world_C[:, None] == np.arange(len(self.worlds))).astype(np.float64)
        asked_RW = (weight_RC * self.asked_C) @ of_world_CW
        right_RVW = np.einsum("rc,vc,cw->rvw", weight_RC, right_VC, of_world_CW, optimize=True)
        return right_RVW / asked_RW[:, None]

    def replicates(self, columns: Ints) -> tuple[Floats, Floats]:
        """Accuracies on drawn walks: a at some versions [R, V', W] and the baseline's [R, W], walks drawn in pairs.

        Worlds are strata: of a world's n walks n − 1 are drawn with replacement, so that the variance of a mean comes
        out right also where n is small (Rao & Wu 1988).
        """
        rng = np.random.default_rng(SEED)
        weight_RC = np.ones((REPLICATES, len(self.asked_C)))
        for world in range(len(self.worlds)):
            walks = np.flatnonzero(self.world_C == world)
            if (count := len(walks)) > 1:
                weight_RC[:, walks] = rng.multinomial(count - 1, np.full(count, 1 / count), size=REPLICATES)
        both_RVW = self._accuracy(np.concatenate([self.right_VC[columns], self.base_C[None]]), weight_RC)
        return both_RVW[:, :-1], both_RVW[:, -1]


def visits_of(rows: Iterable[Row]) -> tuple[Visit, ...]:
    """Finds the visits of which an experience was measured, by their starts."""
    stays: dict[str, Visit] = {}
    for row in rows:
        if row.get("schema") == SCHEMA and row.get("row") == "experience" and row["kind"] != Kind.PLACEBO:
            known, start, end = stays.get(row["visit"]), float(row["start"]), float(row["end"])
            stays[row["visit"]] = Visit(
                world=row["world"],
                actor=row["actor"],
                start=min(start, known.start) if known else start,
                end=max(end, known.end) if known else end,
            )
    return tuple(sorted(stays.values(), key=lambda visit: visit.start))


@dataclass(frozen=True, kw_only=True, eq=False)
class Difference:
    """A number that is linear in the accuracies: Σ c(v, w) a(v, w) + Σ d(w) b(w), b the random-init encoder's.

    Where a definition takes the best or worst version, that version is chosen once, on all walks, and replicates keep
    it: an interval then says how well the number at these versions is known, as the delta method would.

    Attributes:
        of_VW: Coefficients c.
        of_base_W: Coefficients d.
    """

    of_VW: Floats
    of_base_W: Floats

    @classmethod
    def zero(cls, stream: Stream) -> "Difference":
        """A number that is 0; coefficients are added to it."""
        shape = (len(stream.time_V), len(stream.worlds))
        return cls(of_VW=np.zeros(shape), of_base_W=np.zeros(shape[1]))

    def score(self, stream: Stream) -> Result:
        """Takes the number with its percentile interval over walks; without an end where a world has one walk only."""
        involved_W = (self.of_VW != 0).any(axis=0) | (self.of_base_W != 0)
        columns = np.flatnonzero((self.of_VW != 0).any(axis=1))
        value = float((self.of_VW * stream.accuracy_VW).sum() + (self.of_base_W * stream.base_W).sum())
        walks_W = np.bincount(stream.world_C, minlength=len(stream.worlds))
        low, high = None, None
        if involved_W.any() and walks_W[involved_W].min() > 1:
            drawn_RVW, base_RW = stream.replicates(columns)
            low, high = interval(np.einsum("rvw,vw->r", drawn_RVW, self.of_VW[columns]) + base_RW @ self.of_base_W)
        used_C = involved_W[stream.world_C]
        return Score(
            value=value, low=low, high=high, frames=int(stream.asked_C[used_C].sum()), clusters=int(used_C.sum())
        )


def _assemble(heads: list[Row], visits: tuple[Visit, ...]) -> "Stream | NotMeasurable":
    if not heads:
        return NotMeasurable("no version was evaluated")
    if not any("places" in head for head in heads):
        return NotMeasurable("the rows hold no place scores of single worlds (`places`)")
    usable = [head for head in heads if _complete(head)]
    if not usable:
        return NotMeasurable(_reason(heads[-1]))
    newest = _counts(usable[-1], "trained")
    first: dict[str, float] = {}
    for visit in visits:
        first.setdefault(visit.world, visit.start)
    worlds = sorted(newest, key=lambda world: first.get(world, inf))
    same = [head for head in usable if {w: asked for w, (_, asked) in _counts(head, "trained").items()} == {
        w: asked for w, (_, asked) in newest.items()
    }]  # fmt: skip
    base = _counts(same[-1], "random")
    return Stream(
        time_V=np.array([head["system_time"] for head in same], np.float64),
        worlds=tuple(worlds),
        first_W=np.array([first.get(world, inf) for world in worlds]),
        right_VC=np.array([_joined(_counts(head, "trained"), worlds, 0) for head in same]),
        asked_C=np.array(_joined(newest, worlds, 1)),
        base_C=np.array(_joined(base, worlds, 0)),
        world_C=np.repeat(np.arange(len(worlds)), [len(newest[world][1]) for world in worlds]),
        visits=visits,
        unmeasured=len(heads) - len(same),
    )


type _Counts = dict[str, tuple[list[float], list[float]]]


def _counts(head: Row, encoder: str) -> _Counts:
    """Right and asked by world, of the worlds that have a score."""
    of_encoder = cast("Mapping[str, Row]", head.get("places", {}).get(encoder, {}))
    return {
        world: ([float(n) for n in row["right"]], [float(n) for n in row["asked"]])
        for world, row in of_encoder.items()
        if "right" in row
    }


def _complete(head: Row) -> bool:
    trained, random = _counts(head, "trained"), _counts(head, "random")
    return bool(trained) and trained.keys() == random.keys()


def _reason(head: Row) -> str:
    for of_encoder in head.get("places", {}).values():
        for row in of_encoder.values():
            if "not_measurable" in row:
                return str(row["not_measurable"])
    return "no world has a place score"


def _joined(counts: _Counts, worlds: list[str], which: int) -> list[float]:
    return [number for world in worlds for number in counts[world][which]]
