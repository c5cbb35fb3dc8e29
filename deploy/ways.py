"""The ways that actors went, over the walls of a map."""

# pyright: reportUnknownMemberType=false
# (matplotlib's stubs leave the keyword arguments of its drawing methods untyped)

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from actors.worlds import wads
from common.errors import ConfigError

_JUMP = 256.0
"""Map units in half a second that only a teleporter, or another visit, makes: no line is drawn."""

type Track = Sequence[Sequence[float]]
"""Positions in order, [[x, y], …], map units."""


def tracks(folder: Path) -> dict[str, list[Track]]:
    """Reads where the actors of a run were (`actors.track`): one track for each visit, by world, oldest first."""
    visits: defaultdict[tuple[str, str, int, int], list[list[float]]] = defaultdict(list)
    for path in sorted(folder.glob("*.track")):
        for line in path.read_text("utf-8").splitlines():
            try:
                generation, visit, world, _, x, y = json.loads(line)
            except ValueError:  # the last line of a killed actor
                continue
            visits[world, path.stem, generation, visit].append([x, y])
    found: defaultdict[str, list[Track]] = defaultdict(list)
    for (world, *_), track in visits.items():
        found[world].append(track)
    return dict(found)


def cells(track: Track) -> int:
    """Cells of 64 × 64 map units that a track touches."""
    return len({(x // 64, y // 64) for x, y in track})


def walls(world: str) -> NDArray[np.float64]:
    """Lines of a map that nobody walks through, float64 [L, 2, 2]: both ends, x and y; none of other worlds."""
    try:
        geometry = wads.read_geometry(world)
    except ConfigError:
        return np.zeros((0, 2, 2))
    one_sided = (geometry.line_sectors_L2 < 0).any(1)
    return geometry.ends_L4[one_sided].reshape(-1, 2, 2)


def pieces(track: Track) -> list[NDArray[np.float64]]:
    """Cuts a track, [[x, y], …], where it jumps."""
    points = np.array(track, float).reshape(-1, 2)
    if len(points) < 2:
        return []
    jumps = np.flatnonzero(np.hypot(*np.diff(points, axis=0).T) > _JUMP) + 1
    return [piece for piece in np.split(points, jumps) if len(piece) > 1]


def paint(axes: Axes, world: str, tracks: Sequence[Track], *, wall: str, way: str) -> None:
    """Draws a map and the ways in it.

    Args:
        axes: Where.
        world: Which map.
        tracks: One a visit.
        wall: Colour of walls.
        way: Colour of ways.
    """
    axes.add_collection(LineCollection(list(walls(world)), colors=wall, linewidths=0.5))
    lines = [piece for track in tracks for piece in pieces(track)]
    axes.add_collection(
        LineCollection(lines, colors=way, linewidths=0.6, alpha=max(0.12, 0.7 / max(1, len(tracks)) ** 0.5))
    )
    axes.autoscale_view()
    axes.set_aspect("equal")
    axes.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
