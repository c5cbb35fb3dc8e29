"""Tables of a study: for the page, and for a paper as LaTeX with booktabs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite

from deploy.report.blocks import Reasons
from deploy.report.blocks import table as as_html
from deploy.studies.report import quantities as q
from deploy.studies.report.along import short
from deploy.studies.report.findings import CLOCKS, Findings, Half, Timed, What, Whom
from deploy.studies.report.material import Material
from deploy.studies.report.quantities import CATALOGUE
from deploy.studies.report.ranking import COMPARED, Compared, Ranking
from deploy.studies.report.scales import Fit
from deploy.studies.report.trends import trends
from evaluator.continual.metrics import Metric
from evaluator.probes import Task
from evaluator.scaling import PowerLaw
from evaluator.scores import NotMeasurable, Result, Score
from evaluator.seeds import Difference
from evaluator.times.threshold import Threshold

_TEX = {
    "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "−": "$-$", "–": "--", "×": r"$\times$",
    "θ": r"$\theta$", "²": r"$^2$", "≥": r"$\geq$", "…": r"\dots{}", "÷": r"$\div$", "Δ": r"$\Delta$",
    "\N{NO-BREAK SPACE}": "~", "<": r"$<$", ">": r"$>$", "·": r"$\cdot$",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table of plain text.

    Attributes:
        name: Name of its file.
        caption: What it shows.
        head: Names of the columns.
        rows: Cells; the first of each row is its name.
        notes: Plain text below it.
    """

    name: str
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = field(default_factory=list[str])

    def html(self) -> str:
        """Writes it for the page."""
        return as_html(self.head, self.rows, self.caption, notes=self.notes)

    def tex(self) -> str:
        """Writes it as LaTeX; needs the package booktabs."""
        lines = [f"% {line}" for line in (self.caption, *self.notes)]
        lines += [rf"\begin{{tabular}}{{l{'r' * (len(self.head) - 1)}}}", r"\toprule", _tex_row(self.head), r"\midrule"]
        lines += [_tex_row(row) for row in self.rows]
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _tex_row(cells: Sequence[str]) -> str:
    return " & ".join("".join(_TEX.get(letter, letter) for letter in cell) for cell in cells) + r" \\"


def tables(material: Material, found: Sequence[Fit], ranking: Ranking) -> dict[str, Table]:
    """All tables by name; those that would be empty are left out."""
    made = [
        _times(material, Whom.EXPOSED),
        _times(material, Whom.REHEARSED),
        _half_times(material),
        _fits(found),
        _trends(material),
        _ranking(ranking),
        _differences(ranking),
        _compute(material),
        _trials(material),
    ]
    return {table.name: table for table in made if table.rows}


def _times(material: Material, whom: Whom) -> Table:
    reasons = Reasons()
    rows: list[list[str]] = []
    for one in material.findings:
        found = [one.times.get((what, whom)) for what in What]
        if one.condition.variant.iid or all(timed is None for timed in found):
            continue
        theta = one.theta
        row = [one.name, str(len(one.condition.trials))]
        row.append(f"{theta.theta:.2f}" if isinstance(theta, Threshold) else reasons.cell(theta))
        for timed in found:
            row.append(f"{timed.counts['event']}/{timed.subjects}" if isinstance(timed, Timed) else "–")
            for clock in CLOCKS:
                none = NotMeasurable("nothing was rehearsed on purpose")
                result = timed.medians[clock] if isinstance(timed, Timed) else timed or none
                row.append(reasons.cell(result, 0))
        key = q.MEMORISED if whom is Whom.EXPOSED else q.MEMORISED_REHEARSED
        row += [reasons.cell(one.over_seeds(key), 2), reasons.cell(one.margin, 1)]
        rows.append([*row, *([reasons.cell(one.saving, 2)] if whom is Whom.EXPOSED else [])])
    of = "all exposed experiences" if whom is Whom.EXPOSED else "experiences rehearsed on purpose"
    head = ["level", "trials", "θ, bits"]
    for what in What:
        head += [f"{what.words}: events", f"{what.words}, s", f"{what.words}, steps"]
    return Table(
        name=f"times-{whom}",
        caption=f"Medians of T_mem and T_forget with 95 % intervals over seeds: {of}",
        head=[*head, "share memorised", "D ÷ θ", *(["saving on returns"] if whom is Whom.EXPOSED else [])],
        rows=rows,
        notes=reasons.notes(),
    )


