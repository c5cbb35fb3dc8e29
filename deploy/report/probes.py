"""What the features are good for, against encoders that have learned nothing, and whether they are healthy."""

# pyright: reportUnknownMemberType=false
# (matplotlib's stubs leave the keyword arguments of its drawing methods untyped)

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deploy.report.blocks import Reasons, Section, figure, legend, missing, table
from deploy.report.canvas import Canvas, drawing
from deploy.report.curves import band
from deploy.report.material import Material, Report
from deploy.report.tints import ENCODER_TINTS, Tint
from deploy.summary import PROBES
from deploy.view import ENCODERS, UNITS

_LEAD = (
    "Memory of moments may go with features that are good for nothing. Probes read four things off the frozen, "
    "averaged features with a linear map, on walks that training never sees."
)
_CAPTION = (
    "Scores of the linear probes at each measured version, with 95 % intervals over test walks: which world "
    "(accuracy), which place in it (accuracy), direction of view (R²), depth in nine parts of the picture (R²)."
)
_GOOD = (
    "The trained line above both others, bands apart: the encoder has learned something. On top of random-init: "
    "nothing usable yet. Below it: training has destroyed what an untrained network shows anyway."
)
_CONTROLS = "The same network before its first step (random-init), and the picture itself shrunk to 8×8 pixels."
_DASHES = {"trained": "-", "random": "--", "pixels": ":"}
_HEALTH = {
    "rankme": ("RankMe", "how many directions the features use; a collapse is near 1"),
    "effective_rank": ("effective rank", "the same, from the covariance"),
    "feature_std": ("feature deviation", "how much features vary between pictures; 0 in a collapse"),
    "lidar": ("LiDAR", "how many directions tell pictures apart rather than views of one"),
    "alpha": ("α-ReQ", "how fast the spectrum falls; about 1 is often good"),
    "dormant_units": ("dormant units", "share of hidden units that hardly react; growing is loss of plasticity"),
    "weight": ("mean |weight|", "growing without end is loss of plasticity"),
    "target_distance": ("target − context", "distance of the two encoders; growing without end is divergence"),
}
_HEALTH_CAPTION = (
    "State of the features on the probe set at each measured version. The dashed line is the same network before its "
    "first step; the red line, where there is one, the limit below which a version counts as collapsed."
)
_HEALTH_GOOD = (
    "RankMe, effective rank and deviation steady or rising, well above the red line. Health is no quality: an "
    "untrained network is healthy too. A fall towards the red line explains everything else on this page."
)


def section(report: Report) -> Section:
    """Writes the section of probes."""
    run = report.first
    title = "Probes over time"
    if not any(run.series("probes", probe, "trained").known for probe in PROBES):
        why = run.last("probes", "world", "trained")
        blocks = [missing(title, getattr(why, "because", "no version has a probe score"), _CAPTION)]
    else:
        blocks = [_figure(run, title)]
    blocks.append(_table(report.runs))
    return Section(name="probes", title="What the features are good for", lead=_LEAD, blocks=blocks)


def _figure(run: Material, title: str) -> str:
    def paint(canvas: Canvas) -> None:
        for axes, probe in zip(canvas.panels(len(PROBES), height=140, columns=canvas.pair), PROBES, strict=True):
            for encoder in ("pixels", "random", "trained"):
                series = run.series("probes", probe, encoder)
                band(axes, run.minutes_V, series, ENCODER_TINTS[encoder], _DASHES[encoder])
            axes.set_xlim(*run.span)
            axes.set_title(f"{probe} ({UNITS[probe]})", loc="left")
            axes.set_xlabel("minutes")

    shapes = {"trained": "line", "random": "dash", "pixels": "dot"}
    key = legend([(ENCODER_TINTS[encoder], shapes[encoder], name) for encoder, name in ENCODERS.items()])
    return figure(title, drawing("probes", title, paint), _CAPTION, good=_GOOD, controls=_CONTROLS, key=key)


def _table(runs: Sequence[Material]) -> str:
    reasons = Reasons()
    rows: list[list[str]] = []
    for run in runs:
        where = f"{run.name}: " if len(runs) > 1 else ""
        for probe in PROBES:
            cells = [reasons.cell(run.last("probes", probe, encoder)) for encoder in ENCODERS]
            rows.append([f"{where}{probe} ({UNITS[probe]})", *cells, reasons.cell(run.last("gains", probe))])
        for probe in ("world", "place"):
            cells = [reasons.cell(run.last("knn", probe, encoder)) for encoder in ENCODERS]
            rows.append([f"{where}{probe}, nearest neighbours", *cells, ""])
    head = ["probe", *ENCODERS.values(), "trained − random-init"]
    return table(head, rows, "Probes of the last measured version, with 95 % intervals", notes=reasons.notes())


def health(report: Report) -> Section:
    """Writes the section of health."""
    run, title = report.first, "Health over time"
    lead = "Is the encoder still a working network? A collapsed one gives every picture the same features."
    known = [name for name in _HEALTH if np.isfinite(_numbers(run, "trained", name)).any()]
    if not known:
        why = run.last("health", "trained")
        reason = getattr(why, "because", "no version has health measures")
        return Section(name="health", title="Health", lead=lead, blocks=[missing(title, reason, _HEALTH_CAPTION)])
    guardrail = run.config.learner.guardrail if run.config else None
    limits = {"rankme": guardrail.min_rankme, "feature_std": guardrail.min_feature_std} if guardrail else {}

    def paint(canvas: Canvas) -> None:
        columns = 4 if canvas.wide else 2
        for axes, name in zip(canvas.panels(len(known), height=105, columns=columns), known, strict=True):
            for encoder in ("random", "trained"):
                value_V = _numbers(run, encoder, name)
                axes.plot(
                    run.minutes_V, value_V, _DASHES[encoder], color=ENCODER_TINTS[encoder], linewidth=1.7,
                    marker="o" if encoder == "trained" and len(value_V) < 16 else None, markersize=3.5,
                )  # fmt: skip
            if name in limits:
                axes.axhline(limits[name], color=Tint.RED, linewidth=1)
            axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
            axes.set_xlim(*run.span)
            axes.set_title(_HEALTH[name][0], loc="left", fontsize=11)
            axes.locator_params(nbins=4)

    words = "; ".join(f"{_HEALTH[name][0]}: {_HEALTH[name][1]}" for name in known)
    made = figure(
        title, drawing("health", title, paint), f"{_HEALTH_CAPTION} {words}.", good=_HEALTH_GOOD,
        key=legend([(Tint.BLUE, "line", "trained"), (Tint.ORANGE, "dash", "random-init"), (Tint.RED, "line", "limit")]),
    )  # fmt: skip
    return Section(name="health", title="Health", lead=lead, blocks=[made])


def _numbers(run: Material, encoder: str, name: str) -> NDArray[np.float64]:
    found: list[float | None] = [head["health"].get(encoder, {}).get(name) for head in run.shown]
    return np.array([np.nan if value is None else value for value in found], np.float64)
