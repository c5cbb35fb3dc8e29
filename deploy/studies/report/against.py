"""Two studies side by side, variant by variant: paired where seed and stream are the same, and said so where not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from math import exp, log, nan
from typing import Any

from deploy.report.blocks import Reasons
from deploy.studies.report import quantities as q
from deploy.studies.report.data import ends, times_of
from deploy.studies.report.findings import Findings, Half, What, Whom
from deploy.studies.report.forest import Cell, panels_of
from deploy.studies.report.material import Material
from deploy.studies.report.plots import Drawing
from deploy.studies.report.provenance import config_of, differing
from deploy.studies.report.quantities import CATALOGUE
from deploy.studies.report.ranking import COMPARED
from deploy.studies.report.tables import Table
from evaluator.scores import NotMeasurable, Result, Score
from evaluator.seeds import Difference, holm, paired, unpaired
from evaluator.times.study import Clock

KEYS = (*COMPARED, q.RANKME, q.CPU)
"""Numbers that are compared."""

type Time = tuple[What | Half, Whom, Clock]


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One number of one variant in both studies.

    Attributes:
        variant: Name of the condition.
        number: Its key.
        ours: Mean or median in this study.
        theirs: In the other.
        difference: Ours − theirs; of times, of their logarithms.
        holm: Its p-value, adjusted for all variants that are compared by this number.
        ratio: Whether it is a time, of which ours ÷ theirs is shown.
    """

    variant: str
    number: str
    ours: Result
    theirs: Result
    difference: Difference | NotMeasurable
    holm: float
    ratio: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Two studies.

    Attributes:
        ours: The study of the report.
        theirs: The other.
        rows: Numbers of the variants that both have.
        alone: Variants that only one has, in words.
        pairing: How variants are compared, in words.
        differing: Fields in which studies and configurations differ: field → ours, theirs.
    """

    ours: Material
    theirs: Material
    rows: Sequence[Row]
    alone: Sequence[str]
    pairing: Sequence[str]
    differing: Mapping[str, tuple[str, str]]


def compare(ours: Material, theirs: Material) -> Comparison:
    """Compares the conditions of the same name."""
    others = {one.name: one for one in theirs.findings}
    shared = [(one, others[one.name]) for one in ours.findings if one.name in others]
    rows: list[Row] = []
    for key in KEYS:
        rows += _adjusted([_row(a, b, key, a.scores.get(key, []), b.scores.get(key, [])) for a, b in shared])
    times = dict.fromkeys(time for a, _ in shared for time in times_of(a))
    for time in times:
        rows += _adjusted([_time(a, b, time) for a, b in shared])
    names = {one.name for one, _ in shared}
    return Comparison(
        ours=ours,
        theirs=theirs,
        rows=[row for row in rows if isinstance(row.ours, Score) or isinstance(row.theirs, Score)],
        alone=[
            f"{one.name} only in {material.design.name}"
            for material in (ours, theirs)
            for one in material.findings
            if one.name not in names
        ],
        pairing=[_pairing(a, b) for a, b in shared],
        differing=_differing(ours, theirs, shared),
    )


def _pairs(a: Findings, b: Findings) -> list[tuple[int, int]]:
    place = {trial.key: number for number, trial in enumerate(b.condition.trials)}
    return [(number, place[trial.key]) for number, trial in enumerate(a.condition.trials) if trial.key in place]


def _pairing(a: Findings, b: Findings) -> str:
    pairs = _pairs(a, b)
    counts = f"{len(a.condition.trials)} and {len(b.condition.trials)} trials"
    if pairs:
        seeds = ", ".join(str(a.condition.trials[one].seed) for one, _ in pairs)
        return f"{a.name}: {len(pairs)} pairs with the same seed and stream (seeds {seeds}) of {counts}."
    return (
        f"{a.name}: no two trials share seed, checksum and salt of the stream, so a paired difference is refused; "
        "the two "
        f"stand side by side, unpaired, {counts}, and what differs may be the stream."
    )


def _row(
    a: Findings, b: Findings, key: str, ours: Sequence[Result], theirs: Sequence[Result], *, ratio: bool = False,
    means: tuple[Result, Result] | None = None,
) -> Row:  # fmt: skip
    pairs = _pairs(a, b)
    if pairs and ours and theirs:
        difference = paired([(ours[one], theirs[other]) for one, other in pairs])
    else:
        difference = unpaired(ours, theirs)
    mean = means or (a.over_seeds(key), b.over_seeds(key))
    return Row(
        variant=a.name, number=key, ours=mean[0], theirs=mean[1], difference=difference, holm=nan, ratio=ratio
    )  # fmt: skip


def _time(a: Findings, b: Findings, time: Time) -> Row:
    ours, theirs = ([_log(result) for result in of.each_time(*time)] for of in (a, b))
    means = a.time(*time), b.time(*time)
    return _row(a, b, ".".join(map(str, time)), ours, theirs, ratio=True, means=means)


def _log(result: Result) -> Result:
    if isinstance(result, NotMeasurable):
        return result
    if result.value <= 0:
        return NotMeasurable("it is 0, of which there is no ratio")
    return Score(value=log(result.value), low=None, high=None, frames=result.frames, clusters=1)


def _adjusted(rows: Sequence[Row]) -> list[Row]:
    p = holm([row.difference.p if isinstance(row.difference, Difference) else nan for row in rows])
    return [replace(row, holm=of) for row, of in zip(rows, p, strict=True)]


def _differing(
    ours: Material, theirs: Material, shared: Sequence[tuple[Findings, Findings]]
) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for name in ("name", "preset", "scale", "match", "rate", "code", "bound", "reference"):
        a, b = (str(getattr(of.design, name)) for of in (ours, theirs))
        if a != b:
            found[f"study: {name}"] = (a, b)
    for name in ("code", "recording"):
        a, b = (", ".join(sorted({getattr(trial, name) for trial in of.trials})) for of in (ours, theirs))
        if a != b:
            found[f"trials: {name}"] = (a, b)
    streams = [sorted({f"{trial.stream.digest}/{trial.stream.salt}" for trial in of.trials}) for of in (ours, theirs)]
    if streams[0] != streams[1]:
        found["trials: stream/salt"] = (", ".join(streams[0]), ", ".join(streams[1]))
    for a, b in shared:
        configs = {"ours": config_of(a.condition.trials[0]), "theirs": config_of(b.condition.trials[0])}
        if all(configs.values()):
            for field, values in differing(configs).items():
                found[f"{a.name}: {field}"] = (values["ours"], values["theirs"])
    return found


def drawing(found: Comparison) -> Drawing | None:
    """Forest plot of the differences that are not ratios."""
    cells: dict[str, dict[str, Cell]] = {}
    for row in found.rows:
        if not row.ratio and row.number in COMPARED and isinstance(row.difference, Difference):
            cells.setdefault(row.number, {})[row.variant] = (row.difference, row.holm)
    names = list(dict.fromkeys(row.variant for row in found.rows))
    panels = panels_of(cells, names)
    if not panels:
        return None
    ours, theirs = found.ours.design.name, found.theirs.design.name
    return Drawing(
        name="against",
        title=f"{ours} minus {theirs}, variant by variant",
        caption=[
            "Mean difference with its 95 % interval: circles are paired by seed on the same stream (t over pairs), "
            "squares "
            "are unpaired (Welch), and there the streams may be what differs. Filled: p < 0.05 after Holm's "
            "adjustment for "
            "the variants of a panel.",
            *found.pairing,
        ],
        panels=panels,
        columns=3,
        shared=True,
    )


def table(found: Comparison) -> Table:
    """All numbers of both."""
    reasons = Reasons()
    rows: list[list[str]] = []
    for row in found.rows:
        digits = 0 if row.ratio else 3
        both = [reasons.cell(result, digits) for result in (row.ours, row.theirs)]
        rows.append([f"{row.variant}: {_label(row.number)}", *both, *_difference(row, reasons)])
    ours, theirs = found.ours.design.name, found.theirs.design.name
    return Table(
        name="against",
        caption=f"{ours} against {theirs}",
        head=["number", ours, theirs, "difference, or ratio (×)", "how", "p, Holm"],
        rows=rows,
        notes=reasons.notes(),
    )


def _label(number: str) -> str:
    if number in CATALOGUE:
        return CATALOGUE[number].title
    what, whom, clock = number.split(".")
    kind = What(what) if what in set(What) else Half(what)
    return f"{kind.words} of {whom}, {clock}"


def _difference(row: Row, reasons: Reasons) -> tuple[str, str, str]:
    found = row.difference
    if isinstance(found, NotMeasurable):
        return reasons.cell(found), "–", "–"
    how = f"paired, {found.score.clusters}" if found.paired else f"unpaired, {found.score.clusters} trials"
    score = found.score
    if row.ratio:
        low, high = (None if end is None else exp(end) for end in (score.low, score.high))
        score = Score(value=exp(score.value), low=low, high=high, frames=score.frames, clusters=score.clusters)
    p = "–" if row.holm != row.holm else f"{row.holm:.3f}"
    return ("× " if row.ratio else "") + reasons.cell(score, 2 if row.ratio else 3), how, p


def words(found: Comparison) -> str:
    """What is compared and what differs, as HTML."""
    ours, theirs = found.ours.design.name, found.theirs.design.name
    said = [*found.pairing, *(f"{text}." for text in found.alone)]
    items = "".join(f"<li>{escape(text)}</li>" for text in said)
    fields = "".join(
        f'<tr><th scope="row">{escape(field)}</th><td>{escape(a)}</td><td>{escape(b)}</td></tr>'
        for field, (a, b) in found.differing.items()
    )
    differs = (
        '<div class="table"><h3>What differs in study, code and configuration</h3><div class="scroll"><table><thead>'
        "<tr>"
        f"<th>field</th><th>{escape(ours)}</th><th>{escape(theirs)}</th></tr></thead><tbody>{fields}</tbody></table></div>"
        "</div>"
        if fields
        else '<p class="note">Study, code and configurations do not differ, or cannot be read.</p>'
    )
    return f'<ul class="said">{items}</ul>{differs}'


def rows(found: Comparison) -> list[dict[str, Any]]:
    """The numbers as plain rows."""
    made: list[dict[str, Any]] = []
    for row in found.rows:
        of = row.difference
        difference = ends(of.score if isinstance(of, Difference) else of)
        made.append(
            {
                "variant": row.variant,
                "number": row.number,
                "logarithm": row.ratio,
                **{f"ours.{name}": value for name, value in ends(row.ours).items()},
                **{f"theirs.{name}": value for name, value in ends(row.theirs).items()},
                **{f"difference.{name}": value for name, value in difference.items()},
                "paired": of.paired if isinstance(of, Difference) else None,
                "p_holm": row.holm,
            }
        )
    return made
