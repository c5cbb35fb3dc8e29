"""Numbers of conditions along an axis: over a scale where it is numeric, as a dot plot where it is not."""

# pyright: reportUnknownMemberType=false
# (matplotlib's stubs leave the keyword arguments of its drawing methods untyped)

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast, override

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatterSciNotation, NullFormatter
from matplotlib.transforms import offset_copy

from deploy.studies.report.design import Axis, Level
from deploy.studies.report.findings import Findings, What
from deploy.studies.report.material import Material
from deploy.studies.report.plots import GREY, Sign, bar, sign
from deploy.studies.report.scales import Fit, Series, level_of, series_along
from evaluator.scaling import PowerLaw
from evaluator.scores import Result, Score

type Of = Callable[[Findings], Result]
"""A number of a condition."""
type EachOf = Callable[[Findings], Sequence[Result]]
"""The same number of each of its trials."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stand:
    """Where conditions stand.

    Attributes:
        axis: The axis.
        series: Series along it.
        bound: The i.i.d. bound, which is on no axis; None where it is not shown.
        alone: Other conditions that are on no axis.
    """

    axis: Axis
    series: Sequence[Series]
    bound: Findings | None
    alone: Sequence[Findings]

    @property
    def names(self) -> list[str]:
        """Names of the rows of a dot plot, from the top: levels, then what is on no axis."""
        more = [*self.alone, *([self.bound] if self.bound else [])]
        return [level.name for level in self.axis.levels] + [one.name for one in more]

    @property
    def rows(self) -> int:
        """Rows of a dot plot, more where series stand beside each other; 0 for a numeric axis."""
        return 0 if self.axis.numeric else round(len(self.names) * max(1.0, 0.6 * len(self.series)))

    def place(self, one: Findings) -> float:
        """Where a condition stands."""
        level = level_of(one, self.axis)
        if self.axis.numeric:
            return self.axis.value(level)
        return float(self.names.index(level if level is not None else one.name))


def stands(material: Material, bound: Findings | None) -> list[Stand]:
    """One for each axis; without axes the variants are one.

    Args:
        material: The study.
        bound: The i.i.d. bound; None for numbers that i.i.d. trials do not have.
    """
    design = material.design
    off = [one for one in material.findings if not any(level_of(one, axis) for axis in design.axes)]
    alone = [one for one in off if one is not bound and (bound is not None or not one.condition.variant.iid)]
    only_bound = bound if bound in off else None
    if not design.axes:
        members = [one for one in material.findings if bound is not None or not one.condition.variant.iid]
        names = [Level(name=one.name, value=float("nan")) for one in members]
        axis = Axis(name="variant", label="variant", unit="", numeric=False, log=False, levels=names)
        return [Stand(axis=axis, series=[Series(axis=axis, name="", findings=members, paired=True)],
                      bound=None, alone=())]  # fmt: skip
    return [
        Stand(axis=axis, series=series_along(material, axis), bound=only_bound, alone=alone) for axis in design.axes
    ]


def shift(stand: Stand, number: int, count: int) -> Callable[[float], float]:
    """Sets series that stand at the same place a little apart."""
    offset = (number - (count - 1) / 2) * min(0.16, 0.6 / max(count, 1))
    if not stand.axis.numeric:
        return lambda place: place + offset
    if stand.axis.log:
        known = [level.value for level in stand.axis.levels]
        step = np.log(max(known) / min(known)) / max(len(known) - 1, 1) if len(known) > 1 else 1.0
        return lambda place: float(place * np.exp(0.3 * offset * step))
    spread = np.ptp([level.value for level in stand.axis.levels]) / max(len(stand.axis.levels) - 1, 1)
    return lambda place: float(place + 0.3 * offset * spread)


def draw(axes: Axes, stand: Stand, of: Of, *, label: str, log: bool = False, each: EachOf | None = None,
         signs: int = 0, names: Sequence[str] | None = None, beside: tuple[int, int] = (0, 1)) -> None:  # fmt: skip
    """Draws a number of every condition with its interval, and of every trial where asked.

    Args:
        axes: Where.
        stand: Where conditions stand.
        of: The number.
        label: What is written beside its axis.
        log: Whether on a logarithmic scale.
        each: The number of each trial, as small hollow signs.
        signs: Number of the first sign.
        names: Names of the series in the legend; by default their own, where there are several.
        beside: Which of how many numbers this is that are drawn beside each other.
    """
    across = not stand.axis.numeric
    for number, series in enumerate(stand.series):
        place = beside[0] + beside[1] * number
        style, move = sign(signs + number), shift(stand, place, beside[1] * len(stand.series))
        name = (names[number] if names else series.name if len(stand.series) > 1 else "") or ""
        points = [(move(stand.place(one)), one) for one in series.findings]
        if not across:
            known = [(x, result.value) for x, one in points if isinstance(result := of(one), Score)]
            if known and each is None:
                axes.plot(*zip(*known, strict=True), color=style.colour, linestyle=style.line, linewidth=1, alpha=0.7)
        for index, (at, one) in enumerate(points):
            if each is not None:
                _trials(axes, at, each(one), style, across=across)
            bar(axes, at, of(one), style, label=name if index == 0 else "", across=across)
        if name and not any(isinstance(of(one), Score) for _, one in points[:1]):
            axes.plot([], [], marker=style.marker, color=style.colour, linestyle=style.line, label=name)
    if across:
        for one in stand.alone:
            bar(axes, stand.place(one), of(one), sign(signs), across=True)
    if stand.bound is not None:
        _bound(axes, stand, of, across=across)
    finish(axes, stand, label=label)
    shown = [one for series in stand.series for one in series.findings]
    results: list[Result] = [result for one in shown for result in [of(one), *(each(one) if each else ())]]
    values = [result.value for result in results if isinstance(result, Score)]
    if values or (stand.bound is not None and isinstance(of(stand.bound), Score)):
        _scale(axes, values, "x" if across else "y", log=log)
        return
    axes.text(0.5, 0.5, "not measurable", transform=axes.transAxes, ha="center", va="center", color=GREY)
    (axes.set_xticks if across else axes.set_yticks)([])


def _trials(axes: Axes, at: float, results: Sequence[Result], style: Sign, *, across: bool) -> None:
    """Draws trials a little beside their mean."""
    values = [result.value for result in results if isinstance(result, Score)]
    places = [at] * len(values)
    x, y = (values, places) if across else (places, values)
    beside = offset_copy(
        axes.transData, cast(Figure, axes.figure), x=0 if across else 5, y=-5 if across else 0, units="points"
    )
    axes.plot(x, y, marker=style.marker, markersize=3, markerfacecolor="none", markeredgewidth=0.7,
              color=style.colour, linestyle="none", transform=beside, zorder=1)  # fmt: skip


def _bound(axes: Axes, stand: Stand, of: Of, *, across: bool) -> None:
    assert stand.bound is not None
    result = of(stand.bound)
    if across:
        bar(axes, stand.place(stand.bound), result, sign(6), across=True)
    elif isinstance(result, Score):
        axes.axhline(result.value, color=GREY, linestyle=(0, (1, 1.5)), linewidth=1.2, label="i.i.d. bound")


def finish(axes: Axes, stand: Stand, *, label: str) -> None:
    """Gives both axes their names, and the one that conditions stand on its ticks."""
    if not stand.axis.numeric:
        axes.set_yticks(range(len(stand.names)), stand.names)
        axes.set_ylim(len(stand.names) - 0.5, -0.5)
        axes.set_xlabel(label)
        return
    values = [level.value for level in stand.axis.levels]
    axes.set_xlabel(stand.axis.title)
    axes.set_ylabel(label)
    if stand.axis.log:
        axes.set_xscale("log")
        axes.minorticks_off()
    shown = values if len(values) <= 6 else values[:: -(-len(values) // 6)]
    axes.set_xticks(shown, [short(value) for value in shown])
    if stand.axis.log and min(values) < max(values):
        edge = (max(values) / min(values)) ** 0.06
        axes.set_xlim(min(values) / edge, max(values) * edge)
    elif min(values) < max(values):
        edge = 0.06 * (max(values) - min(values))
        axes.set_xlim(min(values) - edge, max(values) + edge)


def _scale(axes: Axes, values: Sequence[float], which: Literal["x", "y"], *, log: bool) -> None:
    """Scales the axis of the numbers; on a logarithmic one an interval down to the first tick leaves the frame."""
    limit = axes.set_xlim if which == "x" else axes.set_ylim
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    positive = [value for value in values if value > 0]
    if not log or not positive:
        middle, half = (low + high) / 2, (high - low) / 2
        if half < 0.08 * abs(middle):  # all alike: differences of a thousandth are no news
            limit(middle - 0.1 * abs(middle), middle + 0.1 * abs(middle))
        axes.locator_params(axis=which, nbins=6)
        return
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = max(low, min(positive) / 3), min(max(high, max(positive) * 1.2), max(positive) * 3)
    limit(low, high)
    scale = axes.xaxis if which == "x" else axes.yaxis
    scale.set_major_formatter(FuncFormatter(_tick))
    scale.set_minor_formatter(NullFormatter() if high / low > 40 else _Minor(some=high / low > 4))


def _tick(value: float, _: int | None) -> str:
    return short(value)


class _Minor(LogFormatterSciNotation):
    """Names minor ticks where an axis is short: all of them, or only those at 2 and 5."""

    def __init__(self, *, some: bool) -> None:
        super().__init__()
        self._some = some

    @override
    def __call__(self, x: float, pos: int | None = None) -> str:
        first = round(x / 10 ** np.floor(np.log10(x))) if x > 0 else 0
        return short(x) if first in (2, 5) or not self._some else ""


def law(axes: Axes, stand: Stand, fit: Fit, number: int) -> None:
    """Draws the fitted line with its exponent."""
    found = fit.censored if isinstance(fit.what, What) else fit.medians
    if not isinstance(found, PowerLaw):
        return
    style = sign(number)
    x = fit.series.x
    grid = np.geomspace(x.min(), x.max(), 40) if stand.axis.log else np.linspace(x.min(), x.max(), 40)
    ends = found.exponent
    interval = "" if ends.low is None or ends.high is None else f" [{ends.low:.2f}, {ends.high:.2f}]"
    name = f"{fit.series.name}: " if fit.series.name else ""
    text = f"{name}k = {ends.value:.2f}{interval}".replace("-", "−")
    axes.plot(grid, found.median_of_all(grid), color=style.colour, linestyle=style.line, linewidth=1.2, zorder=1)
    remark(axes, text)


def remark(axes: Axes, text: str) -> None:
    """Writes a line below the name of the horizontal axis."""
    axes.set_xlabel(f"{axes.get_xlabel()}\n{text}")


def short(value: float) -> str:
    """Writes a number in at most five signs: 1.2M, 340k, 0.05."""
    size = abs(value)
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"
