"""How memory comes and goes: kinds of experiences, contrasts at one version, every experience by its age.

Shapes: V versions, N experiences, B bins of age.
"""

# pyright: reportUnknownMemberType=false
# (matplotlib's stubs leave the keyword arguments of its drawing methods untyped)

from math import log

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from deploy.report.blocks import Section, figure, legend, missing, read_score
from deploy.report.canvas import Canvas, drawing
from deploy.report.material import Material, Report, Series, sparse
from deploy.report.tints import KIND_TINTS, Tint
from evaluator.scores import NotMeasurable
from evaluator.times.contrasts import Contrast, placebo
from evaluator.times.retention import Laws
from evaluator.times.study import Run

_LEAD = (
    "A change that all experiences share is no memory: the network gets better at every picture, or worse. What "
    "counts is the difference between what was trained on and what was not, at the same version."
)
_KINDS_CAPTION = (
    "Mean memory bits of the experiences of each kind at each measured version, with 95 % intervals over visits (over"
    " walks for placebos)."
)
_KINDS_GOOD = (
    "All three lines rise while the network learns to predict pictures. Exposed above withheld, intervals apart, is "
    "memory of moments; both above placebo is knowledge of places. Lines that lie together: no memory. A fall of all "
    "to 0: collapse."
)
_CONTRAST_CAPTION = (
    "Episodic contrast: each exposed experience that had been trained on, minus the withheld ones of its own visit; "
    "memory of these very moments. World contrast: how much each visited world gained since before its first visit, "
    "minus the same of placebo worlds; knowledge of the place. Means with 95 % intervals, some wider than the panel; "
    "crosses at the bottom mark versions whose features had collapsed."
)
_CONTRAST_GOOD = "Above 0 with the whole band: remembered. A band that holds 0: not told apart from nothing."
_AGE_CAPTION = (
    "Each thin line is one exposed experience: its bits minus those of withheld blocks of its visit, against the time"
    " since it was lived. The thick line is their median."
)
_AGE_GOOD = (
    "A line that climbs out of the grey band and stays for two measurements counts as memorised (the dashed line is "
    "the threshold θ that at most one placebo in twenty reaches); one that comes down again is being forgotten."
)
_AGE_CONTROLS = (
    "The grey band holds 90 % of the same differences between placebo blocks, which nobody trained on: what noise does."
)
_LAW_CAPTION = (
    "What is left of the contrast, as a share of its level at the last use in training, by the time since that use; "
    "means over experiences with one standard error, and the two laws of forgetting fitted to them."
)
_LAW_GOOD = "1 is nothing forgotten, 0 everything. A curve that stays high is good; how it falls tells the laws apart."
_MOST_DOTS = 1500


def section(report: Report) -> Section:
    """Writes the section."""
    blocks = [_kinds(report.first), _contrasts(report), _by_age(report), _law(report)]
    return Section(name="curves", title="How memory comes and goes", lead=_LEAD, blocks=blocks)


def band(axes: Axes, x: NDArray[np.float64], series: Series, tint: Tint, dash: str = "-", *, label: str = "") -> None:
    """Draws a line with its interval; single points as dots with a bar."""
    known = np.isfinite(series.value_V)
    if not known.any():
        return
    axes.fill_between(x, series.low_V, series.high_V, color=tint, alpha=0.18, linewidth=0)
    if known.sum() < 4:
        axes.vlines(x, series.low_V, series.high_V, color=tint, alpha=0.5, linewidth=3)
    marker = "o" if known.sum() < 16 else None
    axes.plot(
        x[known], series.value_V[known], dash, color=tint, linewidth=1.8, marker=marker, markersize=4, label=label
    )


def _kinds(run: Material) -> str:
    title = "Memory bits by kind of experience"
    series = {kind: run.series("memory", kind, "bits") for kind in KIND_TINTS}
    if not any(of.known for of in series.values()):
        return missing(title, "no version has mean memory bits of any kind", _KINDS_CAPTION)

    def paint(canvas: Canvas) -> None:
        [axes] = canvas.panels(1, height=240 if canvas.wide else 200)
        for kind, of in series.items():
            band(axes, run.minutes_V, of, KIND_TINTS[kind])
        axes.set_xlim(*run.span)
        axes.set_ylabel("memory bits")
        axes.set_xlabel("minutes since the first frame")

    absent = [kind for kind, of in series.items() if not of.known]
    note = f" Not measurable in this run: {', '.join(absent)}." if absent else ""
    return figure(
        title, drawing("kinds", title, paint), _KINDS_CAPTION + note, good=_KINDS_GOOD,
        controls="Withheld and placebo experiences, at the same versions.",
        key=legend([(tint, "line", kind) for kind, tint in KIND_TINTS.items()]),
    )  # fmt: skip


