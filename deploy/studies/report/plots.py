"""One style for all figures: drawn by matplotlib for a page, a phone and a paper, the same bytes every time.

Colours are Okabe and Ito's, and each goes with a marker and a dash of its own, so that a figure can be read in grey.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (matplotlib's stubs leave the keyword arguments of its drawing methods untyped)

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from math import isfinite
from typing import Any
from zlib import crc32

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from evaluator.scores import Result, Score

INK, GREY, FAINT = "#1a1a1a", "#6b6b6b", "#d9d9d9"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<")
_DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2), (8, 3), (3, 1, 1, 1, 1, 1), (2, 3))
_PATHS, _DECIMALS = re.compile(r' d="[^"]*"'), re.compile(r"(\d+\.\d\d)\d+")
WIDE, NARROW = 8.4, 3.7
"""Widths, inches."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "pdf.compression": 6,
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "text.parse_math": False,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "path.simplify": True,
}


@dataclass(frozen=True, slots=True)
class Sign:
    """How one of several things is drawn.

    Attributes:
        colour: Colour.
        marker: Marker.
        dash: Lengths of strokes and gaps; none for a line without.
    """

    colour: str
    marker: str
    dash: tuple[float, ...]

    @property
    def line(self) -> tuple[int, tuple[float, ...]] | str:
        """Matplotlib's style of the line."""
        return (0, self.dash) if self.dash else "-"


def sign(number: int) -> Sign:
    """Sign of the thing with this number."""
    return Sign(_COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)], _DASHES[number % len(_DASHES)])


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """A part of a figure with axes of its own.

    Attributes:
        title: Short heading.
        paint: Draws it.
        rows: Things below each other that need height; 0 for a panel of the usual height.
        lines: Lines of text below its axis.
    """

    title: str
    paint: Callable[[Axes], None]
    rows: int = 0
    lines: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """A figure.

    Attributes:
        name: Name of its files.
        title: What it shows, in a few words.
        caption: What, how computed, of how much; paragraphs.
        panels: Its parts.
        columns: Panels beside each other on a wide screen.
        missing: What it cannot show, and why: a clause each.
        shared: Whether panels of a row share their vertical axis.
    """

    name: str
    title: str
    caption: Sequence[str]
    panels: Sequence[Panel]
    columns: int = 2
    missing: Sequence[str] = field(default_factory=list[str])
    shared: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """A figure that cannot be drawn.

    Attributes:
        title: What it would have shown.
        because: Why there is none, a clause that continues "not measurable, because …".
    """

    title: str
    because: str


def render(drawing: Drawing, *, narrow: bool = False) -> tuple[str, bytes]:
    """Draws a figure once, as SVG and as PDF."""
    style: dict[Any, Any] = STYLE | {"svg.hashsalt": drawing.name}
    with mpl.rc_context(style):
        figure = _figure(drawing, narrow=narrow)
        vector, paper = io.BytesIO(), io.BytesIO()
        FigureCanvasSVG(figure).print_svg(vector, metadata={"Date": None, "Creator": None, "Title": drawing.title})
        nothing = dict.fromkeys(("CreationDate", "Producer", "Creator"))
        if not narrow:
            FigureCanvasPdf(figure).print_pdf(paper, metadata=nothing | {"Title": drawing.title})
    return vector.getvalue().decode(), paper.getvalue()


