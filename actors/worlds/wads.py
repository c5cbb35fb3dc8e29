"""What is read straight from the Freedoom files: which maps there are, and where one can stand in them.

A WAD is a header, lumps, and a directory of (offset, size, name); a map is a marker lump followed by
its geometry. See https://doomwiki.org/wiki/WAD and https://doomwiki.org/wiki/Map_format.
"""

import math
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import vizdoom
from numpy.typing import NDArray

from common.errors import ConfigError

MAPS: dict[str, tuple[str, ...]] = {
    "freedoom1": tuple(f"e{episode}m{number}" for episode in range(1, 5) for number in range(1, 10)),
    "freedoom2": tuple(f"map{number:02d}" for number in range(1, 33)),
}
"""The maps of each file, as they are written in the name of a world."""

_THING = np.dtype([("x", "<i2"), ("y", "<i2"), ("angle", "<i2"), ("type", "<i2"), ("flags", "<i2")])
_LINE = np.dtype(
    [("a", "<u2"), ("b", "<u2"), ("flags", "<u2"), ("special", "<u2"), ("tag", "<u2"), ("sides", "<u2", (2,))]
)
_SIDE = np.dtype([("offsets", "<i2", (2,)), ("textures", "S8", (3,)), ("sector", "<u2")])
_SECTOR = np.dtype(
    [("floor", "<i2"), ("ceiling", "<i2"), ("flats", "S8", (2,)), ("light", "<i2"), ("special", "<i2"), ("tag", "<i2")]
)
_VERTEX = np.dtype([("x", "<i2"), ("y", "<i2")])

_PLAYER_START = 1
_STANDING_PLACES = frozenset(
    (
        *(1, 2, 3, 4, 11),
        *(5, 6, 13, 38, 39, 40, 8, 17, 82, 83),
        *(2001, 2002, 2003, 2004, 2005, 2006, 2007, 2008, 2010, 2011, 2012, 2013, 2014, 2015, 2018, 2019),
        *(2022, 2023, 2024, 2025, 2026, 2045, 2046, 2047, 2048, 2049),
        *(7, 9, 16, 58, 64, 65, 66, 67, 68, 69, 71, 84, *range(3001, 3007)),
    )
)
"""Types of things that mark a free place: starts, keys, items, weapons, monsters."""
_NO_SIDE = 0xFFFF
_IMPASSABLE = 1
_MANUAL_DOORS = (1, 31, 117, 118)
_STEP = 24
_HEADROOM = 56


@dataclass(frozen=True, slots=True)
class Place:
    """A place to start at.

    Attributes:
        x: East-west position, map units.
        y: North-south position, map units.
    """

    x: int
    y: int


@cache
def known_worlds() -> tuple[str, ...]:
    """Lists every world, for example `freedoom2:map01`."""
    return tuple(f"{wad}:{name}" for wad, names in MAPS.items() for name in names)


def parse_world(world: str) -> tuple[str, str]:
    """Splits the name of a world into file and map.

    Raises:
        ConfigError: There is no such world.
    """
    wad, _, name = world.partition(":")
    if name not in MAPS.get(wad, ()):
        raise ConfigError("world.worlds", world, "must be one of freedoom1:e1m1 … e4m9, freedoom2:map01 … map32")
    return wad, name


def wad_path(wad: str) -> Path:
    """Returns where ViZDoom keeps a Freedoom file."""
    return Path(vizdoom.__file__).parent / f"{wad}.wad"


