"""One picture of a run: the loss of every experience over time as a heat map, the probes beneath on the same clock.

    evaluations.jsonl ──► read_evaluations ──► Grid (rows: experiences, columns: evaluations) ──► draw ──► memory.png

Colour is the loss divided by the mean placebo loss *of the same version*: the loss alone moves with its target, for all
experiences together, and the placebo worlds carry that common movement and nothing else.
"""

# pyright: reportUnknownMemberType=false
# (matplotlib's stubs leave the keyword arguments of its drawing methods untyped)

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from deploy.summary import Estimate, Evaluated, Lived
from deploy.view import ENCODERS, UNITS

KINDS = {
    "exposed": "learners may train on it",
    "withheld": "lived, but kept from all learners",
    "placebo": "in worlds that are never visited",
}
"""Kinds of experiences, top to bottom, and what they mean."""

PROBES = ("world", "place", "depth")
"""Probes beneath the heat map, top to bottom."""

CAPTION = (
    "How to read it: each row is one experience; the black dash is when it was lived, and each cell starts at one "
    "evaluation and lasts until the experience is measured again. Blue: its loss is lower than that of placebo "
    "experiences at the same version; red: higher; grey: not measured yet. The loss alone would mislead, because "
    "its target is made by the encoder that is being trained: it moves for all experiences together. Exposed rows "
    "turning bluer than withheld rows of the same visit hint at memory of these very moments, both turning blue "
    "at knowledge of the place. Places differ in how hard they are: follow a row along time rather than comparing "
    "rows. Bands are 95 % intervals over the walks of the probe set, for one run and one seed."
)

_WORLD_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
_ENCODER_STYLES = {"trained": ("#0072B2", "-"), "random": ("#D55E00", "--"), "pixels": ("#555555", ":")}
_HEADING = 3
"""Fewest rows above each kind, for its name."""
_HEADING_SHARE = 0.024
"""The same as a share of all rows: with very many they are thin."""
_WIDTH, _LEFT, _RIGHT = 11.0, 1.5, 1.35
_TOP, _PROBE, _SPACE, _BOTTOM = 0.68, 1.05, 0.16, 1.42
_MARGIN = 0.2
_INK, _GREY, _BLANK = "#222222", "#555555", "#e8e8e8"


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """What the heat map shows.

    Attributes:
        minutes: Time of each evaluation since the first thing that happened, minutes of system time [E].
        rows: Experience of each row, top to bottom; None where the headings stand [R].
        percent: 100 × (loss ÷ mean placebo loss − 1) when it was measured last, NaN before the first time [R, E].
        origin: System time of minute 0, seconds.
    """

    minutes: NDArray[np.float64]
    rows: tuple[Lived | None, ...]
    percent: NDArray[np.float64]
    origin: float

    @classmethod
    def of(cls, evaluations: Sequence[Evaluated]) -> "Grid":
        """Orders experiences by kind, visit and time, and divides each loss by the placebo loss of its version."""
        lived = {item.name: item for evaluation in evaluations for item in evaluation.lived}
        visits: dict[str, float] = {}
        for item in lived.values():
            start = item.start if math.isfinite(item.start) else 0.0
            visits[item.visit] = min(start, visits.get(item.visit, math.inf))
        heading = max(_HEADING, round(_HEADING_SHARE * len(lived)))
        ordered: list[Lived | None] = []
        for kind in KINDS:
            of_kind = [item for item in lived.values() if item.kind == kind]
            of_kind.sort(key=lambda item: (visits[item.visit], item.visit, item.start, item.name))
            ordered += [*([None] * heading if of_kind else []), *of_kind]
        times = np.array([evaluation.system_time for evaluation in evaluations])
        starts = [item.start for item in lived.values() if math.isfinite(item.start)]
        origin = min([*starts, *times.tolist()], default=0.0)
        place = {item.name: row for row, item in enumerate(ordered) if item is not None}
        percent = np.full((len(ordered), len(evaluations)), np.nan)
        for column, evaluation in enumerate(evaluations):
            placebo = evaluation.losses.get("placebo")
            if placebo is None or placebo.value <= 0:
                continue
            for item in evaluation.lived:
                if not item.age < 0:
                    percent[place[item.name], column] = 100 * (item.loss / placebo.value - 1)
        for column, evaluation in enumerate(evaluations[1:], start=1):  # not every experience is due every time
            waiting = np.ones(len(ordered), bool)
            waiting[[place[item.name] for item in evaluation.lived]] = False
            percent[waiting, column] = percent[waiting, column - 1]
        return cls(minutes=(times - origin) / 60, rows=tuple(ordered), percent=percent, origin=origin)

    @property
    def edges(self) -> NDArray[np.float64]:
        """Borders of the columns, minutes [E + 1]."""
        step = float(np.median(np.diff(self.minutes))) if len(self.minutes) > 1 else 0.0
        return np.append(self.minutes, self.minutes[-1] + (step or 0.5))