def inline(text: str, name: str, title: str, *, narrow: bool) -> str:
    """Makes a drawing part of a page: no prologue, sized by the page, named for those who do not see it.

    Ids and styles are made its own and short: a page holds many drawings, matplotlib gives letters the same ids in all
    of them, and it writes out the style of every sign.
    """
    body = text[text.index("<svg") :]
    points = float(body.partition('width="')[2].partition("pt")[0])
    share = 1.0 if narrow else min(1.0, points / (72 * WIDE))
    body = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", body, count=2)
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    mark = f"f{crc32(name.encode()):x}{'n' if narrow else 'w'}"
    referred = dict.fromkeys(re.findall(r'(?:href="#|url\(#)([^")]+)', body))
    short = {old: f"{mark}{number}" for number, old in enumerate(referred)}
    body = re.sub(r' id="([^"]*)"', lambda found: f' id="{short[found[1]]}"' if found[1] in short else "", body)
    body = re.sub(r'(href="#|url\(#)([^")]+)', lambda found: found[1] + short[found[2]], body)
    styles: dict[str, str] = {}
    body = re.sub(
        r' style="([^"]*)"', lambda found: f' class="{styles.setdefault(found[1], f"{mark}s{len(styles)}")}"', body
    )
    body = _PATHS.sub(lambda path: _DECIMALS.sub(r"\1", path[0]).replace(" \n", " "), body)
    body = re.sub(r"\n\s*", "\n", body)
    rules = "".join(f".{known}{{{rule}}}" for rule, known in styles.items())
    head = f'<svg class="{"narrow" if narrow else "wide"}" role="img" aria-label="{escape(title)}"'
    head += f' style="max-width:{share:.0%}"'
    return body.replace("<svg", head, 1).replace(">", f"><style>{rules}</style>", 1)


def _figure(drawing: Drawing, *, narrow: bool) -> Figure:
    columns = 1 if narrow else min(drawing.columns, len(drawing.panels))
    lines = -(-len(drawing.panels) // columns)
    heights = [
        max(_height(panel) for panel in drawing.panels[at : at + columns])
        for at in range(0, len(drawing.panels), columns)
    ]
    width = NARROW if narrow else WIDE if columns > 1 else 0.7 * WIDE
    figure = Figure(figsize=(width, sum(heights) + 0.3), layout="constrained")
    grid = figure.subplots(
        lines, columns, squeeze=False, height_ratios=heights, sharey="row" if drawing.shared and not narrow else False
    )
    cells: list[Axes] = list(grid.flat)
    for number, (panel, cell) in enumerate(zip(drawing.panels, cells, strict=False)):
        cell.set_title(panel.title)
        panel.paint(cell)
        if drawing.shared and number % columns:
            cell.tick_params(labelleft=False)
    for cell in cells[len(drawing.panels) :]:
        cell.set_axis_off()
    entries: dict[str, Artist] = {}
    for cell in cells:
        for handle, label in zip(*cell.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        most = 2 if narrow else 5
        longest = max(len(label) for label in entries)
        count = max(1, min(most, len(entries), int((44 if narrow else 110) / (longest + 6))))
        figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=count, handlelength=2.6)
    return figure


def _height(panel: Panel) -> float:
    return 0.13 * panel.lines + (0.85 + 0.26 * panel.rows if panel.rows else 2.5)


def bar(axes: Axes, at: float, score: Result, style: Sign, *, label: str = "", across: bool = False) -> None:
    """Draws a number with its interval; an open end is an arrow, what is not measurable nothing.

    Args:
        axes: Where.
        at: Place on the other axis.
        score: The number.
        style: Its sign.
        label: Name in the legend.
        across: Whether the number lies on the horizontal axis.
    """
    if not isinstance(score, Score) or not isfinite(score.value):
        return
    x, y = (score.value, at) if across else (at, score.value)
    axes.plot([x], [y], marker=style.marker, color=style.colour, linestyle="none", label=label or "_", zorder=3)
    if score.low is None and score.high is None:
        return
    low = score.value if score.low is None else score.low
    high = score.value if score.high is None else score.high
    (axes.hlines if across else axes.vlines)(at, low, high, color=style.colour, linewidth=1.4, zorder=2)
    for end, direction in ((score.low, -1), (score.high, 1)):
        if end is None:
            way = (12 * direction, 0) if across else (0, 12 * direction)
            arrow = {"arrowstyle": "<-", "color": style.colour, "shrinkA": 0, "shrinkB": 3}
            tip = high if direction > 0 else low
            where = (tip, at) if across else (at, tip)
            axes.annotate("", xy=where, xytext=way, textcoords="offset points", arrowprops=arrow)
        else:
            where = (end, at) if across else (at, end)
            axes.plot(
                *([value] for value in where), marker="|" if across else "_", color=style.colour, linestyle="none"
            )
