"""Memory of every experience over the time of the run, and above it where the agents were.

Shapes: E experiences, V versions, T columns of time.
"""

# pyright: reportUnknownMemberType=false
# (matplotlib's stubs leave the keyword arguments of its drawing methods untyped)

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from deploy.report.blocks import Section, figure, legend, missing
from deploy.report.canvas import Canvas, drawing, no_ticks, picture
from deploy.report.material import Material, Report
from deploy.report.tints import Tint, world_tint
from evaluator.experience import Kind
from evaluator.scores import divide
from evaluator.times.study import Run

TITLE = "Memory of every experience"
_LEAD = (
    "Memory bits say how well the network tells a hidden patch of an experience from the same patch of 255 other "
    "frames of that world: 0 is chance, 8 the most there can be. A collapsed network gets 0."
)
_CAPTION = (
    "Each thin row is one experience; time runs to the right. The dash is when it was lived. From then on colour says"
    " how many more (blue) or fewer (red) memory bits it has than {baseline}, at the same weights version; a cell "
    "lasts until that experience is measured again. On top: the world that each agent was in; the same colours mark "
    "the rows' worlds on the left. Empty: not lived yet, or not measured."
)
_GOOD = (
    "Memory shows as exposed rows that turn bluer after their dash than withheld rows of the same colour on the left;"
    " forgetting as blue that fades once the agent is elsewhere. If withheld rows turn just as blue, the network "
    "knows such surroundings, not the moment. No difference: nothing was memorised."
)
_CONTROLS = (
    "Withheld rows were lived like exposed ones, but kept from training. Placebo rows are blocks of worlds that "
    "nobody entered: their scatter is what pictures do that nobody remembers, some being easier than others."
)
_BASELINES = {
    "world": "frames of the same world that nobody trained on",
    "placebo": "the placebos have on average",
}
_WOULD = "A map with a row for each experience and time to the right, coloured by how well it is remembered."
_COLUMNS = {True: 400, False: 200}
_HEADING = 20
_KINDS = {
    Kind.EXPOSED: ("exposed", "exposed: may be trained on"),
    Kind.WITHHELD: ("withheld", "withheld from training"),
    Kind.PLACEBO: ("placebo", "placebo: never entered"),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """What the map shows.

    Attributes:
        order_R: Experience of each row, by kind, then visit and time.
        bits_RV: Memory bits − baseline at the same version; NaN where not measured or not yet over.
        baseline: What is subtracted: `world`, frames of the same world that nobody trained on; `placebo`, the mean of
            the placebos, where some world has no such frames.
    """

    order_R: NDArray[np.int64]
    bits_RV: NDArray[np.float64]
    baseline: str

    @classmethod
    def of(cls, run: Run) -> "Grid":
        """Orders the experiences of a run and subtracts the baseline."""
        worlds = [run.worlds.get(name) for name in run.world_names]
        if all(of_world is not None and np.isfinite(of_world).any() for of_world in worlds):
            baseline, subtract_EV = "world", np.stack([of for of in worlds if of is not None])[run.world_E]
        else:
            placebo_PV = run.score_EV[run.of(Kind.PLACEBO)]
            known_PV = np.isfinite(placebo_PV)
            mean_V = divide(np.where(known_PV, placebo_PV, 0.0).sum(axis=0), known_PV.sum(axis=0).astype(np.float64))
            baseline, subtract_EV = "placebo", mean_V[None]
        ended_EV = run.time_V >= np.where(np.isfinite(run.end_E), run.end_E, -np.inf)[:, None]
        bits_EV = np.where(ended_EV, run.score_EV - subtract_EV, np.nan)
        kind_E = np.array([list(_KINDS).index(kind) for kind in run.kinds], np.float64)
        order = np.lexsort(np.stack([run.start_E, run.visit_E.astype(np.float64), kind_E])).astype(np.int64)
        return cls(order_R=order, bits_RV=bits_EV[order], baseline=baseline)

    def on_clock(self, minutes_V: NDArray[np.float64], edges_T: NDArray[np.float64]) -> NDArray[np.float64]:
        """Spreads each measurement over the columns of time until the next one of its row: float64 [R, T]."""
        column_T = np.searchsorted(minutes_V, edges_T, side="right") - 1
        carried_RV = self.bits_RV.copy()
        for version in range(1, carried_RV.shape[1]):
            empty_R = np.isnan(carried_RV[:, version])
            carried_RV[empty_R, version] = carried_RV[empty_R, version - 1]
        before_T = column_T < 0
        found_RT = carried_RV[:, np.maximum(column_T, 0)] if carried_RV.shape[1] else np.empty((len(carried_RV), 0))
        return np.where(before_T, np.nan, found_RT)


def section(report: Report) -> Section:
    """Writes the section."""
    run = report.first
    if not run.run.names:
        reason = "no experience was measured"
        return Section(name="memory", title=TITLE, lead=_LEAD, blocks=[missing(TITLE, reason, _WOULD)])
    grid = Grid.of(run.run)
    if not np.isfinite(grid.bits_RV).any():
        reason = "no version has memory bits both of an experience and of what it is compared with"
        return Section(name="memory", title=TITLE, lead=_LEAD, blocks=[missing(TITLE, reason, _WOULD)])
    body = drawing("heat", "Heat map of memory bits by experience and time", lambda canvas: _paint(canvas, run, grid))
    caption = _CAPTION.format(baseline=_BASELINES[grid.baseline])
    names = list(run.run.world_names)
    key = legend([(world_tint(number), "block", name) for number, name in enumerate(names)])
    made = figure(f"{TITLE} over time", body, caption, good=_GOOD, controls=_CONTROLS, key=key)
    return Section(name="memory", title=TITLE, lead=_LEAD, blocks=[made])


def _paint(canvas: Canvas, run: Material, grid: Grid) -> None:
    left, right, top = 16, 10, 6
    width = canvas.width - left - right
    actors = sorted({visit.actor for visit in run.visits})
    lane = 11
    _lanes(canvas.axes(left, top, width, max(lane * len(actors), 1)), run, actors)
    top += lane * len(actors) + 4
    start, end = run.span
    edges = np.linspace(start, end, _COLUMNS[canvas.wide] + 1)
    shown_RT = grid.on_clock((run.run.time_V - run.origin) / 60, edges[:-1])
    limit = float(np.nanpercentile(np.abs(grid.bits_RV), 98)) or 1.0
    last: Axes | None = None
    for kind, (_, name) in _KINDS.items():
        rows = np.flatnonzero([run.run.kinds[index] is kind for index in grid.order_R])
        if not len(rows):
            continue
        height = float(np.clip(4.0 * len(rows), 24, 300 if canvas.wide else 220))
        top += _HEADING
        last = canvas.axes(left, top, width, height)
        _block(last, run, grid.order_R[rows], shown_RT[rows], limit)
        last.set_title(f"{name} ({len(rows)})", loc="left", pad=4, fontsize=11)
        top += height
    if last is not None:
        last.tick_params(bottom=True, labelbottom=True)
        last.set_xlabel("minutes since the first frame")
    top += 58
    bar = canvas.axes(left + width / 2 - 110, top, 220, 10)
    picture(bar, np.linspace(-limit, limit, 64)[None], limit, (-limit, limit, 0, 1))
    no_ticks(bar)
    bar.set_xlim(-limit, limit)
    bar.set_xticks([-limit, 0, limit], [f"−{limit:.2g}", "equal", f"+{limit:.2g} bits"])
    canvas.extend(24)


def _lanes(axes: Axes, run: Material, actors: Sequence[str]) -> None:
    no_ticks(axes)
    axes.set_xlim(*run.span)
    axes.set_ylim(max(len(actors), 1), 0)
    numbers = {name: number for number, name in enumerate(run.run.world_names)}
    for visit in run.visits:
        begin, end = ((moment - run.origin) / 60 for moment in (visit.start, visit.end))
        lane = actors.index(visit.actor)
        axes.broken_barh([(begin, end - begin)], (lane + 0.1, 0.8), facecolor=world_tint(numbers[visit.world]))


def _block(
    axes: Axes, run: Material, experiences: NDArray[np.int64], shown_RT: NDArray[np.float64], limit: float
) -> None:
    start, end = run.span
    no_ticks(axes, sides=("left", "top", "right"))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8))
    axes.tick_params(bottom=False, labelbottom=False)
    axes.patch.set_visible(True)
    axes.patch.set_facecolor(Tint.BLANK)
    picture(axes, shown_RT, limit, (start, end, len(shown_RT), 0))
    axes.set_xlim(start, end)
    axes.set_ylim(len(shown_RT), 0)
    lived = run.run.start_E[experiences], run.run.end_E[experiences]
    rows = np.flatnonzero(np.isfinite(lived[0]))
    begin, over = ((moment[rows] - run.origin) / 60 for moment in lived)
    axes.hlines(rows + 0.5, begin, over, color=Tint.INK, linewidth=1.6, zorder=2)
    worlds = run.run.world_E[experiences]
    breaks: list[int] = [0, *(np.flatnonzero(np.diff(worlds)) + 1).tolist(), len(worlds)]
    for first, after in pairwise(breaks):
        axes.plot(
            [-0.012, -0.012], [first, after], color=world_tint(int(worlds[first])), linewidth=5, solid_capstyle="butt",
            transform=axes.get_yaxis_transform(), clip_on=False,
        )  # fmt: skip