def draw(evaluations: Sequence[Evaluated], path: Path, *, title: str = "") -> Path:
    """Draws the picture of a run.

    Args:
        evaluations: All evaluations, oldest first; with none the picture says so.
        path: Where to write the PNG.
        title: What stands on top, for example the run directory.

    Returns:
        `path`.
    """
    usable = [evaluation for evaluation in evaluations if math.isfinite(evaluation.system_time)]
    usable.sort(key=lambda evaluation: evaluation.system_time)
    figure = _figure(usable, title) if usable else _empty(title)
    FigureCanvasAgg(figure).print_png(path)
    return path


def _empty(title: str) -> Figure:
    figure = Figure(figsize=(_WIDTH, 2.5), dpi=150)
    figure.text(0.5, 0.6, title or "engram", ha="center", fontsize=11, color=_INK)
    said = "No evaluation was finished in this run, so there is nothing to draw."
    figure.text(0.5, 0.4, said, ha="center", fontsize=11)
    return figure


def _figure(evaluations: Sequence[Evaluated], title: str) -> Figure:
    grid = Grid.of(evaluations)
    tall = float(np.clip(0.055 * len(grid.rows), 2.2, 7.0))
    height = _TOP + tall + len(PROBES) * (_PROBE + _SPACE) + _BOTTOM
    figure = Figure(figsize=(_WIDTH, height), dpi=150)

    def axes(top: float, inches: float, left: float = _LEFT, width: float = _WIDTH - _LEFT - _RIGHT) -> Axes:
        return figure.add_axes((left / _WIDTH, 1 - (top + inches) / height, width / _WIDTH, inches / height))

    headline = "What is remembered of every experience, and what the features can tell"
    figure.text(_MARGIN / _WIDTH, 1 - 0.3 / height, headline, fontsize=14, weight="bold", color=_INK)
    figure.text(_MARGIN / _WIDTH, 1 - 0.52 / height, _subtitle(evaluations, title), fontsize=9, color=_GREY)
    heat = axes(_TOP, tall)
    _heat_map(heat, axes(_TOP, tall, _WIDTH - _RIGHT + 0.15, 0.16), grid, tall)
    low, high = min(0.0, float(grid.edges[0])), float(grid.edges[-1])
    heat.set_xlim(low, high)
    heat.tick_params(bottom=False, labelbottom=False)
    for number, probe in enumerate(PROBES):
        panel = axes(_TOP + tall + _SPACE + number * (_PROBE + _SPACE), _PROBE)
        _probe_panel(panel, probe, evaluations, grid.minutes)
        panel.set_xlim(low, high)
        panel.tick_params(labelbottom=number == len(PROBES) - 1)
        if number == len(PROBES) - 1:
            panel.set_xlabel("minutes of the run (system time, without pauses)", fontsize=9)
    figure.text(_MARGIN / _WIDTH, _MARGIN / height, fill(CAPTION, 190), fontsize=7.5, color=_GREY, linespacing=1.4)
    return figure


def _subtitle(evaluations: Sequence[Evaluated], title: str) -> str:
    newest = evaluations[-1].version
    parts = [title] if title else []
    if len(evaluations) == 1:
        parts.append(f"one evaluation only (v{newest}): no course over time can be seen yet")
    else:
        parts.append(f"{len(evaluations)} evaluations, v{evaluations[0].version} to v{newest}")
    return " · ".join(parts)


def _heat_map(axes: Axes, bar: Axes, grid: Grid, inches: float) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_yticks([])
    known = np.abs(grid.percent[np.isfinite(grid.percent)])
    if not known.size:
        axes.text(0.5, 0.5, "no experience could be compared with placebo experiences",
                  transform=axes.transAxes, ha="center", va="center", fontsize=10)  # fmt: skip
        axes.set_xlim(0, 1)
        bar.set_visible(False)
        return
    limit = max(1.0, float(np.percentile(known, 98)))
    mesh = axes.pcolormesh(
        grid.edges, np.arange(len(grid.rows) + 1), np.ma.masked_invalid(grid.percent),
        cmap="RdBu_r", norm=CenteredNorm(0, limit), rasterized=True,
    )  # fmt: skip
    axes.set_ylim(len(grid.rows), 0)
    axes.set_facecolor(_BLANK)
    colours = axes.figure.colorbar(mesh, cax=bar, extend="both")
    colours.set_label("loss against the mean placebo loss\nof the same version, %", fontsize=8.5)
    colours.ax.tick_params(labelsize=8)
    moments = [(row, item) for row, item in enumerate(grid.rows) if item is not None and math.isfinite(item.start)]
    begin, end = (np.array([getattr(item, part) for _, item in moments]) for part in ("start", "end"))
    rows = np.array([row + 0.5 for row, _ in moments])
    axes.hlines(rows, (begin - grid.origin) / 60, (end - grid.origin) / 60, color=_INK, linewidth=1.4)
    _mark_worlds(axes, grid, inches)