def _contrasts(report: Report) -> str:
    title = "What was trained on against its controls"
    run, rows = report.first, [row for row in report.summary.versions if row["run"] == 0]
    rows = [rows[index] for index in sparse(len(rows))]
    series = {name: Series.of([read_score(row[name]) for row in rows]) for name in ("episodic", "world")}
    if not any(of.known for of in series.values()):
        why = report.summary.parts["episodic"]
        return missing(title, why if isinstance(why, NotMeasurable) else "no version has a contrast", _CONTRAST_CAPTION)
    minutes = (np.array([row["system_time"] for row in rows]) - run.origin) / 60
    sick = minutes[[not row["healthy"] for row in rows]]

    def paint(canvas: Canvas) -> None:
        names = {"episodic": "episodic: these very moments", "world": "world: the place"}
        for axes, (name, of) in zip(canvas.panels(2, height=190, columns=canvas.pair), series.items(), strict=True):
            axes.axhline(0, color=Tint.INK, linewidth=1)
            band(axes, minutes, of, Tint.BLUE if name == "episodic" else Tint.GREEN)
            axes.plot(
                sick, np.zeros(len(sick)), "x", color=Tint.RED, transform=axes.get_xaxis_transform(), clip_on=False
            )
            axes.set_xlim(*run.span)
            axes.set_ylim(*_limits(of))
            axes.set_title(names[name], loc="left")
            axes.set_ylabel("difference in bits")
            axes.set_xlabel("minutes since the first frame")
            if not of.known:
                absent(axes)

    reasons = [
        f"{name.capitalize()} contrast: not measurable, because {why.because}."
        for name, of in series.items()
        if not of.known and isinstance(why := report.summary.parts[name], NotMeasurable)
    ]
    return figure(
        title, drawing("contrast", title, paint), " ".join([_CONTRAST_CAPTION, *reasons]), good=_CONTRAST_GOOD,
        controls="Withheld blocks of the same visit; placebo worlds. All at the same version.",
    )  # fmt: skip


def absent(axes: Axes) -> None:
    """Says in a panel that there is nothing to show; the caption says why."""
    axes.set_yticks([])
    axes.text(0.5, 0.6, "not measurable", transform=axes.transAxes, ha="center", color=Tint.GREY)


def _limits(series: Series) -> tuple[float, float]:
    """Shows whole bands, unless one is so wide that the line would look flat."""
    ends = np.concatenate([series.low_V, series.high_V, series.value_V, [-0.1, 0.1]])
    most = 5 * np.nanmax(np.abs(np.append(series.value_V, 0.1)))
    low, high = np.nanmin(ends), np.nanmax(ends)
    return float(max(low, -most)) * 1.05, float(min(high, most)) * 1.05


