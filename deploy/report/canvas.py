"""Drawings for the page: matplotlib's SVG, laid out in CSS pixels, once for wide and once for narrow screens.

matplotlib gives every drawing fixed colours and its elements the same ids; here colours become CSS variables, ids
become the drawing's own, and text stays text in the font of the page.
"""

# pyright: reportUnknownMemberType=false
# (matplotlib's stubs leave the keyword arguments of its drawing methods untyped)

import io
import itertools
import re
from collections.abc import Callable, Sequence
from html import escape

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

from deploy.report.tints import Tint, better_or_worse, themed

WIDE, NARROW = 920, 356
"""Widths of the two drawings, CSS pixels: the page's column on a laptop, and on a phone of 390."""

_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "image.composite_image": False,
    "font.size": 11.5,
    "text.color": Tint.INK.value,
    "axes.titlecolor": Tint.INK.value,
    "axes.titlesize": 12,
    "axes.labelsize": 11.5,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
}
_NUMBERS = re.compile(r"(\d+\.\d\d)\d+")
_PATHS = re.compile(r' d="([^"]*)"')
_THEMES = itertools.cycle


class Canvas:
    """One drawing, laid out in pixels from its top left corner.

    Args:
        wide: Whether it is for a wide screen.

    Attributes:
        pair: Columns of two panels that belong together: 2, or 1 on a narrow screen.
    """

    def __init__(self, *, wide: bool) -> None:
        self.wide = wide
        self.pair = 2 if wide else 1
        self.width = WIDE if wide else NARROW
        self.height = 100.0
        self._placed: list[tuple[Axes, tuple[float, float, float, float]]] = []
        self.figure = Figure(figsize=(1, 1), dpi=72)
        self.figure.patch.set_visible(False)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Adds a panel, and makes the drawing tall enough for it; see `extend` for what stands below."""
        panel = self.figure.add_axes((0, 0, 1, 1))
        self._placed.append((panel, (left, top, width, height)))
        self.height = max(self.height if len(self._placed) > 1 else 0.0, top + height)
        panel.patch.set_visible(False)
        panel.tick_params(colors=Tint.GREY, length=3, width=0.8)
        panel.xaxis.label.set_color(Tint.GREY)
        panel.yaxis.label.set_color(Tint.GREY)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            panel.spines[side].set_color(Tint.GREY)
            panel.spines[side].set_linewidth(0.8)
        panel.grid(axis="y", color=Tint.LINE, linewidth=0.7)
        panel.set_axisbelow(True)
        return panel

    def extend(self, pixels: float) -> None:
        """Leaves room below the last panel."""
        self.height += pixels

    def panels(self, count: int, *, height: float = 150, columns: int = 1) -> list[Axes]:
        """Adds panels of one size with room for a title and for labels, `columns` beside each other."""
        left, right, above, below = (50, 12, 26, 40) if self.wide or columns == 1 else (40, 8, 24, 30)
        width = self.width / columns
        found = [
            self.axes(
                number % columns * width + left,
                number // columns * (height + above + below) + above,
                width - left - right,
                height,
            )
            for number in range(count)
        ]
        self.extend(below)
        return found

    def svg(self, name: str, label: str) -> str:
        """Writes the drawing; `name` makes its ids unique on the page, `label` says to a screen reader what it is."""
        self.figure.set_size_inches(self.width / 72, self.height / 72)
        for panel, (left, top, width, height) in self._placed:
            bottom = 1 - (top + height) / self.height
            panel.set_position((left / self.width, bottom, width / self.width, height / self.height))
        buffer = io.StringIO()
        with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):  # pyright: ignore[reportArgumentType]
            FigureCanvasSVG(self.figure).print_svg(
                buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
            )
        return _inlined(buffer.getvalue(), name, label, "wide" if self.wide else "narrow")


def drawing(name: str, label: str, paint: Callable[[Canvas], None]) -> str:
    """Paints a drawing for both widths.

    Args:
        name: Unique on the page.
        label: What it is, for who cannot see it.
        paint: Paints on a canvas, whichever width it has.

    Returns:
        Two SVG elements, of which CSS shows one.
    """
    parts: list[str] = []
    for wide in (True, False):
        with mpl.rc_context(_STYLE):  # pyright: ignore[reportArgumentType]
            canvas = Canvas(wide=wide)
            paint(canvas)
        parts.append(canvas.svg(f"{name}-{'w' if wide else 'n'}", label))
    return "".join(parts)


def _inlined(svg: str, name: str, label: str, kind: str) -> str:
    body = svg[svg.index("<svg") :]
    head, body = body.split(">", 1)
    box = re.search(r'viewBox="([^"]*)"', head)
    assert box is not None
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.S)
    body = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', body)
    body = re.sub(r"url\(#([^)]*)\)", rf"url(#{name}-\1)", body)
    body = re.sub(r'(xlink:)?href="#([^"]*)"', rf'href="#{name}-\2"', body)
    body = body.replace("xlink:href=", "href=")
    body = _PATHS.sub(lambda path: f' d="{_NUMBERS.sub(r"\1", path[1].replace(chr(10), ""))}"', body)
    themes = _THEMES(("on-light", "on-dark"))
    body = re.sub(r"<image ", lambda _: f'<image class="{next(themes)}" ', body)
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" class="{kind}" viewBox="{box[1]}" role="img"'
    return themed(f'{opening} aria-label="{escape(label, quote=True)}">{body}')


def picture(axes: Axes, value_YX: NDArray[np.float64], limit: float, extent: tuple[float, float, float, float]) -> None:
    """Paints numbers from −`limit` to `limit` as colours, once for light and once for dark ground; NaN stays blank.

    Args:
        axes: Where.
        value_YX: Numbers, the first row on top.
        limit: Number of the last colour on either side.
        extent: Left, right, bottom and top in the coordinates of the axes.
    """
    for dark in (False, True):
        colours = better_or_worse(dark=dark)((np.clip(value_YX / limit, -1, 1) + 1) / 2)
        colours[~np.isfinite(value_YX)] = 0.0
        axes.imshow(
            (colours * 255).round().astype(np.uint8), extent=extent, aspect="auto", interpolation="none", zorder=1
        )


def no_ticks(axes: Axes, sides: Sequence[str] = ("left", "bottom", "top", "right")) -> None:
    """Takes frame, ticks and grid away."""
    for side in sides:
        axes.spines[side].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
