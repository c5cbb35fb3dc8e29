"""What the explorer remembers of a visit: where it stood, what it saw to be free, ways that failed.

Novelty is counted in cells of 64 map units, `Cell`; ways are found on a grid twice as fine, `Spot`, so
that a door (64 units wide, as a rule) shows up wherever it is.
"""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from actors.coverage import Cell, cell_of
from actors.worlds.terrain import Crossing, Point, Terrain

SPOT = 32.0
"""Side of a spot, map units; the player is as wide."""
UNITS_PER_DEPTH = 1.83
"""Map units for each step of `Labels.depth`."""

type Spot = tuple[int, int]

_NEIGHBOURS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
_FARTHEST = 440.0
_TRUST = 0.85
"""Share of a measured distance that is believed to be free: the depth is the median of a third of the picture."""
_SAMPLE = 16.0
_TURN_COST = 4.0
"""Spots of detour that a turn by 90 degrees is worth."""
_UNSEEN_COST = 20.0
"""Spots of detour that a spot is worth which was never seen."""
_WALL_COST = 30.0
"""Spots of detour that a spot is worth where a wall, perhaps a door, was seen."""
_SPREAD = 0.6
"""Share of a failure that the spots next to it count for."""
_LONG = 0.3
"""Failures that a spot has to count before another one makes it part of something long."""
_DOOR_COST = 4.0
"""Spots of detour that a door is worth."""
_HALF_WIDTH = 14.0
_FAILURE_COST = 60.0
"""Spots of detour that a spot is worth for each time that it could not be entered."""


def spot_of(x: float, y: float) -> Spot:
    """Returns the spot of a point."""
    return math.floor(x / SPOT), math.floor(y / SPOT)


def middle_of(spot: Spot) -> Point:
    """Returns the middle of a spot, map units."""
    return (spot[0] + 0.5) * SPOT, (spot[1] + 0.5) * SPOT


