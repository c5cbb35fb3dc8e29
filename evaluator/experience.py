"""One experience as it is measured: a few frames of it, each with masks that never change.

Shapes: K frames of an experience, H×W pixels.
"""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from common.exposure import GROUP
from evaluator.probeset import ProbeSet

CHAPTER = 2 * GROUP
"""Blocks of a visit that are measured at the same versions, whole visits of up to 100 s by default."""


class Kind(StrEnum):
    """What learners could do with an experience."""

    EXPOSED = "exposed"
    WITHHELD = "withheld"
    PLACEBO = "placebo"


@dataclass(frozen=True, kw_only=True, eq=False)
class Experience:
    """K frames of one block of one visit.

    Attributes:
        name: Id of the experience.
        actor: Who lived it; empty for a placebo.
        visit: Id of the visit; of the walk for a placebo.
        world: Name of the world.
        kind: What learners could do with it.
        frames: uint8 [K, H, W, 3], evenly spaced in time.
        numbers: Number of each frame: `seq` of the datum, or its place in a placebo walk.
        start: System time of the first frame seen, seconds; 0 for a placebo.
        end: System time of the last frame seen, seconds; 0 for a placebo.
        ended_ns: Wall clock of the last frame seen, nanoseconds since the epoch; 0 for a placebo.
    """

    name: str
    actor: str
    visit: str
    world: str
    kind: Kind
    frames: NDArray[np.uint8]
    numbers: tuple[int, ...]
    start: float = 0.0
    end: float = 0.0
    ended_ns: int = 0

    @property
    def chapter(self) -> str:
        """The part of its visit that is measured together: ten blocks, two of which are withheld."""
        block = self.name.rpartition("/")[2]
        return f"{self.visit}/{int(block) // CHAPTER}" if block.isdigit() else self.visit

    @property
    def seeds(self) -> list[int]:
        """Seeds of the masks, one a frame, fixed for all time and versions."""
        return [mask_seed(self.name, number) for number in self.numbers]


def mask_seed(experience: str, number: int) -> int:
    """Derives the seed of a frame's masks from its experience and its number: 63 bits."""
    digest = blake2b(f"{experience}\0{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def evenly(count: int, chosen: int) -> list[int]:
    """Picks `chosen` of `count` places, in the middles of equal parts."""
    return [(2 * place + 1) * count // (2 * chosen) for place in range(chosen)]


def walk_visit(world: str, walk: int) -> str:
    """Names a walk of the probe set like a visit."""
    return f"probe/{world}/{walk}"


def placebo_experiences(probe_set: ProbeSet, frames: int, block: float) -> list[Experience]:
    """Cuts the stays in placebo worlds into whole blocks, as a visit is cut."""
    spec = probe_set.spec
    length = max(1, int(block / spec.stay_every + 1e-9))
    found: list[Experience] = []
    for stay, of_stay in enumerate(probe_set.stays):
        name = spec.placebo[stay // spec.stays]
        visit = f"placebo/{name}/{stay}"
        for start in range(0, len(of_stay) - length + 1, length):
            chosen = [start + place for place in evenly(length, min(frames, length))]
            found.append(
                Experience(
                    name=f"{visit}/{start // length:04d}",
                    actor="",
                    visit=visit,
                    world=name,
                    kind=Kind.PLACEBO,
                    frames=of_stay[chosen],
                    numbers=tuple(chosen),
                )
            )
    return found
