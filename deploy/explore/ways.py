"""Pictures of the ways that actors went, over the walls of each map."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (matplotlib's stubs leave the keyword arguments of its drawing methods untyped)

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from deploy.explore.coverage import Rows, ever_covered
from deploy.explore.plan import Plan
from deploy.ways import paint

_INK, _WALL, _WAY = "#1f2937", "#9ca3af", "#2563eb"


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
            paint(axes, world, tracks, wall=_WALL, way=_WAY)
            counts = ever_covered({key: value for key, value in rows.items() if key[1] == seed}, agent, world)
            axes.set_title(f"{agent} · {world}\n{len(tracks)} visits, {sum(counts)} cells", fontsize=8, color=_INK)
    figure.savefig(path)
    return path
