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
_ENOUGH = 8
IMPASSABLE = 1
"""Flag of a line that nobody can cross."""
MANUAL_DOORS = (1, 31, 117, 118)
"""Specials of lines that `use` opens without a key."""
STEP = 24
"""The highest step that the player climbs, map units."""
HEADROOM = 56
"""The player's height, map units."""


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


@dataclass(frozen=True, slots=True)
class Geometry:
    """The lines and sectors of a map. L: number of lines.

    Attributes:
        things: Structured array of what the map places.
        lines: Structured array [L] as the file has it.
        sectors: Structured array of the sectors.
        ends_L4: x and y of the first and of the second end of each line, float64 [L, 4], map units.
        line_sectors_L2: Sector to the right and to the left of each line, -1 for none, int [L, 2].
        doors: Sectors that are doors which open without a key.
    """

    things: NDArray[Any]
    lines: NDArray[Any]
    sectors: NDArray[Any]
    ends_L4: NDArray[np.float64]
    line_sectors_L2: NDArray[np.int_]
    doors: frozenset[int]


def read_geometry(world: str) -> Geometry:
    """Reads the geometry of a world.

    Raises:
        ConfigError: There is no such world.
    """
    lumps = _map_lumps(*parse_world(world))
    lines = np.frombuffer(lumps["LINEDEFS"], _LINE)
    sides = np.frombuffer(lumps["SIDEDEFS"], _SIDE)
    vertices = np.frombuffer(lumps["VERTEXES"], _VERTEX)
    line_sectors_L2 = np.where(
        lines["sides"] == _NO_SIDE, -1, sides["sector"][np.minimum(lines["sides"], len(sides) - 1)].astype(int)
    )
    ends_L4 = np.stack([vertices[axis][lines[end]].astype(float) for end in ("a", "b") for axis in ("x", "y")], axis=1)
    # A door is the sector behind its line.
    doors = line_sectors_L2[np.isin(lines["special"], MANUAL_DOORS), 1]
    return Geometry(
        things=np.frombuffer(lumps["THINGS"], _THING),
        lines=lines,
        sectors=np.frombuffer(lumps["SECTORS"], _SECTOR),
        ends_L4=ends_L4,
        line_sectors_L2=line_sectors_L2,
        doors=frozenset(door for door in doors.tolist() if door >= 0),
    )


@cache
def standing_places(world: str) -> tuple[Place, ...]:
    """Lists places of a world that can be walked to from the player's start, in the file's order.

    A place is where the map puts a thing that one can stand on. It counts if one can walk from the
    player's start to its sector and back, through openings of a player's height, over steps of at most
    24 units, through doors without a key; so nobody starts in a closet that opens from outside only.
    """
    geometry = read_geometry(world)
    candidates = [thing for thing in geometry.things if int(thing["type"]) in _STANDING_PLACES]
    placed = [(Place(int(thing["x"]), int(thing["y"])), _sector_at(thing, geometry)) for thing in candidates]
    start = next(at for thing, (_, at) in zip(candidates, placed, strict=True) if thing["type"] == _PLAYER_START)
    ways = _ways(geometry)
    onward = _reached(start, ways)
    both_ways = onward & _reached(start, {(there, here) for here, there in ways})
    places = tuple(place for place, at in placed if at in both_ways)
    # Some maps begin with a drop that leads nowhere back.
    return places if len(places) >= _ENOUGH else tuple(place for place, at in placed if at in onward)


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


def _sector_at(thing: Any, geometry: Geometry) -> int:
    """Finds the sector of a thing: the near side of the first line to its east; -1 outside the map."""
    x, y = float(thing["x"]), float(thing["y"])
    x1, y1, x2, y2 = geometry.ends_L4.T
    crossing = (np.minimum(y1, y2) <= y) & (y < np.maximum(y1, y2))
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(crossing, x1 + (y - y1) * (x2 - x1) / (y2 - y1) - x, np.inf)
    distance[distance < 0] = np.inf
    nearest = int(np.argmin(distance))
    if not np.isfinite(distance[nearest]):
        return -1
    return int(geometry.line_sectors_L2[nearest, int(y2[nearest] > y1[nearest])])


def _ways(geometry: Geometry) -> set[tuple[int, int]]:
    """Lists from which sector to which neighbour one can walk."""
    floors, ceilings = geometry.sectors["floor"].tolist(), geometry.sectors["ceiling"].tolist()
    ways = set[tuple[int, int]]()
    for flags, (right, left) in zip(geometry.lines["flags"].tolist(), geometry.line_sectors_L2.tolist(), strict=True):
        if right < 0 or left < 0 or right == left or flags & IMPASSABLE:
            continue
        ceiling = min(math.inf if sector in geometry.doors else ceilings[sector] for sector in (right, left))
        if ceiling - max(floors[right], floors[left]) < HEADROOM:
            continue
        ways |= {
            (here, there) for here, there in ((right, left), (left, right)) if floors[there] - floors[here] <= STEP
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
