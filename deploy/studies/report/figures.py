"""The figures of a study, each with a caption that says what, how, and of how much."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import nan

from matplotlib.axes import Axes

from deploy.studies.report import quantities as q
from deploy.studies.report.along import Stand, draw, finish, law, remark, stands
from deploy.studies.report.findings import Findings, Half, Timed, What, Whom
from deploy.studies.report.material import Material
from deploy.studies.report.plots import Drawing, Missing, Panel
from deploy.studies.report.quantities import CATALOGUE
from deploy.studies.report.ranking import Ranking, encoders
from deploy.studies.report.scales import Fit
from deploy.studies.report.trends import TRENDED, Trend, trend
from evaluator.continual.metrics import Metric
from evaluator.evaluation import EncoderName
from evaluator.probes import Task
from evaluator.scores import NotMeasurable, Score
from evaluator.times.study import Clock

_UNIT = {Clock.SECONDS: "s of the stream", Clock.STEPS: "optimiser steps"}


def counted(material: Material) -> str:
    """How many trials and seeds, and how intervals were found."""
    seeds = sorted({trial.seed for trial in material.trials})
    return f"{len(material.trials)} trials, seeds {', '.join(map(str, seeds)) or '–'}."


def first_reason(missing: Sequence[str]) -> str:
    """Reason for which a whole figure is missing: of the first thing it would have shown, with its name."""
    if not missing:
        return "no trial has what it takes"
    name, _, because = missing[0].partition(": ")
    more = f" (and likewise of {len(missing) - 1} more)" if len(missing) > 1 else ""
    return f"of {name}, {because}{more}"


def seeds_said(material: Material) -> str:
    """What the bars of means over seeds are."""
    if max((len(one.condition.trials) for one in material.findings), default=0) < 2:
        return "There is one trial a condition, so there are no intervals over seeds."
    return "Bars are 95 % t-intervals over seeds."


def times(material: Material, found: Sequence[Fit], whom: Whom) -> list[Drawing | Missing]:
    """T_mem and T_forget against each axis, in seconds and in steps."""
    of = _OF[whom]
    counts = "; ".join(f"{what.words}: {listed}" for what in What if (listed := _counts(material, what, whom)))
    said = [
        f"Large signs: Kaplan–Meier medians of {of} of all seeds, collapse counted as censoring, with 95 % jackknife-t "
        "intervals over seeds (an arrow is an open end; what leaves the frame is in the table). Small hollow signs: "
        "the same "
        "of each trial.",
        "Lines: the medians that T = c x^k implies, a log-normal model fitted to all interval- and right-censored "
        "times at "
        "once, with a share that the event never comes to where the data ask for one (evaluator/scaling.py). k, with "
        "its "
        "95 % interval over seeds, is of those that it comes to.",
        f"{counted(material)} Events/experiences by level – {counts}.",
    ]
    title = f"Time until memorised and until forgotten: {of}"
    return _times(material, found, _Asked(whom, tuple(What), f"times-{whom}", title, said))


def half_times(material: Material, found: Sequence[Fit], whom: Whom) -> list[Drawing | Missing]:
    """Half-times of the mean contrast against each axis."""
    said = [
        f"How fast D of {_OF[whom]} is learned and lost on average, where single experiences are too noisy for a "
        "T_mem: "
        "first age at which the mean, fitted to rise alone, is half of its level while trained on; first time since "
        "the last "
        "exposure at which the mean, fitted to fall alone, is half of it. Large signs: all trials, 95 % percentile "
        "intervals "
        "of a bootstrap of runs and their visits (of one run's visits alone with one seed), too narrow with few "
        "seeds. Small hollow signs: each trial.",
        "Lines: T = c x^k by least squares on the logarithms of the half-times of the trials.",
        counted(material),
    ]
    title = f"Half-times of the mean contrast: {_OF[whom]}"
    return _times(material, found, _Asked(whom, tuple(Half), f"half-times-{whom}", title, said))


_OF = {Whom.EXPOSED: "all exposed experiences", Whom.REHEARSED: "experiences rehearsed on purpose"}


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which times are drawn, and what is said of them."""

    whom: Whom
    kinds: Sequence[What | Half]
    name: str
    title: str
    caption: Sequence[str]