def _half_times(material: Material) -> Table:
    reasons = Reasons()
    rows: list[list[str]] = []
    for one in material.findings:
        for whom in dict.fromkeys(whom for whom, _ in one.halves):
            if not one.condition.variant.iid:
                level = one.halves[whom, CLOCKS[0]].pooled.level
                times = [reasons.cell(one.time(half, whom, clock), 0) for half in Half for clock in CLOCKS]
                rows.append([one.name, str(whom), str(len(one.condition.trials)), reasons.cell(level, 2), *times])
    head = [f"{half.words}, {'s' if clock is CLOCKS[0] else 'steps'}" for half in Half for clock in CLOCKS]
    return Table(
        name="half-times",
        caption="Half-times of the mean contrast, with 95 % percentile bootstrap intervals (runs and visits)",
        head=["level", "experiences", "trials", "level of D, bits", *head],
        rows=rows,
        notes=reasons.notes(),
    )


def _fits(found: Sequence[Fit]) -> Table:
    reasons = Reasons()
    rows: list[list[str]] = []
    for fit in found:
        name = f"{fit.what.words}, {fit.clock}, {fit.whom}" + (f", {fit.series.name}" if fit.series.name else "")
        rows.append([
            name, fit.series.axis.name, *_law(fit.censored, reasons),
            *(_law(fit.medians, reasons)[index] for index in (0, 2)),
        ])  # fmt: skip
    errors = sorted({
        law.error or "no interval with one seed"
        for fit in found for law in (fit.censored, fit.medians) if isinstance(law, PowerLaw)
    })  # fmt: skip
    return Table(
        name="scaling",
        caption="T = c x^k: all times with censoring (maximum likelihood), and least squares on one median a trial",
        head=["time", "axis", "k, all times", "c", "events", "k, medians", "trials"],
        rows=rows,
        notes=[*reasons.notes(), *([f"Intervals: {'; '.join(errors)}."] if errors else [])],
    )


def _trends(material: Material) -> Table:
    reasons = Reasons()
    rows: list[list[str]] = []
    for one in trends(material):
        cell = one.text() or reasons.cell(one.score)
        ps = [f"{p:.2g}" if isfinite(p) else "–" for p in (one.p, one.holm)]
        axis = one.series.axis.name + (f", {one.series.name}" if one.series.name else "")
        rows.append([CATALOGUE[one.number].title, axis, one.each, cell, *ps])
    return Table(
        name="trends",
        caption="Numbers along an axis: mean slope over seeds with a 95 % t-interval, each seed a line of its own",
        head=["number", "axis", "for each", "change", "p", "p, Holm"],
        rows=rows,
        notes=[*reasons.notes(), "Holm's adjustment is over the numbers of this table."] if rows else [],
    )


def _law(law: PowerLaw | NotMeasurable, reasons: Reasons) -> tuple[str, str, str]:
    if isinstance(law, NotMeasurable):
        return reasons.cell(law), "–", "–"
    return reasons.cell(law.exponent, 2), short(law.scale), f"{law.events}/{law.subjects}"


def _ranking(ranking: Ranking) -> Table:
    reasons = Reasons()
    rows: list[list[str]] = []
    tasks = [
        task for task in Task
        if any(isinstance(row.findings.over_seeds(q.gain(task)), Score) for row in ranking.rows)
    ]  # fmt: skip
    for row in ranking.rows:
        one = row.findings
        marks = [word for word, of in (("bound", ranking.bound), ("reference", ranking.reference)) if of is one]
        cells = [one.name + (f" ({', '.join(marks)})" if marks else ""), str(len(one.condition.trials))]
        cells += [reasons.cell(one.over_seeds(q.gain(task))) for task in tasks]
        cells += [reasons.cell(row.ratios[task], 2) for task in tasks if ranking.bound is not None]
        more = (q.continual(Metric.FORGETTING), q.EPISODIC, q.MEMORISED, q.RANKME)
        rows.append([*cells, *(reasons.cell(one.over_seeds(key), 1 if key == q.RANKME else 3) for key in more)])
    ratios = [f"{task}: of the bound's" for task in tasks if ranking.bound is not None]
    return Table(
        name="ranking",
        caption="Variants, best mean gain in world, place and depth first; means with 95 % t-intervals over seeds",
        head=["variant", "trials", *(f"gain in {task}" for task in tasks), *ratios, "forgetting", "D, bits",
              "share memorised", "RankMe"],
        rows=rows,
        notes=[
            *reasons.notes(),
            *([] if ranking.bound is None else [
                f"Ratios are gain ÷ gain of {ranking.bound.name} with the same seed and stream, only where the whole "
                "interval of the latter lies above 0."
            ]),
        ],
    )  # fmt: skip