class GridMap:
    """A map that grows while one walks.

    Args:
        terrain: Doors and ledges of the world, where they are known.

    Attributes:
        cells: Every cell that was entered.
    """

    def __init__(self, terrain: Terrain | None = None) -> None:
        self._terrain = terrain
        self._crossings: dict[tuple[Spot, Spot], Crossing] = {}
        self.cells: set[Cell] = set()
        self._stood: dict[Spot, Point] = {}
        self._free: Counter[Spot] = Counter()
        self._wall: Counter[Spot] = Counter()
        self._failures: defaultdict[Spot, float] = defaultdict(float)
        self._blocked: set[tuple[Spot, Spot]] = set()

    def stand(self, x: float, y: float) -> Spot:
        """Notes where the player stands, and returns the spot."""
        spot = spot_of(x, y)
        self.cells.add(cell_of(x, y))
        known = self._stood.get(spot)
        if known is None or math.dist((x, y), middle_of(spot)) < math.dist(known, middle_of(spot)):
            self._stood[spot] = x, y
        return spot

    def look(self, x: float, y: float, heading: float, depth: NDArray[np.float32], tangent: float) -> None:
        """Notes what the middle row of the depth grid tells of the spots ahead.

        Args:
            x: Position, map units.
            y: Position, map units.
            heading: Radians, counter-clockwise from east.
            depth: float32 [3, 3], `Labels.depth`.
            tangent: Tangent of half the angle that the picture's width spans.
        """
        left, middle, right = (float(value) * UNITS_PER_DEPTH for value in depth[1])
        for aside, distance, measured in (
            (2 / 3, left, True),
            (1 / 3, min(left, middle), False),
            (0.0, middle, True),
            (-1 / 3, min(middle, right), False),
            (-2 / 3, right, True),
        ):
            # Depth counts along the view; a point at the side is farther away than its depth.
            step_x = math.cos(heading) - aside * tangent * math.sin(heading)
            step_y = math.sin(heading) + aside * tangent * math.cos(heading)
            last = None
            for i in range(1, int(min(distance * _TRUST, _FARTHEST) / _SAMPLE) + 1):
                spot = spot_of(x + step_x * _SAMPLE * i, y + step_y * _SAMPLE * i)
                if spot != last:
                    self._free[spot] += 1
                    last = spot
            if measured and distance < _FARTHEST:
                self._wall[spot_of(x + step_x * (distance + 12), y + step_y * (distance + 12))] += 1

    def point(self, spot: Spot) -> Point:
        """Returns where in a spot to go: where the player stood once, else its middle; map units."""
        return self._stood.get(spot) or middle_of(spot)

    def is_new(self, spot: Spot) -> bool:
        """Tells whether a spot lies in a cell that was not entered yet."""
        return (spot[0] // 2, spot[1] // 2) not in self.cells

    def fail(self, here: Spot, there: Spot) -> None:
        """Notes that the way from one spot to the next does not go."""
        self._blocked.add((here, there))
        if there in self._stood:
            return
        known = self._failures[there]
        self._failures[there] += 1.0
        # Walls and ledges are long: the more of one is known, the farther it may be taken to go on.
        reach = 2 if known < _LONG else 6
        dx, dy = there[0] - here[0], there[1] - here[1]
        length = max(abs(dx), abs(dy), 1)
        across = -round(dy / length), round(dx / length)
        for i in range(1, reach + 1):
            for side in (-i, i):
                spot = there[0] + side * across[0], there[1] + side * across[1]
                if spot not in self._stood:
                    self._failures[spot] += _SPREAD / i

    def open_between(self, start: Point, end: Point) -> bool:
        """Tells whether a straight way leads over spots that are known to be free."""
        length = math.dist(start, end)
        count = int(length / (SPOT / 2)) + 1
        step_x, step_y = (end[0] - start[0]) / count, (end[1] - start[1]) / count
        points = [(start[0] + step_x * i, start[1] + step_y * i) for i in range(count + 1)]
        last = spot_of(*start)
        for point in points[1:]:
            spot = spot_of(*point)
            if spot != last and ((last, spot) in self._blocked or not self._passable(last, spot)):
                return False
            last = spot
        if self._terrain is None or not length:
            return True
        aside_x, aside_y = -step_y * count / length * _HALF_WIDTH, step_x * count / length * _HALF_WIDTH
        for side in (-1, 1):
            shifted = [(x + side * aside_x, y + side * aside_y) for x, y in points[::4] + points[-1:]]
            if any(self._terrain.between(a, b) for a, b in pairwise(shifted)):
                return False
        return True

    def way_to_new(self, here: Spot, heading: float) -> list[Spot]:
        """Finds the way to the new spot that costs least: its distance, the turn towards it, the doubt about it.

        Args:
            here: Where the player stands.
            heading: Radians.

        Returns:
            The spots of the way without `here`, the goal last; empty if nothing new can be reached.
        """
        best, goal = math.inf, None
        came = {here: here}
        length = {here: 0.0}
        queue = [(0.0, here)]
        while queue and queue[0][0] < best:
            cost, spot = heapq.heappop(queue)
            if cost > length[spot]:
                continue
            if self.is_new(spot):
                total = cost + self._turn_cost(here, spot, heading)
                if total < best:
                    best, goal = total, spot
            for there, step in self._steps(spot):
                if (next_cost := cost + step) < length.get(there, best):
                    came[there], length[there] = spot, next_cost
                    heapq.heappush(queue, (next_cost, there))
        if goal is None:
            return []
        way = [goal]
        while came[way[-1]] != here:
            way.append(came[way[-1]])
        return way[::-1]

    def _steps(self, spot: Spot) -> Iterator[tuple[Spot, float]]:
        x, y = spot
        for dx, dy in _NEIGHBOURS:
            there = x + dx, y + dy
            if (spot, there) in self._blocked:
                continue
            if not dx or not dy:
                if (cost := self._cost(spot, there)) < math.inf:
                    yield there, cost
            elif all(
                self._passable(a, b)
                for corner in ((x + dx, y), (x, y + dy))
                for a, b in ((spot, corner), (corner, there))
            ):
                yield there, self._cost(spot, there) * math.sqrt(2)

    def _passable(self, spot: Spot, there: Spot) -> bool:
        """Tells whether a spot is known to be free, and the step to it."""
        if self._terrain is not None and self._crossing(spot, there) is not Crossing.FREE:
            return False
        if there in self._stood:
            return True
        return not self._failures[there] and (self._terrain is not None or self._free[there] > self._wall[there])

    def _cost(self, spot: Spot, there: Spot) -> float:
        failures = _FAILURE_COST * self._failures[there]
        if self._terrain is not None:
            match self._crossing(spot, there):
                case Crossing.BLOCKED:
                    return math.inf
                case Crossing.DOOR:
                    return _DOOR_COST + failures
                case Crossing.FREE:
                    return 1.0 + (0.0 if there in self._stood else failures / 2)
        if there in self._stood:
            return 1.0
        if self._free[there] > self._wall[there]:
            return 1.1 + failures / 2
        return failures + (_WALL_COST if self._wall[there] else _UNSEEN_COST)

    def _crossing(self, spot: Spot, there: Spot) -> Crossing:
        assert self._terrain is not None
        known = self._crossings.get((spot, there))
        if known is None:
            known = self._terrain.between(self.point(spot), self.point(there))
            self._crossings[spot, there] = known
        return known

    @staticmethod
    def _turn_cost(here: Spot, goal: Spot, heading: float) -> float:
        angle = math.atan2(goal[1] - here[1], goal[0] - here[0]) - heading
        return _TURN_COST * abs((angle + math.pi) % (2 * math.pi) - math.pi) / (math.pi / 2)
