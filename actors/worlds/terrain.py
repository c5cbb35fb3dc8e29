"""The lie of the land: what a person sees at a glance and a 3×3 depth grid does not say - doors and ledges."""

import math
from enum import IntEnum
from functools import cache

import numpy as np

from actors.worlds import wads
from common.errors import ConfigError

type Point = tuple[float, float]

_BUCKET = 128


class Crossing(IntEnum):
    """What lies between two points that are close to each other, the worst of it."""

    FREE = 0
    DOOR = 1
    BLOCKED = 2


type _Line = tuple[float, float, float, float, Crossing, Crossing]


class Terrain:
    """Knows the walls, ledges and doors of one map as it begins.

    What moves later (lifts, walls that a switch opens) is left out: that has to be found out by walking.

    Args:
        geometry: The map.
    """

    def __init__(self, geometry: wads.Geometry) -> None:
        self._buckets: dict[tuple[int, int], list[_Line]] = {}
        for line in _lines(geometry):
            x1, y1, x2, y2 = line[:4]
            for column in range(math.floor(min(x1, x2) / _BUCKET), math.floor(max(x1, x2) / _BUCKET) + 1):
                for row in range(math.floor(min(y1, y2) / _BUCKET), math.floor(max(y1, y2) / _BUCKET) + 1):
                    self._buckets.setdefault((column, row), []).append(line)

    def between(self, start: Point, end: Point) -> Crossing:
        """Returns what lies on the straight way from one point to another, not farther away than 128 map units."""
        (ax, ay), (bx, by) = start, end
        found = Crossing.FREE
        corners = {(math.floor(x / _BUCKET), math.floor(y / _BUCKET)) for x in (ax, bx) for y in (ay, by)}
        for corner in corners:
            for x1, y1, x2, y2, leftwards, rightwards in self._buckets.get(corner, ()):
                side_a = (x2 - x1) * (ay - y1) - (y2 - y1) * (ax - x1)
                side_b = (x2 - x1) * (by - y1) - (y2 - y1) * (bx - x1)
                if (side_a < 0) == (side_b < 0):
                    continue
                side_1 = (bx - ax) * (y1 - ay) - (by - ay) * (x1 - ax)
                side_2 = (bx - ax) * (y2 - ay) - (by - ay) * (x2 - ax)
                if (side_1 < 0) == (side_2 < 0):
                    continue
                found = max(found, leftwards if side_a < 0 else rightwards)
        return found


@cache
def terrain_of(world: str) -> Terrain | None:
    """Returns the terrain of a world, or None where it is not known."""
    try:
        wads.parse_world(world)
    except ConfigError:
        return None
    return Terrain(wads.read_geometry(world))


def _lines(geometry: wads.Geometry) -> list[_Line]:
    floors, ceilings = geometry.sectors["floor"].tolist(), geometry.sectors["ceiling"].tolist()
    moves = (geometry.sectors["tag"] != 0).tolist()
    lines: list[_Line] = []
    for ends, (right, left), flags, special in zip(
        geometry.ends_L4.tolist(),
        geometry.line_sectors_L2.tolist(),
        geometry.lines["flags"].tolist(),
        np.asarray(geometry.lines["special"]).tolist(),
        strict=True,
    ):
        if right < 0 or left < 0 or flags & wads.IMPASSABLE:
            leftwards = rightwards = Crossing.BLOCKED
        elif special in wads.MANUAL_DOORS:
            leftwards = rightwards = Crossing.DOOR
        elif moves[right] or moves[left] or right in geometry.doors or left in geometry.doors:
            continue
        elif min(ceilings[right], ceilings[left]) - max(floors[right], floors[left]) < wads.HEADROOM:
            leftwards = rightwards = Crossing.BLOCKED
        else:
            leftwards = Crossing.BLOCKED if floors[left] - floors[right] > wads.STEP else Crossing.FREE
            rightwards = Crossing.BLOCKED if floors[right] - floors[left] > wads.STEP else Crossing.FREE
        if leftwards or rightwards:
            lines.append((*ends, leftwards, rightwards))
    return lines