@cache
def standing_places(world: str) -> tuple[Place, ...]:
    """Lists places of a world that can be walked to from the player's start, in the file's order.

    A place is where the map puts a thing that one can stand on. It counts if one can walk from the
    player's start to its sector and back, through openings of a player's height, over steps of at most
    24 units, through doors without a key; so nobody starts in a closet that opens from outside only.
    """
    lumps = _map_lumps(*parse_world(world))
    things = np.frombuffer(lumps["THINGS"], _THING)
    lines = np.frombuffer(lumps["LINEDEFS"], _LINE)
    sides = np.frombuffer(lumps["SIDEDEFS"], _SIDE)
    sectors = np.frombuffer(lumps["SECTORS"], _SECTOR)
    vertices = np.frombuffer(lumps["VERTEXES"], _VERTEX)

    line_sectors_L2 = np.where(
        lines["sides"] == _NO_SIDE, -1, sides["sector"][np.minimum(lines["sides"], len(sides) - 1)].astype(int)
    )
    ends_L4 = np.stack(
        [vertices[axis][lines[end]].astype(float) for end in ("a", "b") for axis in ("x", "y")], axis=1
    )
    candidates = [thing for thing in things if int(thing["type"]) in _STANDING_PLACES]
    start = next(thing for thing in candidates if thing["type"] == _PLAYER_START)
    sector = _sector_at(start, ends_L4, line_sectors_L2)
    ways = _ways(lines, line_sectors_L2, sectors)
    joined = _reached(sector, ways) & _reached(sector, {(there, here) for here, there in ways})
    return tuple(
        Place(int(thing["x"]), int(thing["y"]))
        for thing in candidates
        if _sector_at(thing, ends_L4, line_sectors_L2) in joined
    )


def _map_lumps(wad: str, name: str) -> dict[str, bytes]:
    with wad_path(wad).open("rb") as file:
        _, count, directory = struct.unpack("<4sii", file.read(12))
        file.seek(directory)
        entries = [struct.unpack("<ii8s", file.read(16)) for _ in range(count)]
        names = [entry[2].rstrip(b"\0").decode("ascii") for entry in entries]
        first = names.index(name.upper()) + 1
        lumps: dict[str, bytes] = {}
        for (offset, size, _), lump in zip(entries[first : first + 10], names[first : first + 10], strict=True):
            file.seek(offset)
            lumps[lump] = file.read(size)
    return lumps


def _sector_at(thing: Any, ends_L4: NDArray[np.float64], line_sectors_L2: NDArray[np.int_]) -> int:
    """Finds the sector of a thing: the near side of the first line to its east; -1 outside the map."""
    x, y = float(thing["x"]), float(thing["y"])
    x1, y1, x2, y2 = ends_L4.T
    crossing = (np.minimum(y1, y2) <= y) & (y < np.maximum(y1, y2))
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(crossing, x1 + (y - y1) * (x2 - x1) / (y2 - y1) - x, np.inf)
    distance[distance < 0] = np.inf
    nearest = int(np.argmin(distance))
    if not np.isfinite(distance[nearest]):
        return -1
    return int(line_sectors_L2[nearest, int(y2[nearest] > y1[nearest])])


def _ways(lines: NDArray[Any], line_sectors_L2: NDArray[np.int_], sectors: NDArray[Any]) -> set[tuple[int, int]]:
    """Lists from which sector to which neighbour one can walk."""
    floors, ceilings = sectors["floor"].tolist(), sectors["ceiling"].tolist()
    pairs = [
        (right, left, int(line["special"]) in _MANUAL_DOORS)
        for line, (right, left) in zip(lines, line_sectors_L2.tolist(), strict=True)
        if right >= 0 and left >= 0 and right != left and not line["flags"] & _IMPASSABLE
    ]
    # A door is the sector behind its line, closed as the map begins.
    doors = {left for _, left, door in pairs if door}
    ways = set[tuple[int, int]]()
    for right, left, _ in pairs:
        opening = min(
            *(math.inf if sector in doors else ceilings[sector] for sector in (right, left)),
        ) - max(floors[right], floors[left])
        if opening >= _HEADROOM:
            ways |= {
                (here, there) for here, there in ((right, left), (left, right)) if floors[there] - floors[here] <= _STEP
            }
    return ways


def _reached(start: int, ways: set[tuple[int, int]]) -> set[int]:
    """Collects the sectors to which ways lead from one."""
    onward: dict[int, list[int]] = {}
    for here, there in ways:
        onward.setdefault(here, []).append(there)
    reached, todo = {start}, [start]
    while todo:
        for there in onward.get(todo.pop(), ()):
            if there not in reached:
                reached.add(there)
                todo.append(there)
    return reached