def _by_age(report: Report) -> str:
    title = "Every experience by its age"
    contrast, run, theta = report.analysis.contrasts[0], report.analysis.study.runs[0], report.summary.theta
    age_NV, d_NV = _ages(run, contrast)
    if not np.isfinite(d_NV).any():
        why = report.summary.parts["episodic"]
        reason = why if isinstance(why, NotMeasurable) else "no trained experience was measured beside a withheld one"
        return missing(title, reason, _AGE_CAPTION)
    noise = placebo(run).full_NV
    noise = noise[np.isfinite(noise)]
    marker = "." if np.isfinite(d_NV).sum() < _MOST_DOTS else None

    def paint(canvas: Canvas) -> None:
        [axes] = canvas.panels(1, height=260 if canvas.wide else 210)
        if len(noise) >= 20:
            axes.axhspan(*np.percentile(noise, (5, 95)), color=Tint.GREY, alpha=0.18, linewidth=0)
        axes.axhline(0, color=Tint.INK, linewidth=1)
        if not isinstance(theta, NotMeasurable):
            axes.axhline(theta.theta, color=Tint.INK, linewidth=1, linestyle="--")
        for age_V, d_V in zip(age_NV, d_NV, strict=True):
            known = np.isfinite(d_V)
            axes.plot(age_V[known], d_V[known], color=Tint.BLUE, alpha=0.35, linewidth=0.8, marker=marker, markersize=3)
        middle = _medians(age_NV, d_NV)
        axes.plot(*middle, color=Tint.INK, linewidth=2.2)
        log_clock(axes)
        axes.set_ylabel("difference in bits")
        axes.set_xlabel("time since it was lived")

    why = f" θ is not measurable, because {theta.because}." if isinstance(theta, NotMeasurable) else ""
    few = " There are too few differences between placebos for a band." if len(noise) < 20 else ""
    return figure(
        title, drawing("age", title, paint), _AGE_CAPTION, good=_AGE_GOOD + why, controls=_AGE_CONTROLS + few,
        key=legend([(Tint.BLUE, "line", "one experience"), (Tint.INK, "line", "median"),
                    (Tint.GREY, "band", "placebos, 90 %")]),
    )  # fmt: skip


def _ages(run: Run, contrast: Contrast) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds since the end of each experience, and its contrast where it had been trained on."""
    age_NV = run.time_V - run.end_E[contrast.experience_N][:, None]
    return age_NV, np.where(contrast.trained_NV & (age_NV > 0), contrast.full_NV, np.nan)


def _medians(age_NV: NDArray[np.float64], d_NV: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Median contrast in up to eight bins of age with as many measurements each, at least five."""
    known = np.isfinite(d_NV)
    age, d = age_NV[known], d_NV[known]
    parts = np.array_split(np.argsort(age, kind="stable"), max(1, min(8, len(age) // 5)))
    return [float(np.median(age[part])) for part in parts], [float(np.median(d[part])) for part in parts]


_MOMENTS = {
    1: "1 s", 3: "3 s", 10: "10 s", 30: "30 s", 60: "1 min", 180: "3 min", 600: "10 min", 1800: "30 min", 3600: "1 h",
    10800: "3 h", 36000: "10 h", 86400: "1 d", 259200: "3 d", 864000: "10 d",
}  # fmt: skip


def log_clock(axes: Axes) -> None:
    """Puts seconds on a logarithmic axis with ticks that a clock has."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    shown = {second: name for second, name in _MOMENTS.items() if low <= second <= high}
    axes.set_xticks(list(shown), list(shown.values()))
    axes.set_xticks([], minor=True)


def _law(report: Report) -> str:
    title = "What is left, by time since the last use"
    laws = report.summary.parts["forgetting_law"]
    if not isinstance(laws, Laws):
        reason = laws if isinstance(laws, NotMeasurable) else "there is no fit"
        return missing(title, reason, _LAW_CAPTION)
    age, kept, error = zip(*laws.points, strict=True)
    grid = np.exp(np.linspace(log(min(age)), log(max(age)), 80))
    exponential, power = laws.exponential.parameters, laws.power.parameters

    def paint(canvas: Canvas) -> None:
        [axes] = canvas.panels(1, height=220)
        axes.axhline(0, color=Tint.INK, linewidth=1)
        axes.errorbar(list(age), list(kept), list(error), fmt="o", color=Tint.INK, markersize=4, linewidth=1.2)
        axes.plot(grid, exponential["a"] * np.exp(-grid / exponential["tau"]), color=Tint.BLUE, linewidth=1.6)
        axes.plot(
            grid, power["a"] * (1 + grid / power["tau"]) ** -power["beta"], "--", color=Tint.ORANGE, linewidth=1.6
        )
        log_clock(axes)
        axes.set_ylabel("share that is left")
        axes.set_xlabel("time since the last use in training")

    verdict = f" By AIC: {laws.better}."
    return figure(
        title, drawing("law", title, paint), _LAW_CAPTION + verdict, good=_LAW_GOOD,
        key=legend([(Tint.BLUE, "line", "exponential"), (Tint.ORANGE, "dash", "power law")]),
    )  # fmt: skip