def _mark_worlds(axes: Axes, grid: Grid, inches: float) -> None:
    worlds = list(dict.fromkeys(item.world for item in grid.rows if item is not None))
    across, points_a_row = axes.get_yaxis_transform(), inches * 72 / len(grid.rows)
    last_label = -math.inf
    for first, last, item in _stays(grid.rows):
        colour = _WORLD_COLOURS[worlds.index(item.world) % len(_WORLD_COLOURS)]
        strip = Rectangle((-0.02, first + 0.1), 0.011, last - first - 0.2, transform=across, color=colour, lw=0)
        strip.set_clip_on(False)
        axes.add_patch(strip)
        middle = (first + last) / 2
        if (middle - last_label) * points_a_row >= 7:
            axes.text(-0.027, middle, _short(item.world), transform=across, ha="right", va="center", fontsize=6.5)
            last_label = middle
    heading = next(row for row, item in enumerate(grid.rows) if item is not None)
    for kind, meaning in KINDS.items():
        rows = [row for row, item in enumerate(grid.rows) if item is not None and item.kind == kind]
        if rows:
            axes.axhspan(rows[0] - heading, rows[0], color="white", lw=0)
            said = f"{kind} · {meaning} · {len(rows)} experience{'' if len(rows) == 1 else 's'}"
            axes.text(0, rows[0] - heading * 0.4, said, transform=across, va="center", fontsize=8, weight="bold")


def _short(world: str) -> str:
    return world if len(world) <= 18 else f"{world[:9]}…{world[-8:]}"


def _stays(rows: Sequence[Lived | None]) -> list[tuple[int, int, Lived]]:
    stays: list[tuple[int, int, Lived]] = []
    for row, item in enumerate(rows):
        if item is None:
            continue
        if stays and stays[-1][1] == row and stays[-1][2].visit == item.visit:
            stays[-1] = (stays[-1][0], row + 1, item)
        else:
            stays.append((row, row + 1, item))
    return stays


def _probe_panel(axes: Axes, probe: str, evaluations: Sequence[Evaluated], minutes: NDArray[np.float64]) -> None:
    ends: list[tuple[float, str, str]] = []
    for encoder, name in ENCODERS.items():
        colour, dash = _ENCODER_STYLES[encoder]
        scores = [evaluation.probe(probe)[encoder] for evaluation in evaluations]
        values, low, high = (_column(scores, part) for part in ("value", "low", "high"))
        if not np.isfinite(values).any():
            ends.append((math.nan, f"{name}: not measured", colour))
            continue
        axes.fill_between(minutes, low, high, color=colour, alpha=0.12 if encoder != "trained" else 0.22, linewidth=0)
        if len(minutes) == 1:
            axes.vlines(minutes, low, high, color=colour, alpha=0.5, linewidth=4)
        marker = "o" if len(minutes) == 1 else "." if encoder == "trained" else None
        axes.plot(minutes, values, dash, color=colour, linewidth=1.6, marker=marker, markersize=5)
        ends.append((float(values[np.isfinite(values)][-1]), name, colour))
    axes.set_ylabel(f"{probe}\n{UNITS[probe]}", fontsize=9)
    axes.yaxis.set_label_coords(-0.075, 0.5)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    _label_ends(axes, ends)


def _column(scores: Sequence[Estimate | None], part: str) -> NDArray[np.float64]:
    return np.array([math.nan if score is None else getattr(score, part) for score in scores])


def _label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Names the lines at their right ends, kept apart so that no two names overlap."""
    bottom, top = axes.get_ylim()
    apart, ordered = 0.17, sorted(ends, key=lambda end: (math.isfinite(end[0]), end[0]))
    heights = [(value - bottom) / (top - bottom) if math.isfinite(value) else 0.0 for value, _, _ in ordered]
    for number in range(1, len(heights)):
        heights[number] = max(heights[number], heights[number - 1] + apart)
    for number in reversed(range(len(heights))):
        heights[number] = min(heights[number], 1.0 - apart * (len(heights) - 1 - number))
    for height, (_, name, colour) in zip(heights, ordered, strict=True):
        axes.text(1.01, height, name, transform=axes.transAxes, va="center", fontsize=8, color=colour)
