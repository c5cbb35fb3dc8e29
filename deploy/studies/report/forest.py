"""Forest plots: differences with their intervals, one row a variant, one panel a number."""

# pyright: reportUnknownMemberType=false
# (matplotlib's stubs leave the keyword arguments of its drawing methods untyped)

from collections.abc import Mapping, Sequence
from functools import partial
from math import isfinite

from matplotlib.axes import Axes

from deploy.studies.report.figures import counted
from deploy.studies.report.material import Material
from deploy.studies.report.plots import GREY, Drawing, Panel, bar, sign
from deploy.studies.report.quantities import CATALOGUE
from deploy.studies.report.ranking import COMPARED, Ranking
from evaluator.scores import Score
from evaluator.seeds import Difference

type Cell = tuple[Difference, float]
"""A difference, and its adjusted p-value."""


def forest(material: Material, ranking: Ranking) -> Drawing | None:
    """Paired differences of all variants to the reference, best mean gain first."""
    if ranking.reference is None:
        return None
    rows = [row for row in ranking.rows if row.against]
    cells: dict[str, dict[str, Cell]] = {key: {} for key in COMPARED}
    missing: list[str] = []
    for row in rows:
        for key, compared in row.against.items():
            if isinstance(compared.result, Difference):
                cells[key][row.findings.name] = (compared.result, compared.holm)
            elif not row.findings.condition.variant.iid:
                missing.append(f"{CATALOGUE[key].label} of {row.findings.name}: {compared.result.because}")
    panels = panels_of(cells, [row.findings.name for row in rows])
    if not panels:
        return None
    reference = ranking.reference
    return Drawing(
        name="ranking",
        title=f"Every variant minus {reference.name}",
        caption=[
            f"Differences to {reference.name} with the same seed and the same stream, mean and 95 % t-interval over "
            "seeds; "
            "order: mean gain over random-init in world, place and depth. Filled: p < 0.05 after Holm's adjustment for "
            "all variants of a panel; hollow: not. The panels are not adjusted for each other.",
            counted(material),
        ],
        panels=panels,
        columns=3,
        missing=missing,
        shared=True,
    )


def panels_of(cells: Mapping[str, Mapping[str, Cell]], names: Sequence[str]) -> list[Panel]:
    """One panel for each number that has a difference."""
    found: list[Panel] = []
    for key, of in cells.items():
        if of:
            label = CATALOGUE[key].label
            paint = partial(_paint, of=of, names=names, key=key)
            found.append(Panel(title=_wrapped(label[:1].upper() + label[1:]), paint=paint, rows=len(names)))
    return found


def _wrapped(title: str) -> str:
    return title.replace(", mean over versions", "").replace(" by the end", "").replace(" (Chaudhry)", "")


def _paint(axes: Axes, *, of: Mapping[str, Cell], names: Sequence[str], key: str) -> None:
    quantity = CATALOGUE[key]
    for place, name in enumerate(names):
        if name not in of:
            axes.text(0, place, "–", ha="center", va="center", color=GREY)
            continue
        difference, adjusted = of[name]
        style = sign(0 if difference.paired else 1)
        bar(axes, place, difference.score, style, across=True)
        sure = isfinite(adjusted) and adjusted < 0.05
        if not sure:
            hollow = {"marker": style.marker, "color": style.colour, "markerfacecolor": "white", "linestyle": "none"}
            axes.plot([difference.score.value], [place], zorder=4, **hollow)  # pyright: ignore[reportArgumentType]
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    better = {1: "more is better", -1: "less is better", 0: ""}[quantity.better]
    axes.set_xlabel(", ".join(part for part in (quantity.unit, better) if part))


def value(result: object) -> float:
    """The number of a difference; NaN where there is none."""
    return (
        result.score.value
        if isinstance(result, Difference)
        else result.value
        if isinstance(result, Score)
        else float("nan")
    )
