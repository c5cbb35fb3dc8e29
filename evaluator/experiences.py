"""Which experiences are followed: a bounded choice of the stream's, by visit, kind and age, and placebos beside them.

A score of one experience says nothing by itself. Exposed, withheld and placebo experiences are therefore kept side by
side, and never chosen by how they score.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from common.codec import frame_shape
from common.errors import CheckpointError
from common.exposure import Exposure
from common.messages import Datum
from evaluator.experience import Experience, Kind, evenly, placebo_experiences
from evaluator.memory.pools import Pool, Pools
from evaluator.probeset import ProbeSet
from evaluator.thinning import most_redundant

MIN_SPAN = 0.5
"""Smallest part of its block that an experience must cover, so that all are alike in length."""

PLACEBO_PART = 4
"""Placebo experiences take up at most one of so many places."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveCounts:
    """What became of the experiences.

    Attributes:
        followed: Live experiences that are followed now.
        placebo: Placebo experiences.
        short: Experiences left out because they were seen for less than half of their length or in too few frames.
        thinned: Experiences given up for newer ones.
        refused: Frames of another size or type than the run's, or numbered like earlier ones.
    """

    followed: int
    placebo: int
    short: int
    thinned: int
    refused: int


class _Open:
    """An experience that is still going on: a bounded, evenly spaced choice of its frames."""

    def __init__(self, first: Datum, frames: int) -> None:
        self.first = self.last = first
        self.kind: Kind | None = None
        self._limit, self._stride, self._count = 4 * frames, 1, 0
        self.kept: list[Datum] = []

    def add(self, datum: Datum) -> None:
        if self._count % self._stride == 0:
            self.kept.append(datum)
        self._count += 1
        self.last = datum
        if len(self.kept) > self._limit:
            self.kept = self.kept[::2]
            self._stride *= 2


