"""Which part of a visit learners may train on: a hash that every process computes alike, without talking.

A visit is cut into blocks, the experiences. Of each five consecutive blocks one is withheld from all learners, at a
position given by a salted hash. At a border between an exposed and a withheld block lies a guard
band of one second, half on each side, which is neither trained on nor evaluated: consecutive frames are nearly equal,
and a withheld block must not be known through its neighbours.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b

from common.config import RunConfig

GUARD_SECONDS = 1.0
"""Width of a guard band, centred on the border."""

GROUP = 5
"""Blocks of which one is withheld."""


class Exposure(StrEnum):
    """What may be done with a frame."""

    EXPOSED = "exposed"
    WITHHELD = "withheld"
    GUARD = "guard"


@lru_cache(maxsize=4096)
def _withheld_position(salt: str, visit: str, group: int) -> int:
    digest = blake2b(f"{salt}\0{visit}\0{group}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % GROUP


@dataclass(frozen=True, kw_only=True, slots=True)
class ExposureRule:
    """The rule of one stream.

    Attributes:
        salt: What the hash is salted with: the same for all who read a stream, and for a run that is repeated.
        block: Length of an experience, seconds of visit time.
        withhold: False exposes everything (plain pamiq-core buffers).
    """

    salt: str
    block: float
    withhold: bool = True

    @classmethod
    def of(cls, run: RunConfig) -> "ExposureRule":
        """The rule of a run; without a salt, its seed is it."""
        return cls(
            salt=run.stream.salt or f"seed-{run.seed}", block=run.stream.experience, withhold=run.stream.withhold
        )

    def experience(self, visit: str, visit_time: float) -> str:
        """Names the experience at `visit_time` seconds into a visit."""
        return f"{visit}/{int(visit_time // self.block):04d}"

    def withheld(self, visit: str, block: int) -> bool:
        """Says whether the block with this number is withheld."""
        return self.withhold and block % GROUP == _withheld_position(self.salt, visit, block // GROUP)

    def classify(self, visit: str, visit_time: float) -> Exposure:
        """Says what may be done with the frame at `visit_time` seconds into a visit."""
        block = int(visit_time // self.block)
        withheld = self.withheld(visit, block)
        offset = visit_time - block * self.block
        if GUARD_SECONDS / 2 <= offset < self.block - GUARD_SECONDS / 2:  # most frames: far from every border
            return Exposure.WITHHELD if withheld else Exposure.EXPOSED
        neighbours: list[int] = []
        if offset < GUARD_SECONDS / 2 and block > 0:
            neighbours.append(block - 1)
        if self.block - offset <= GUARD_SECONDS / 2:
            neighbours.append(block + 1)
        if any(self.withheld(visit, neighbour) != withheld for neighbour in neighbours):
            return Exposure.GUARD
        return Exposure.WITHHELD if withheld else Exposure.EXPOSED


@lru_cache(maxsize=4096)
def is_rehearsed(experience: str, share: float) -> bool:
    """Whether an experience is among those that a positive control rehearses (`learner.replay.draw = rehearsal`).

    Args:
        experience: Its name.
        share: Share of all experiences that is chosen.
    """
    digest = blake2b(f"rehearsal\0{experience}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") < share * 2**64
