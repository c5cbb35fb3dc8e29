"""Figures along a way: survival, what is left by age, D over the stream, and the fall of single worlds."""

# pyright: reportUnknownMemberType=false
# (matplotlib's stubs leave the keyword arguments of its drawing methods untyped)

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from deploy.studies.report.figures import counted, first_reason
from deploy.studies.report.findings import Findings, Line, Timed, What, Whom
from deploy.studies.report.material import Material
from deploy.studies.report.plots import GREY, Drawing, Missing, Panel, bar, sign
from deploy.studies.report.scales import series_along
from evaluator.scores import NotMeasurable, Score
from evaluator.seeds import over_seeds
from evaluator.times.study import Floats

MOST = 8
"""Most lines of a panel."""
MOST_STEPS = 160
"""Most steps of a survival curve that are drawn: more are finer than the line is wide."""

type Group = tuple[str, Sequence[Findings]]
type Take = Callable[[Findings], Line | NotMeasurable]


def groups(material: Material) -> list[Group]:
    """Conditions that are shown in one panel: all of them, or a series of the first axis each where they are many."""
    shown = [one for one in material.findings if not one.condition.variant.iid]
    if len(shown) <= MOST or not material.design.axes:
        return [("", shown[start : start + MOST]) for start in range(0, len(shown), MOST)] or [("", [])]
    axis = max(material.design.axes, key=lambda axis: (axis.numeric, len(axis.levels)))
    found: list[Group] = [
        (series.name, [one for one in series.findings if one in shown]) for series in series_along(material, axis)
    ]
    return [(name, members[start : start + MOST]) for name, members in found for start in range(0, len(members), MOST)]


def survival(material: Material, whom: Whom) -> Drawing | Missing:
    """Share not yet memorised, and not yet forgotten."""
    panels: list[Panel] = []
    missing: list[str] = []
    titles = {What.T_MEM: "Not yet memorised", What.T_FORGET: "Not yet forgotten"}
    drawn = False
    for name, members in groups(material):
        for what in What:
            panels.append(
                Panel(
                    title=titles[what] + (f": {name}" if name else ""),
                    paint=partial(_paint_survival, members=members, what=what, whom=whom),
                )
            )
            for one in members:
                timed = one.times.get((what, whom))
                if isinstance(timed, Timed) and timed.curve is not None:
                    drawn = True
                elif timed is not None:
                    because = timed.because if isinstance(timed, NotMeasurable) else "it was seen of no experience"
                    missing.append(f"{titles[what].lower()}, {one.name}: {because}")
    of = "all exposed experiences" if whom is Whom.EXPOSED else "experiences rehearsed on purpose"
    title = f"Survival: not yet memorised, not yet forgotten; {of}"
    if not drawn:
        return Missing(title=title, because=first_reason(missing))
    return Drawing(
        name=f"survival-{whom}",
        title=title,
        caption=[
            "Kaplan–Meier on midpoints of the intervals between measurements, all seeds of a level pooled, collapse "
            "counted as censoring. Left from capture, right from the last exposure. Bands: 95 %, jackknife-t over "
            "seeds. "
            "Where a curve ends, nobody was followed longer.",
            counted(material),
        ],
        panels=panels,
        missing=missing,
    )


def _paint_survival(axes: Axes, *, members: Sequence[Findings], what: What, whom: Whom) -> None:
    longest = 0.0
    for number, one in enumerate(members):
        timed = one.times.get((what, whom))
        if not isinstance(timed, Timed) or timed.curve is None:
            continue
        curve, style = timed.curve, sign(number)
        end = max(float(np.nanmax(timed.durations[next(iter(timed.durations))].followed_N)), float(curve.time_T[-1]))
        longest = max(longest, end)
        chosen = np.unique(np.linspace(0, len(curve.time_T) - 1, MOST_STEPS).astype(int))
        time = np.concatenate([[0.0], curve.time_T[chosen], [end]])
        value, low, high = (
            np.concatenate([[1.0], of[chosen], of[[-1]]]) for of in (curve.value_T, curve.low_T, curve.high_T)
        )
        axes.step(time, value, where="post", color=style.colour, linestyle=style.line)
        axes.plot([], [], color=style.colour, linestyle=style.line, marker=style.marker, markersize=4, label=one.name)
        if np.isfinite(curve.low_T).any():
            axes.fill_between(time, low, high, step="post", color=style.colour, alpha=0.12, linewidth=0)
        places = np.linspace(0, len(time) - 1, 7).astype(int)[1:-1]
        axes.plot(time[places], value[places], linestyle="none", marker=style.marker, color=style.colour, markersize=4)
    axes.set_ylim(-0.02, 1.03)
    axes.set_xlim(0, longest or 1)
    axes.axhline(0.5, color=GREY, linewidth=0.6, linestyle=(0, (2, 2)))
    axes.set_xlabel("s since capture" if what is What.T_MEM else "s since the last exposure")
    axes.set_ylabel("share")


def retention(material: Material) -> Drawing | Missing:
    """What is left by age."""
    return _lines(
        material,
        "retention",
        "What is left of a memory, by time since the last exposure",
        [
            "Sum of D over memorised experiences ÷ sum of their levels at the last exposure, in bins of age with "
            "equally "
            "many measurements: one half of the frames gives the level, the other D, so the same noise is not in both. "
            "Bars: 95 %, jackknife-t over seeds. A mean over experiences: single ones may forget all at once.",
        ],
        [("D ÷ level at the last exposure", "s since the last exposure", lambda one: one.retention)],
        ratio=True,
    )