class ExperienceArchive:
    """Follows a bounded number of experiences of the stream, and placebos beside them.

    `observe` may run in another thread than everything else.

    Args:
        frames: Frames by which an experience is measured (K).
        limit: Most experiences, placebos included.
        block: Length of an experience, seconds.
        image_size: Height and width of the frames, pixels.
        probe_set: Where the placebo walks are taken from, if there is one.
    """

    def __init__(
        self, *, frames: int, limit: int, block: float, image_size: tuple[int, int], probe_set: ProbeSet | None
    ) -> None:
        self._frames, self._block, self._shape = frames, block, (*image_size, 3)
        placebos = placebo_experiences(probe_set, frames, block) if probe_set is not None else []
        room = min(len(placebos), limit // PLACEBO_PART)
        self._placebos = [placebos[place] for place in evenly(len(placebos), room)]
        self._limit = limit - room
        self._open: dict[str, _Open] = {}
        self._closed: list[Experience] = []
        self._last_seq: dict[str, int] = {}
        self._known_seq: dict[str, int] = {}
        self._counts = Counter[str]()
        self._now = 0.0
        self._lock = Lock()
        self.pools = Pools(probe_set)

    def observe(self, datum: Datum, kind: str) -> None:
        """Takes in the next frame of the stream, each actor's in their order.

        Args:
            datum: A frame.
            kind: `exposed`, `withheld` or `guard` (`common.exposure.Exposure`).

        Raises:
            ValueError: No such kind, or an experience is of two kinds.
        """
        exposure = Exposure(kind)
        with self._lock:
            if datum.seq <= self._known_seq.get(datum.actor, -1):
                return  # read once more by a process that was started anew
            if datum.seq <= self._last_seq.get(datum.actor, -1):
                self._counts["refused"] += 1
                return
            if frame_shape(datum.data) != self._shape:
                self._counts["refused"] += 1
                return
            self._last_seq[datum.actor] = datum.seq
            self._now = max(self._now, datum.system_time)
            current = self._open.get(datum.actor)
            if current is None or current.first.experience != datum.experience:
                if current is not None:
                    self._close(current)
                current = self._open[datum.actor] = _Open(datum, self._frames)
            if exposure is Exposure.GUARD:
                return
            if current.kind not in (None, Kind(exposure)):
                raise ValueError(f"experience {datum.experience} is both {current.kind} and {kind}")
            current.kind = Kind(exposure)
            current.add(datum)

    @property
    def counts(self) -> ArchiveCounts:
        """What became of the experiences so far."""
        with self._lock:
            return ArchiveCounts(
                followed=len(self._closed),
                placebo=len(self._placebos),
                short=self._counts["short"],
                thinned=self._counts["thinned"],
                refused=self._counts["refused"],
            )

    @property
    def followed(self) -> tuple[Experience, ...]:
        """All experiences that are followed, the placebos last."""
        with self._lock:
            return (*self._closed, *self._placebos)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Gives what would be lost with the process, as plain JSON and arrays; placebos come from the probe set."""
        with self._lock:
            gathered = self.pools.gathered()
            arrays: dict[str, NDArray[Any]] = {}
            if self._closed:
                arrays["frames"] = np.stack([item.frames for item in self._closed])
            for number, pool in enumerate(gathered):
                arrays |= {f"pool-{number}-frames": pool.frames, f"pool-{number}-moments": pool.moments}
            # What is open is read once more from its first frame.
            begun = {actor: item.first.seq - 1 for actor, item in self._open.items()}
            state = {
                "experiences": [{name: getattr(item, name) for name in _PLAIN} for item in self._closed],
                "pools": [{"world": pool.world, "stays": list(pool.stays)} for pool in gathered],
                "last_seq": self._known_seq | self._last_seq | begun,
                "counts": dict(self._counts),
                "now": self._now,
            }
            return state, arrays

    def restore(self, state: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes back what `state` gave, before the first frame is observed.

        Raises:
            CheckpointError: It is of a run with other frames.
        """
        rows: list[dict[str, Any]] = [
            row | {"kind": Kind(row["kind"]), "numbers": tuple(row["numbers"])} for row in state["experiences"]
        ]
        frames: NDArray[Any] = arrays.get("frames", np.empty((0, self._frames, *self._shape), np.uint8))
        if frames.dtype != np.uint8 or frames.shape != (len(rows), self._frames, *self._shape):
            expected = (len(rows), self._frames, *self._shape)
            raise CheckpointError(
                f"the state holds frames {frames.dtype} {frames.shape}, this run has uint8 {expected}"
            )
        with self._lock:
            self._closed = [Experience(**row, frames=of_one.copy()) for row, of_one in zip(rows, frames, strict=True)]
            self.pools.restore(
                Pool(
                    world=of_pool["world"],
                    frames=arrays[f"pool-{number}-frames"],
                    stays=tuple(of_pool["stays"]),
                    moments=arrays[f"pool-{number}-moments"],
                )
                for number, of_pool in enumerate(state["pools"])
            )
            self._known_seq = {actor: int(seq) for actor, seq in state["last_seq"].items()}
            self._counts = Counter[str](state["counts"])
            self._now = float(state["now"])
            while len(self._closed) > self._limit:
                self._thin()

    def _close(self, done: _Open) -> None:
        span = done.last.system_time - done.first.system_time
        if done.kind is None or len(done.kept) < self._frames or span < MIN_SPAN * self._block:
            self._counts["short"] += 1
            return
        chosen = [done.kept[place] for place in evenly(len(done.kept), self._frames)]
        self._closed.append(
            Experience(
                name=done.first.experience,
                actor=done.first.actor,
                visit=done.first.visit,
                world=done.first.world,
                kind=done.kind,
                frames=np.stack([cast(NDArray[np.uint8], datum.data) for datum in chosen]),
                numbers=tuple(datum.seq for datum in chosen),
                start=done.first.system_time,
                end=done.last.system_time,
                ended_ns=done.last.captured_ns,
            )
        )
        if done.kind is Kind.WITHHELD:
            kept = ((cast(NDArray[np.uint8], datum.data), datum.system_time) for datum in done.kept)
            self.pools.give(done.first.world, done.first.visit, kept)
        if len(self._closed) > self._limit:
            self._thin()

    def _thin(self) -> None:
        del self._closed[most_redundant(self._closed, self._now, self._block)]
        self._counts["thinned"] += 1


_PLAIN = ("name", "actor", "visit", "world", "kind", "numbers", "start", "end", "ended_ns")
"""Fields of an `Experience` that are plain JSON."""
