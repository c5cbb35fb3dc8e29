"""What is known of each world over time, and what later worlds did to it."""

# pyright: reportUnknownMemberType=false
# (matplotlib's stubs leave the keyword arguments of its drawing methods untyped)

from collections.abc import Sequence

import numpy as np

from deploy.report.blocks import Reasons, Section, figure, legend, missing, table
from deploy.report.canvas import Canvas, drawing
from deploy.report.curves import band
from deploy.report.material import Material, Report, Series
from deploy.report.tints import ENCODER_TINTS, Tint
from evaluator.continual.metrics import Metric
from evaluator.scores import NotMeasurable, Score

_LEAD = (
    "For each world a linear read-out of the frozen features says in which cell of about 8 m a picture was taken. It "
    "is fitted anew at every version, on walks that training never sees, so it measures what the features tell, not "
    "what a head remembers."
)
_CAPTION = (
    "Accuracy of the place read-out in each world at each measured version, with 95 % intervals over test walks. "
    "Shaded: an agent was there."
)
_GOOD = (
    "A curve that rises while its world is visited and stays up afterwards is good; one that falls when the agent is "
    "elsewhere is forgetting. A curve that never leaves the dashed lines learned nothing about places."
)
_CONTROLS = (
    "The same network before its first step (random-init), the bare picture shrunk to 8×8 pixels, and worlds that "
    "were never entered: what rises there too is no memory of that place."
)
_METRICS = {
    Metric.ACC: ("ACC", "mean accuracy over visited worlds at the end", "higher"),
    Metric.BWT: (
        "backward transfer, BWT",
        "end − when the world had just been learned",
        "above 0; below is forgetting",
    ),
    Metric.FWT: ("forward transfer, FWT", "just before the first visit − random-init", "above 0"),
    Metric.FORGETTING: ("forgetting", "best at an earlier task's end − end", "0; compare the next line"),
    Metric.FORGETTING_UNSEEN: ("the same, worlds never entered", "noise of the maximum, and drift", "control"),
    Metric.MIN_ACC: ("min-ACC", "worst accuracy since a world was learned, mean", "higher"),
    Metric.WC_ACC: ("WC-ACC", "newest worlds at the end, the others at their worst", "higher"),
    Metric.GAP_DEPTH: ("stability gap", "deepest fall of known worlds after a change", "0; compare the next line"),
    Metric.GAP_DEPTH_UNSEEN: ("the same, worlds never entered", "noise of the minimum, and drift", "control"),
    Metric.RECOVERY: ("recovery", "seconds from a change until known worlds are back", "shorter"),
}


def section(report: Report) -> Section:
    """Writes the section."""
    return Section(
        name="worlds",
        title="What it knows of each world",
        lead=_LEAD,
        blocks=[_accuracies(report.first), _continual(report.runs)],
    )


def _accuracies(run: Material) -> str:
    title = "Place accuracy of each world over time"
    worlds = _worlds(run)
    if not worlds:
        why = run.stream if isinstance(run.stream, NotMeasurable) else "no world has a place score"
        return missing(title, why, _CAPTION)

    def paint(canvas: Canvas) -> None:
        panels = canvas.panels(len(worlds), height=118 if canvas.wide else 90, columns=3 if canvas.wide else 1)
        visited = {visit.world for visit in run.visits}
        for axes, world in zip(panels, worlds, strict=True):
            for visit in run.visits:
                if visit.world == world:
                    ends = ((moment - run.origin) / 60 for moment in (visit.start, visit.end))
                    axes.axvspan(*ends, color=Tint.GOLD, alpha=0.22, linewidth=0)
            for encoder, dash in (("pixels", ":"), ("random", "--"), ("trained", "-")):
                series = run.series("places", encoder, world)
                if encoder != "trained":
                    series = Series(value_V=series.value_V, low_V=series.low_V * np.nan, high_V=series.high_V * np.nan)
                band(axes, run.minutes_V, series, ENCODER_TINTS[encoder], dash)
            axes.set_xlim(*run.span)
            axes.set_ylim(0, 1)
            axes.set_title(world if world in visited else f"{world} (never entered)", loc="left", fontsize=11)
        for axes in panels[-(3 if canvas.wide else 1) :]:
            axes.set_xlabel("minutes")

    key = legend([
        (ENCODER_TINTS["trained"], "line", "trained"), (ENCODER_TINTS["random"], "dash", "random-init"),
        (ENCODER_TINTS["pixels"], "dot", "pixels"), (Tint.GOLD, "band", "an agent was there"),
    ])  # fmt: skip
    return figure(title, drawing("places", title, paint), _CAPTION, good=_GOOD, controls=_CONTROLS, key=key)


def _worlds(run: Material) -> list[str]:
    """Worlds with a place score, visited ones first."""
    if not isinstance(run.stream, NotMeasurable):
        return list(run.stream.worlds)
    named: dict[str, None] = {}
    for head in run.heads:
        named |= dict.fromkeys(head.get("places", {}).get("trained", {}))
    return [world for world in named if run.series("places", "trained", world).known]


def _continual(runs: Sequence[Material]) -> str:
    reasons = Reasons()
    rows = [
        [name, what, good, *(_cell(run, metric, reasons) for run in runs)]
        for metric, (name, what, good) in _METRICS.items()
    ]
    notes = reasons.notes()
    for run in runs:
        found = run.continual
        if found.tasks:
            order = "; ".join(", ".join(worlds) for worlds in found.tasks)
            notes.append(
                f"{run.name}: worlds in the order of their first visits, which are the task boundaries: {order}. "
                f"Worlds joined by a comma had no measurement between their first visits and count as one task. "
                f"{found.returns} returns to known worlds, {len(found.changes)} changes of world with a measurement on "
                f"either side; {found.unmeasured} versions without place scores left out."
            )
    head = ["metric", "what it is", "good is", *(run.name for run in runs)]
    caption = "Continual metrics of place accuracy, 95 % intervals over test walks (docs/measures.md has the formulas)"
    return table(head, rows, caption, notes=notes)


def _cell(run: Material, metric: Metric, reasons: Reasons) -> str:
    result = run.continual.scores[metric]
    digits = 1 if metric is Metric.RECOVERY and isinstance(result, Score) else 3
    return reasons.cell(result, digits)
