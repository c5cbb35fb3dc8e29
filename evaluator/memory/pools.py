"""Frames of each world that no learner trained on: what a prediction's own target is told from.

A pool never changes once it is used, or scores of different versions could not be compared. Worlds of the probe set
have their walks there from the beginning. In any other world the frames of withheld blocks are gathered until there are
enough.

Shapes: N frames of a pool, H×W pixels.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from common.exposure import GROUP
from evaluator.experience import Experience, evenly, mask_seed, walk_visit
from evaluator.memory.bits import CANDIDATES
from evaluator.probeset import ProbeSet
from evaluator.scores import NotMeasurable

LEAST = 64
"""Fewest frames to tell a target from."""

GATHERED = 384
"""Frames of withheld blocks that make a pool: 255 are left when those of a visit are taken away."""

WORLDS = 8
"""Most worlds without a probe set whose frames are gathered; a bound on memory."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Frames of one world that no learner trained on.

    Attributes:
        world: Name of the world.
        frames: uint8 [N, H, W, 3].
        stays: Id of the walk or visit of each frame.
        moments: System time of each frame, s; 0 in a walk: float64 [N].
        probes: Numbers of the frames in the probe set, whose encoding they share; None for withheld blocks.
    """

    world: str
    frames: NDArray[np.uint8]
    stays: tuple[str, ...]
    moments: NDArray[np.float64]
    probes: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.frames)

    def rivals(self, experience: Experience, block: float) -> tuple[int, ...] | NotMeasurable:
        """Chooses the frames that the targets of an experience are told from, the same at every version.

        Frames of the same stay within five blocks are left out, for exposed and withheld experiences alike: a withheld
        block's own frames must be, and it would have the easier task if its neighbours kept them.

        Args:
            experience: An experience in this world.
            block: Length of an experience, s.

        Returns:
            At most 255 places in the pool, evenly spaced; or why there are too few.
        """
        apart = GROUP * block
        same_N = np.array([stay == experience.visit for stay in self.stays], bool)
        near_N = (self.moments >= experience.start - apart) & (self.moments <= experience.end + apart)
        return self._chosen(np.flatnonzero(~(same_N & near_N)))

    def rivals_of(self, place: int, block: float) -> tuple[int, ...] | NotMeasurable:
        """Chooses likewise for one of the pool's own frames, which calibrates."""
        same_N = np.array([stay == self.stays[place] for stay in self.stays], bool)
        near_N = np.abs(self.moments - self.moments[place]) <= GROUP * block
        return self._chosen(np.flatnonzero(~(same_N & near_N)))

    def seeds(self, places: Sequence[int]) -> list[int]:
        """Seeds of the masks of its frames, fixed like those of experiences."""
        return [mask_seed(f"pool/{self.world}", place) for place in places]

    def _chosen(self, free: NDArray[np.intp]) -> tuple[int, ...] | NotMeasurable:
        if len(free) < LEAST:
            return NotMeasurable(
                f"only {len(free)} frames of {self.world} from other stays are known that nobody trained on, "
                f"fewer than {LEAST}"
            )
        return tuple(int(free[place]) for place in evenly(len(free), min(len(free), CANDIDATES - 1)))


def probe_pools(probe_set: ProbeSet) -> list[Pool]:
    """The walks of every world of a probe set, placebo worlds too."""
    found: list[Pool] = []
    for number, world in enumerate(probe_set.spec.names):
        places = np.flatnonzero(probe_set.world == number)
        walks = probe_set.walk[places].tolist()
        found.append(
            Pool(
                world=world,
                frames=probe_set.frames[places[0] : places[-1] + 1],
                stays=tuple(walk_visit(world, walk) for walk in walks),
                moments=np.zeros(len(places)),
                probes=places,
            )
        )
    return found


@dataclass(slots=True)
class _Gathering:
    frames: list[NDArray[np.uint8]] = field(default_factory=list[NDArray[np.uint8]])
    stays: list[str] = field(default_factory=list[str])
    moments: list[float] = field(default_factory=list[float])


class Pools:
    """The pools of all worlds.

    Args:
        probe_set: Where walks are taken from, if there is one.
    """

    def __init__(self, probe_set: ProbeSet | None) -> None:
        self._ready = {pool.world: pool for pool in (probe_pools(probe_set) if probe_set is not None else ())}
        self._gathering: dict[str, _Gathering] = {}

    def __iter__(self) -> Iterator[Pool]:
        """The pools that can be used, those of the probe set first."""
        return iter(list(self._ready.values()))

    def give(self, world: str, visit: str, frames: Iterable[tuple[NDArray[np.uint8], float]]) -> None:
        """Takes frames of a withheld block, each with its system time; ignored where there are enough."""
        if world in self._ready or (world not in self._gathering and self._worlds() >= WORLDS):
            return
        gathering = self._gathering.setdefault(world, _Gathering())
        for frame, moment in frames:
            gathering.frames.append(frame)
            gathering.stays.append(visit)
            gathering.moments.append(moment)
        self._close(world)

    def find(self, world: str) -> Pool | NotMeasurable:
        """The pool of a world, or why there is none."""
        if world in self._ready:
            return self._ready[world]
        if world not in self._gathering:
            return NotMeasurable(f"{world} is not in the probe set, and no withheld block of it was seen or kept")
        gathered = len(self._gathering[world].frames)
        return NotMeasurable(
            f"{world} is not in the probe set, and {gathered} of {GATHERED} frames of withheld blocks are gathered"
        )

    def gathered(self) -> list[Pool]:
        """What was gathered of withheld blocks so far, full pools first: to be saved."""
        full = [pool for pool in self._ready.values() if pool.probes is None]
        return full + [_pool(world, gathering) for world, gathering in self._gathering.items() if gathering.frames]

    def restore(self, gathered: Iterable[Pool]) -> None:
        """Takes back what `gathered` gave."""
        for pool in gathered:
            if pool.world not in self._ready:
                self._gathering[pool.world] = _Gathering(list(pool.frames), list(pool.stays), pool.moments.tolist())
                self._close(pool.world)

    def _worlds(self) -> int:
        return len(self._gathering) + sum(pool.probes is None for pool in self._ready.values())

    def _close(self, world: str) -> None:
        if len(self._gathering[world].frames) >= GATHERED:
            self._ready[world] = _pool(world, self._gathering.pop(world))


def _pool(world: str, gathering: _Gathering) -> Pool:
    return Pool(
        world=world,
        frames=np.stack(gathering.frames),
        stays=tuple(gathering.stays),
        moments=np.array(gathering.moments),
    )
