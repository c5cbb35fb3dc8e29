"""How long until an experience is memorised, and until it is forgotten: curves and the table of times."""

# pyright: reportUnknownMemberType=false
# (matplotlib's stubs leave the keyword arguments of its drawing methods untyped)

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from deploy.report.blocks import Reasons, Section, figure, legend, missing, table
from deploy.report.canvas import Canvas, drawing
from deploy.report.curves import absent
from deploy.report.material import Report
from deploy.report.tints import Tint
from evaluator.scores import NotMeasurable, Score
from evaluator.times.retention import Laws
from evaluator.times.study import Clock
from evaluator.times.summary import Part, Summary, TimeSummary

TIMES = {
    "t_mem": "T_mem: from being lived to being memorised",
    "half_peak": "from being lived to half of the strongest memory",
    "latency_admission": "of it: lived → admitted to the buffer",
    "latency_first_use": "of it: admitted → first gradient",
    "latency_learning": "of it: first gradient → memorised",
    "t_forget": "T_forget: from the last gradient to half of the memory",
    "rememorised": "from forgotten to remembered again, without training on it",
    "t_mem_rehearsed": "T_mem of what was rehearsed on purpose (positive control)",
    "t_forget_rehearsed": "T_forget of what was rehearsed on purpose",
}
"""Times of the table, and what each is; the last two only where something was rehearsed."""

_SHARES = {
    "saving": "relearning saving on a return to a world",
    "retention_area": "share of a memory kept on average after the last use",
    "false_memories": "placebos called memorised by the θ of other placebos",
}
_LEAD = (
    "An experience counts as memorised when its contrast with withheld blocks stays above a threshold θ that at most "
    "one placebo in twenty reaches by chance, and as forgotten when the contrast stays below half of what it was at "
    "the last use in training. Both are seen only between two measurements, and some not before the run ends "
    "(censored)."
)
_CAPTION = (
    "Share of experiences that are not memorised yet, and of memorised ones that are not forgotten yet, by time; "
    "Kaplan–Meier curves with 95 % bands. Experiences that were not followed to the end are counted as long as they "
    "were followed."
)
_GOOD = (
    "Not memorised yet: the sooner it falls, the faster the network memorises; one that stays at 1 memorises nothing."
    " Not forgotten yet: the longer it stays up, the longer memories last. The median time is where a curve crosses "
    "the dashed line at ½."
)
_CONTROLS = "θ comes from placebos, so a network that cannot remember has no such curve."


def section(report: Report) -> Section:
    """Writes the section."""
    return Section(
        name="times",
        title="How fast it remembers and forgets",
        lead=_LEAD,
        blocks=[survival_section(report.summary), times_table(report.summary)],
    )


def survival_section(summary: Summary) -> str:
    """Draws the curves of memory and of forgetting, or says why there are none."""
    title = "Until memorised, until forgotten"
    parts = {name: summary.parts[name] for name in ("t_mem", "t_forget")}
    reasons = {name: why for name, part in parts.items() if (why := _without_curve(name, part))}
    if len(reasons) == len(parts):
        return missing(title, reasons["t_mem"], _CAPTION)

    def paint(canvas: Canvas) -> None:
        names = {"t_mem": "not memorised yet", "t_forget": "not forgotten yet"}
        for axes, (name, part) in zip(canvas.panels(2, height=190, columns=canvas.pair), parts.items(), strict=True):
            axes.set_title(names[name], loc="left")
            if isinstance(part, TimeSummary) and part.curve is not None:
                axes.set_ylim(0, 1.03)
                axes.set_ylabel("share")
                _curve(axes, part, Tint.BLUE if name == "t_mem" else Tint.ORANGE)
                axes.set_xlabel("seconds since it was lived" if name == "t_mem" else "seconds since its last gradient")
            else:
                absent(axes)
                axes.set_xticks([])

    said = [_CAPTION]
    for name, why in reasons.items():
        said.append(f"{'T_mem' if name == 't_mem' else 'T_forget'}: not measurable, because {why}.")
    return figure(
        title, drawing("survival", title, paint), " ".join(said), good=_GOOD, controls=_CONTROLS,
        key=legend([(Tint.BLUE, "line", "until memorised"), (Tint.ORANGE, "line", "until forgotten")]),
    )  # fmt: skip


def _without_curve(name: str, part: "Part | NotMeasurable") -> str:
    if isinstance(part, NotMeasurable):
        return part.because
    if isinstance(part, TimeSummary) and part.curve is None:
        what = "memorised" if name == "t_mem" else "forgotten"
        return f"none of {sum(part.counts.values())} experiences was {what} while it was followed"
    return ""


def _curve(axes: Axes, part: TimeSummary, tint: Tint) -> None:
    assert part.curve is not None
    time = np.concatenate([[0.0], part.curve.time_T])
    parts = [np.concatenate([[1.0], of]) for of in (part.curve.value_T, part.curve.low_T, part.curve.high_T)]
    end = part.horizon if part.horizon is not None and part.horizon > time[-1] else time[-1] * 1.05
    time, parts = np.append(time, end), [np.append(of, of[-1]) for of in parts]
    axes.fill_between(time, parts[1], parts[2], step="post", color=tint, alpha=0.18, linewidth=0)
    axes.step(time, parts[0], where="post", color=tint, linewidth=1.8)
    axes.axhline(0.5, color=Tint.INK, linewidth=0.8, linestyle="--")
    axes.set_xlim(0, None)
    outcome = ", ".join(f"{count} {_OUTCOMES[name]}" for name, count in part.counts.items() if count)
    axes.text(0.99, 0.97, outcome, transform=axes.transAxes, ha="right", va="top", fontsize=10.5, color=Tint.GREY)


_OUTCOMES = {"event": "seen", "censored": "censored", "collapse": "collapsed first"}


def times_table(summary: Summary) -> str:
    """Lists medians of all times with their intervals."""
    reasons = Reasons()
    rows: list[Sequence[str]] = []
    for name, what in TIMES.items():
        part = summary.parts.get(name)
        if part is None:
            continue
        if isinstance(part, TimeSummary):
            cells = [
                reasons.cell(part.medians[clock], digits) for clock, digits in ((Clock.SECONDS, 1), (Clock.STEPS, 0))
            ]
            counts = part.counts
            rows.append([what, *cells, f"{counts['event']} of {sum(counts.values())}"])
        elif not isinstance(part, Laws):
            frames = f"{part.frames}" if isinstance(part, Score) else ""
            rows.append([what, reasons.cell(part, 1), "", frames])
    for name, what in _SHARES.items():
        part = summary.parts[name]
        if not isinstance(part, TimeSummary | Laws):
            frames = f"{part.frames}" if isinstance(part, Score) else ""
            rows.append([what, reasons.cell(part, 2), "", frames])
    theta = summary.theta
    rows.insert(0, ["θ, the threshold, in bits", "", "", ""] if isinstance(theta, NotMeasurable) else
                ["θ, the threshold, in bits", f"{theta.theta:.3f}", "", f"{theta.placebos} placebos"])  # fmt: skip
    if isinstance(theta, NotMeasurable):
        rows[0] = ["θ, the threshold, in bits", reasons.cell(theta), "", ""]
    head = ["median time", "seconds (or share)", "optimiser steps", "seen"]
    return table(head, rows, "Times of memory and forgetting, medians with 95 % intervals", notes=reasons.notes())