def contrasts(material: Material) -> Drawing | Missing:
    """D over the stream."""
    return _lines(
        material,
        "contrasts",
        "Contrasts over the stream",
        [
            "Left: episodic D, bits of what was trained on minus withheld blocks of the same visit, at the same "
            "version; "
            "memory of these very moments. Right: difference of differences of visited and placebo worlds; knowledge "
            "of "
            "the place. Mean over seeds, bands are 95 % t-intervals over seeds.",
        ],
        [
            ("Episodic contrast D (bits)", "s of the stream", lambda one: one.lines["episodic"]),
            ("World contrast (bits)", "s of the stream", lambda one: one.lines["world"]),
        ],
    )


def _lines(
    material: Material, name: str, title: str, caption: Sequence[str], shown: Sequence[tuple[str, str, Take]], *,
    ratio: bool = False,
) -> Drawing | Missing:  # fmt: skip
    panels: list[Panel] = []
    missing: list[str] = []
    drawn = False
    for group, members in groups(material):
        for heading, label, take in shown:
            paint = partial(_paint_lines, members=members, take=take, label=label, ratio=ratio)
            panels.append(Panel(title=heading + (f": {group}" if group else ""), paint=paint))
            for one in members:
                line = take(one)
                drawn |= isinstance(line, Line)
                if isinstance(line, NotMeasurable):
                    missing.append(f"{heading}, {one.name}: {line.because}")
    if not drawn:
        return Missing(title=title, because=first_reason(missing))
    return Drawing(name=name, title=title, caption=[*caption, counted(material)], panels=panels, missing=missing)


def _paint_lines(axes: Axes, *, members: Sequence[Findings], take: Take, label: str, ratio: bool) -> None:
    for number, one in enumerate(members):
        line = take(one)
        if not isinstance(line, Line):
            continue
        style = sign(number)
        every = max(1, len(line.at) // 8)
        axes.plot(line.at, line.value, color=style.colour, linestyle=style.line, marker=style.marker, markersize=4,
                  markevery=1 if ratio else (number % every, every), label=one.name)  # fmt: skip
        if ratio:
            _whiskers(axes, line.at, line.low, line.high, style.colour)
        elif np.isfinite(line.low).any():
            axes.fill_between(line.at, line.low, line.high, color=style.colour, alpha=0.12, linewidth=0)
    axes.axhline(0, color=GREY, linewidth=0.6)
    if ratio:
        axes.axhline(0.5, color=GREY, linewidth=0.6, linestyle=(0, (2, 2)))
        _limit(axes, members, take)
    axes.set_xlabel(label)
    axes.set_ylabel("share left" if ratio else "bits")


def _whiskers(axes: Axes, at: Floats, low: Floats, high: Floats, colour: str) -> None:
    known = np.isfinite(low) & np.isfinite(high)
    axes.vlines(at[known], low[known], high[known], color=colour, linewidth=1, alpha=0.6)


def _limit(axes: Axes, members: Sequence[Findings], take: Take) -> None:
    """Keeps the scale to the values: intervals of late bins, with few seeds left, may be endless."""
    values = [line.value for one in members if isinstance(line := take(one), Line)]
    if values:
        joined = np.concatenate(values)
        axes.set_ylim(min(-0.3, float(joined.min()) - 0.1), max(1.3, float(joined.max()) + 0.2))


def worlds(material: Material) -> Drawing | Missing:
    """Fall of place accuracy, world by world."""
    panels: list[Panel] = []
    for name, members in groups(material):
        found = [one for one in members if any(one.drops)]
        names = sorted({world for one in found for drop in one.drops for world in drop})
        if names:
            paint = partial(_paint_worlds, members=found, names=names)
            panels.append(Panel(title=name or "Best task end − last version", paint=paint, rows=len(names)))
    title = "Forgetting of places, world by world"
    if not panels:
        return Missing(title=title, because="no trial has two tasks with place scores of single worlds")
    return Drawing(
        name="forgetting-worlds",
        title=title,
        caption=[
            "Fall of a(t, world), accuracy of a linear probe for the places of a world that is fitted anew at each "
            "version, from its best task end to the last version (Chaudhry et al. 2018). A best of noisy numbers is "
            "too high: compare with worlds never visited in the figure above. Bars: 95 % t-intervals over seeds.",
            counted(material),
        ],
        panels=panels,
        columns=1,
    )


def _paint_worlds(axes: Axes, *, members: Sequence[Findings], names: Sequence[str]) -> None:
    for number, one in enumerate(members):
        style = sign(number)
        offset = (number - (len(members) - 1) / 2) * min(0.14, 0.7 / len(members))
        for place, world in enumerate(names):
            values = [
                Score(value=drop[world], low=None, high=None, frames=1, clusters=1)
                for drop in one.drops
                if world in drop
            ]
            bar(axes, place + offset, over_seeds(values), style, label=one.name if place == 0 else "", across=True)
    axes.axvline(0, color=GREY, linewidth=0.6)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("accuracy lost")
