"""Pictures of the ways that actors went, over the walls of each map."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (matplotlib's stubs leave the keyword arguments of its drawing methods untyped)

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from actors.worlds import wads
from deploy.explore.coverage import Rows, ever_covered
from deploy.explore.plan import Plan

_INK, _WALL, _WAY = "#1f2937", "#9ca3af", "#2563eb"
_JUMP = 256.0
"""Map units in half a second that only a teleporter, or another visit, makes: no line is drawn."""


def walls(world: str) -> NDArray[np.float64]:
    """Lines of a map that nobody walks through, float64 [L, 2, 2]: both ends, x and y; map units."""
    geometry = wads.read_geometry(world)
    one_sided = (geometry.line_sectors_L2 < 0).any(1)
    return geometry.ends_L4[one_sided].reshape(-1, 2, 2)


def pieces(track: Sequence[Sequence[float]]) -> list[NDArray[np.float64]]:
    """Cuts a track, [[x, y], …], where it jumps."""
    points = np.array(track, float).reshape(-1, 2)
    if len(points) < 2:
        return []
    jumps = np.flatnonzero(np.hypot(*np.diff(points, axis=0).T) > _JUMP) + 1
    return [piece for piece in np.split(points, jumps) if len(piece) > 1]


def paint(
    axes: Axes, world: str, tracks: Sequence[Sequence[Sequence[float]]], *, ink: str, wall: str, way: str
) -> None:
    """Draws a map and the ways in it.

    Args:
        axes: Where.
        world: Which map.
        tracks: Positions in order, one list a visit.
        ink: Colour of nothing but text.
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
    axes.title.set_color(ink)


def draw(rows: Rows, plan: Plan, path: Path) -> Path:
    """Draws the ways of each agent in each map, all visits of the first seed.

    Args:
        rows: Visits.
        plan: What was compared.
        path: PNG file.
    """
    worlds, seed = plan.run.world.worlds, plan.seeds[0]
    figure = Figure(figsize=(2.5 * len(worlds), 2.9 * len(plan.agents)), dpi=100, layout="constrained")
    grid: Any = figure.subplots(len(plan.agents), len(worlds), squeeze=False)
    for line, agent in zip(grid, plan.agents, strict=True):
        for axes, world in zip(line, worlds, strict=True):
            tracks = [row["track"] for row in rows.get((agent, seed), ()) if row["world"] == world]
            paint(axes, world, tracks, ink=_INK, wall=_WALL, way=_WAY)
            counts = ever_covered({key: value for key, value in rows.items() if key[1] == seed}, agent, world)
            axes.set_title(f"{agent} · {world}\n{len(tracks)} visits, {sum(counts)} cells", fontsize=8, color=_INK)
    figure.savefig(path)
    return path
