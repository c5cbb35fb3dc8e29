"""Where the actors went, map by map."""

# pyright: reportUnknownMemberType=false
# (matplotlib's stubs leave the keyword arguments of its drawing methods untyped)

from statistics import mean

from deploy.report.blocks import Section, figure, missing, table
from deploy.report.canvas import Canvas, drawing
from deploy.report.material import Report
from deploy.report.tints import Tint
from deploy.ways import Track, cells, paint, tracks

_TITLE = "Ways over each map"
_CAPTION = (
    "Lines: where actors were, each half second, all visits on top of each other; walls are grey. Positions are ground "
    "truth that no agent but the explorer is told."
)
_GOOD = (
    "Ways that reach every part of a map show the encoder all there is to see; a dark knot is an agent that stays, or "
    "is stuck. How far agents get is compared by `engram explore`."
)
_MOST = 200
"""Visits of a map that are drawn, the newest: a page must stay small."""


def section(report: Report) -> Section:
    """Writes the section."""
    found = tracks(report.first.folder / "actors")
    blocks = [_ways(found), _table(found)] if found else [missing(_TITLE, "no world told where actors were", _CAPTION)]
    return Section(name="ways", title="Where the actors went", blocks=blocks)


def _ways(found: dict[str, list[Track]]) -> str:
    def draw(canvas: Canvas) -> None:
        panels = canvas.panels(len(found), height=250, columns=3 if canvas.wide else 1)
        for axes, (world, ways) in zip(panels, sorted(found.items()), strict=True):
            paint(axes, world, ways[-_MOST:], wall=Tint.GREY, way=Tint.BLUE)
            axes.set_title(world)

    return figure(_TITLE, drawing("ways", "ways of the actors over the walls of each map", draw), _CAPTION, good=_GOOD)


def _table(found: dict[str, list[Track]]) -> str:
    rows = [
        [world, f"{len(ways):,}", f"{mean(map(cells, ways)):.0f}", f"{cells([spot for way in ways for spot in way]):,}"]
        for world, ways in sorted(found.items())
    ]
    head = ("world", "visits", "cells a visit", "cells ever")
    return table(head, rows, "Cells entered", notes=("Cells are squares of 64 map units, two metres.",))