def _times(material: Material, found: Sequence[Fit], asked: _Asked) -> list[Drawing | Missing]:
    whom, kinds = asked.whom, asked.kinds
    drawings: list[Drawing | Missing] = []
    if whom is Whom.REHEARSED and not any(of is whom for one in material.findings for _, of in one.times):
        return []
    for stand in stands(material, None):
        title = f"{asked.title}, by {stand.axis.label}"
        missing = [
            f"{what.words} of {one.name}: {result.because}"
            for what in kinds
            for one in material.findings
            if isinstance(result := one.time(what, whom, Clock.SECONDS), NotMeasurable)
            and not one.condition.variant.iid
        ]
        if not any(
            isinstance(result, Score)
            for what in kinds
            for one in material.findings
            for result in (one.time(what, whom, Clock.SECONDS), *one.each_time(what, whom, Clock.SECONDS))
        ):
            drawings.append(Missing(title=title, because=first_reason(missing)))
            continue
        panels = [
            Panel(
                title=f"{what.words}, {_UNIT[clock]}",
                paint=partial(_paint_times, stand=stand, what=what, whom=whom, clock=clock, fits=found),
                rows=stand.rows,
                lines=len(stand.series) if stand.axis.numeric else 0,
            )
            for what in kinds
            for clock in (Clock.SECONDS, Clock.STEPS)
        ]
        drawings.append(
            Drawing(
                name=f"{asked.name}-{stand.axis.name}",
                title=title,
                panels=panels,
                missing=missing,
                caption=[text for text in asked.caption if stand.axis.numeric or not text.startswith("Lines")],
                shared=not stand.axis.numeric,
            )
        )
    return drawings


def _paint_times(axes: Axes, *, stand: Stand, what: What | Half, whom: Whom, clock: Clock, fits: Sequence[Fit]) -> None:
    draw(axes, stand, lambda one: one.time(what, whom, clock), each=lambda one: one.each_time(what, whom, clock),
         label=_UNIT[clock], log=True)  # fmt: skip
    for number, series in enumerate(stand.series):
        for fit in fits:
            same = (fit.what, fit.whom, fit.clock, fit.series.name) == (what, whom, clock, series.name)
            if fit.series.axis is stand.axis and same:
                law(axes, stand, fit, number)


