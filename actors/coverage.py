"""Where an actor has been, by ground truth: cells of 64 map units, and its track."""

import math
from collections import defaultdict
from dataclasses import dataclass

from common.messages import Observation

CELL = 64.0
"""Side of a cell, map units."""

type Cell = tuple[int, int]


def cell_of(x: float, y: float) -> Cell:
    """Returns the cell of a point."""
    return math.floor(x / CELL), math.floor(y / CELL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Spot:
    """Where an actor was at one moment.

    Attributes:
        world: The world.
        visit: Number of the visit.
        time: Seconds into the visit.
        x: Position, the world's own unit.
        y: Likewise.
    """

    world: str
    visit: int
    time: float
    x: float
    y: float


class Coverage:
    """Counts cells entered, in this visit and in each world ever; worlds without ground truth have none.

    Args:
        every: Seconds between two spots of the track.
    """

    def __init__(self, every: float = 0.5) -> None:
        self._every = every
        self._visit = -1
        self._last: Spot | None = None
        self._here: set[Cell] = set()
        self.worlds: defaultdict[str, set[Cell]] = defaultdict(set)
        """Cells ever entered, by world."""

    @property
    def cells(self) -> int:
        """Cells entered in this visit."""
        return len(self._here)

    def see(self, observation: Observation) -> Spot | None:
        """Takes where the actor is; gives a spot of its track where one is due."""
        labels = observation.labels
        if observation.visit != self._visit:
            self._visit, self._here, self._last = observation.visit, set(), None
        if labels is None or not (math.isfinite(labels.x) and math.isfinite(labels.y)):
            return None
        cell = cell_of(labels.x, labels.y)
        self._here.add(cell)
        self.worlds[observation.world].add(cell)
        if self._last is not None and observation.visit_time - self._last.time < self._every:
            return None
        self._last = Spot(
            world=observation.world, visit=observation.visit, time=observation.visit_time, x=labels.x, y=labels.y
        )
        return self._last