def _differences(ranking: Ranking) -> Table:
    reasons = Reasons()
    rows = [
        [row.findings.name, *(_difference(row.against[key], reasons) for key in COMPARED)]
        for row in ranking.rows
        if row.against
    ]
    name = ranking.reference.name if ranking.reference else ""
    shown = [number for number in range(1, len(COMPARED) + 1) if any("[" in row[number] for row in rows)]
    return Table(
        name="differences",
        caption=f"Paired differences to {name}, with 95 % t-intervals over seeds and Holm's p over a column",
        head=["variant", *(CATALOGUE[COMPARED[number - 1]].label for number in shown)],
        rows=[[row[0], *(row[number] for number in shown)] for row in rows] if shown else [],
        notes=[
            *reasons.notes(),
            f"Each column is a family of {len(rows)} comparisons, adjusted together (Holm 1979); columns are not "
            "adjusted "
            "for each other, so with many columns some small p is to be expected by chance.",
        ],
    )


def _difference(compared: Compared, reasons: Reasons) -> str:
    result = compared.result
    if not isinstance(result, Difference):
        return reasons.cell(result)
    p = f", p {_p(compared.holm)}" if isfinite(compared.holm) else ""
    return f"{reasons.cell(result.score)}{p}"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _compute(material: Material) -> Table:
    reasons = Reasons()
    rows: list[list[str]] = []
    for one in material.findings:
        trial = one.condition.trials[0]
        cells = [one.name, *(_plain(trial.numbers.get(name)) for name in ("parameters.encoder", "steps", "images"))]
        rows.append(
            [*cells, *(_short(one.over_seeds(key), reasons) for key in (q.FLOPS, q.CPU, q.IMAGES_A_SECOND, q.ENERGY))]
        )
    return Table(
        name="compute",
        caption="Computation of one trial, mean over seeds",
        head=["level", "encoder's parameters", "steps", "images", "FLOP", "CPU s", "images/CPU s", "Wh"],
        rows=rows,
        notes=[*reasons.notes(), energy_said(material)],
    )


def energy_said(material: Material) -> str:
    """What energy is estimated by."""
    return (
        f"Energy is an estimate: CPU seconds × {material.watts:g} W a busy core (--watts); memory, idle cores, "
        "cooling "
        "and GPUs are not in it. CPU seconds are those of the whole trial; images are divided by those of training "
        "alone."
    )


def _plain(value: float | None) -> str:
    return "–" if value is None or not isfinite(value) else short(value)


def _short(result: Result, reasons: Reasons) -> str:
    return short(result.value) if isinstance(result, Score) else reasons.cell(result)


def _trials(material: Material) -> Table:
    done = [
        [
            trial.name,
            "done",
            str(trial.seed),
            trial.stream.short,
            _plain(trial.numbers["steps"]),
            trial.code,
            trial.digest[:8],
        ]
        for trial in material.trials
    ]
    rest = [[absent.name, absent.why, "–", "–", "–", "–", absent.reason] for absent in material.absent]
    return Table(
        name="trials",
        caption="All trials",
        head=["trial", "state", "seed", "stream/salt", "steps", "code", "checksum of the rows, or reason"],
        rows=[*rest, *done],
    )


def means(findings: Sequence[Findings], keys: Sequence[str]) -> dict[str, dict[str, object]]:
    """Means over seeds by condition and key, as plain JSON."""
    return {one.name: {key: one.over_seeds(key).row() for key in keys} for one in findings}