def _counts(material: Material, what: What, whom: Whom) -> str:
    parts = [
        f"{one.name} {timed.counts['event']}/{timed.subjects}"
        + (f" ({timed.counts['collapse']} collapsed)" if timed.counts["collapse"] else "")
        for one in material.findings
        if isinstance(timed := one.times.get((what, whom)), Timed)
    ]
    return ", ".join(parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Numbers that are drawn together.

    Attributes:
        name: Name of the figure's files.
        title: What it shows.
        keys: The numbers.
        caption: How they are computed.
        log: Whether on a logarithmic scale.
    """

    name: str
    title: str
    keys: Sequence[str]
    caption: str
    log: bool = False


def by_level(material: Material, ranking: Ranking, group: Group) -> list[Drawing]:
    """Means over seeds of some numbers by level, one panel each, one figure an axis."""
    drawings: list[Drawing] = []
    followed = all(key.startswith(("memory.", "continual.")) for key in group.keys)
    for stand in stands(material, None if followed else ranking.bound):
        shown = [key for key in group.keys if any(isinstance(one.over_seeds(key), Score) for one in material.findings)]
        missing = [
            f"{CATALOGUE[key].label} of {one.name}: {result.because}"
            for key in group.keys
            for one in material.findings
            if isinstance(result := one.over_seeds(key), NotMeasurable) and not _beside(one, key)
        ]
        panels = [
            Panel(
                title=_heading(key), paint=partial(_paint_level, stand=stand, key=key, log=group.log), rows=stand.rows
            )
            for key in shown
        ]
        if panels:
            drawings.append(
                Drawing(
                    name=f"{group.name}-{stand.axis.name}",
                    title=f"{group.title}, by {stand.axis.label}",
                    caption=[group.caption, f"{seeds_said(material)} {counted(material)}"],
                    panels=panels,
                    missing=missing,
                    shared=not stand.axis.numeric,
                )
            )
    return drawings


def _heading(key: str) -> str:
    label = CATALOGUE[key].label
    return label[:1].upper() + label[1:]


def _beside(one: Findings, key: str) -> bool:
    """Whether it goes without saying that a condition lacks a number."""
    return one.condition.variant.iid and key.startswith(("memory.", "continual."))


def _paint_level(axes: Axes, *, stand: Stand, key: str, log: bool) -> None:
    draw(axes, stand, lambda one: one.over_seeds(key), label=CATALOGUE[key].unit or CATALOGUE[key].label, log=log,
         each=lambda one: one.scores.get(key, []))  # fmt: skip
    if key not in TRENDED or not stand.axis.numeric:
        return
    for series in stand.series:
        found = Trend(series=series, number=key, slope=trend(series, key), holm=nan)
        if found.text():
            name = f"{series.name}: " if series.name else ""
            remark(axes, f"{name}{found.text()} for each {found.each}")


def probes(material: Material, ranking: Ranking) -> list[Drawing]:
    """Scores of the trained encoder, random-init and pixels, and gains."""
    drawings: list[Drawing] = []
    for stand in stands(material, ranking.bound):
        panels: list[Panel] = []
        tasks = [
            task for task in Task if any(isinstance(one.over_seeds(q.gain(task)), Score) for one in material.findings)
        ]
        for task in tasks:
            panels.append(
                Panel(
                    title=f"{task.capitalize()}: score",
                    paint=partial(_paint_probe, stand=stand, task=task),
                    rows=stand.rows,
                )
            )
            paint = partial(_paint_level, stand=stand, key=q.gain(task), log=False)
            panels.append(Panel(title=f"{task.capitalize()}: gain over random-init", paint=paint, rows=stand.rows))
        if panels:
            drawings.append(
                Drawing(
                    name=f"probes-{stand.axis.name}",
                    title=f"Linear probes at the end, by {stand.axis.label}",
                    caption=[
                        "Linear probes on frozen features of the last version, fitted anew on the probe set's training "
                        "walks and asked about its test walks. Random-init is the network of the same shape and seed "
                        "before its first step; gain is trained − random-init, walks in pairs.",
                        f"{seeds_said(material)} {counted(material)}",
                    ],
                    panels=panels,
                    missing=[
                        f"{CATALOGUE[q.gain(task)].label} of {one.name}: {result.because}"
                        for task in Task
                        for one in material.findings
                        if isinstance(result := one.over_seeds(q.gain(task)), NotMeasurable)
                    ],
                    shared=not stand.axis.numeric,
                )
            )
    return drawings


_ENCODERS = {EncoderName.TRAINED: "trained", EncoderName.RANDOM: "random-init", EncoderName.PIXELS: "pixels"}
MANY = 2
"""Series up to which each is drawn with baselines of its own; of more, the first one's stand for all."""


def _paint_probe(axes: Axes, *, stand: Stand, task: Task) -> None:
    sign_at = 0
    for number, encoder in enumerate(encoders()):
        key = q.probe(task, encoder)
        trained, many = encoder is EncoderName.TRAINED, len(stand.series) > MANY
        series = stand.series if trained or not many else stand.series[:1]
        shown = Stand(
            axis=stand.axis,
            series=series,
            bound=stand.bound if trained else None,
            alone=stand.alone if trained else (),
        )
        named = [f"{_ENCODERS[encoder]}, {one.name}" if len(stand.series) > 1 else _ENCODERS[encoder] for one in series]
        draw(
            axes,
            shown,
            lambda one, key=key: one.over_seeds(key),
            label=q.unit_of(task),
            signs=sign_at,
            names=named,
            beside=(number, 3) if not many else (0, 1),
        )
        sign_at += len(series)
    finish(axes, stand, label=q.unit_of(task))


OVERVIEW = Group(
    name="overview",
    title="Memory and what becomes of the features",
    keys=(q.EPISODIC, q.WORLD, q.continual(Metric.BWT), q.gain(Task.PLACE)),
    caption=(
        "Above, in bits: memory of moments (trained on minus withheld blocks of the same visit) and of worlds (visited "
        "minus placebo). Below, of a linear probe for places on the pooled features: what a world's accuracy has lost "
        "or gained since it was learned (backward transfer, Lopez-Paz & Ranzato 2017), and accuracy at the end minus "
        "that of random features."
    ),
)
MEMORY = Group(
    name="memory",
    title="Memory",
    keys=(q.EPISODIC, q.WORLD, q.MEMORISED, q.MEMORISED_REHEARSED),
    caption=(
        "Episodic D: bits of what was trained on minus withheld blocks of the same visit. World contrast: "
        "difference of differences of visited and placebo worlds. Share memorised: experiences with D ≥ θ at two "
        "measurements in a row of a healthy version, of all that have a control."
    ),
)
CONTINUAL = Group(
    name="continual",
    title="Stability gap and forgetting of places",
    keys=tuple(
        q.continual(metric)
        for metric in (
            Metric.GAP_DEPTH,
            Metric.GAP_DEPTH_UNSEEN,
            Metric.FORGETTING,
            Metric.FORGETTING_UNSEEN,
            Metric.BWT,
            Metric.ACC,
        )
    ),
    caption=(
        "Stability gap: mean fall of the place accuracy of known worlds after a change of world (De Lange et al. "
        "2023). Forgetting: mean over worlds of best task end − end (Chaudhry et al. 2018). Both are extremes of "
        "noisy numbers and so above 0 where nothing is forgotten; worlds never visited, beside them, show by how "
        "much. BWT: Lopez-Paz & Ranzato 2017."
    ),
)
HEALTH = Group(
    name="health",
    title="Health of the features",
    keys=(q.RANKME, q.FEATURE_STD, q.DORMANT, q.UNHEALTHY),
    caption=(
        "Of the pooled features of the probe set at the last version: RankMe (effective dimensions), deviation, "
        "share of dimensions that hardly react; and how many versions failed the guardrail's limits. A collapse "
        "lowers the loss and means nothing was learned; a high rank is no quality."
    ),
)
COMPUTE = Group(
    name="compute",
    title="Computation of a trial",
    keys=(q.FLOPS, q.CPU, q.IMAGES_A_SECOND, q.ENERGY),
    caption="Computation of a whole trial; energy is CPU seconds × the watts of a busy core, an estimate.",
    log=True,
)
