"""In which order an actor goes through its worlds, and how long it stays."""

import random
from collections.abc import Iterator, Sequence

from common.config.run import VisitOrder


class VisitSchedule(Iterator[str]):
    """The worlds of an actor, visit after visit, without end.

    Pure and deterministic: two schedules made from the same arguments agree at every visit.

    Args:
        worlds: Names of the worlds, at least one.
        order: How they follow each other.
        seconds: Length of a visit, seconds of system time.
        seed: Seed of `SHUFFLE` and `RANDOM`.
        start_offset: Number of the actor: `CYCLE` starts that many worlds later, the other
            orders draw differently.

    Attributes:
        seconds: Length of a visit, seconds of system time.
        position: Number of the visit that `next` returns next, from 0.
    """

    def __init__(
        self, worlds: Sequence[str], order: VisitOrder, seconds: float, seed: int, start_offset: int = 0
    ) -> None:
        assert worlds
        self.seconds = seconds
        self.position = 0
        self._worlds = tuple(worlds)
        self._order = order
        self._offset = start_offset
        self._random = random.Random(f"{seed}/{start_offset}")
        self._drawn: list[str] = []

    def at(self, visit: int) -> str:
        """Returns the world of a visit, counted from 0."""
        if self._order is VisitOrder.CYCLE or len(self._worlds) == 1:
            return self._worlds[(visit + self._offset) % len(self._worlds)]
        while len(self._drawn) <= visit:
            self._draw()
        return self._drawn[visit]

    def __next__(self) -> str:
        """Returns the world of visit `position` and moves on by one."""
        world = self.at(self.position)
        self.position += 1
        return world

    def _draw(self) -> None:
        last = self._drawn[-1] if self._drawn else None
        if self._order is VisitOrder.RANDOM:
            self._drawn.append(self._random.choice([world for world in self._worlds if world != last]))
            return
        round_ = list(self._worlds)
        self._random.shuffle(round_)
        if round_[0] == last:
            # Two stays in a row in one world would be one experience to a learner.
            round_.append(round_.pop(0))
        self._drawn += round_
