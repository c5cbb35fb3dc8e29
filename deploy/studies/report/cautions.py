"""What the numbers of a study do not show: sentences chosen by rule."""

from collections.abc import Sequence

from deploy.studies.report import quantities as q
from deploy.studies.report.findings import Findings, Half, Timed, What, Whom
from deploy.studies.report.material import Material
from deploy.studies.report.ranking import COMPARED, Ranking
from deploy.studies.report.scales import Fit
from deploy.studies.report.trends import trends
from evaluator.scaling import PowerLaw
from evaluator.scores import Score

FEW_SEEDS = 5
"""Seeds below which this is said."""
LEAST_MARGIN = 2.0
"""D at the last exposure ÷ θ below which noise chooses what counts as memorised."""


def shown(material: Material, found: Sequence[Fit]) -> list[str]:
    """What the intervals allow to say of the axes."""
    said: list[str] = []
    for fit in found:
        law = fit.medians if isinstance(fit.what, Half) else fit.censored
        if not isinstance(law, PowerLaw) or law.exponent.low is None or law.exponent.high is None:
            continue
        k, low, high = law.exponent.value, law.exponent.low, law.exponent.high
        where = f" ({fit.series.name})" if fit.series.name else ""
        time = f"{fit.what.words} of {fit.whom} experiences in {fit.clock}{where}"
        interval = f"k = {k:.2f} [{low:.2f}, {high:.2f}]".replace("-", "−")
        if low > 0 or high < 0:
            said.append(f"{time} {'grows' if k > 0 else 'falls'} with {fit.series.axis.label}: {interval}.")
        else:
            said.append(f"{time}: no direction can be told; the interval of the exponent holds 0, {interval}.")
    said += [sentence for one in trends(material) if (sentence := one.sentence())]
    return said or ["No exponent has an interval, so nothing is said about how times change along an axis."]


def cautions(material: Material, found: Sequence[Fit], ranking: Ranking) -> list[str]:
    """Everything that a reader has to know before believing a figure."""
    return [
        *_trials(material),
        *_seeds(material),
        *_streams(material),
        *_memory(material),
        *_health(material),
        *_comparisons(material, ranking),
        *_laws(material, found),
    ]


def _trials(material: Material) -> list[str]:
    if not material.trials:
        return ["No trial has ended: there is nothing to show yet."]
    asked = len(material.design.trials)
    if not material.absent:
        return []
    return [
        f"{len(material.trials)} of {asked} trials are in; what is missing may not be missing by chance (a variant "
        "that "
        "fails often, fails for a reason)."
    ]


def _seeds(material: Material) -> list[str]:
    counts = {one.name: len(one.condition.trials) for one in material.findings}
    single = [name for name, count in counts.items() if count == 1]
    few = [name for name, count in counts.items() if 1 < count < FEW_SEEDS]
    said: list[str] = []
    if single:
        said.append(
            f"One seed: {_list(single)}. There is no interval over seeds, and any difference may be the seed's."
        )
    if few:
        said.append(
            f"Fewer than {FEW_SEEDS} seeds: {_list(few)}. Intervals are wide and rest on the seeds being alike; their "
            "ends move much with one seed more."
        )
    return said


def _streams(material: Material) -> list[str]:
    said = [material.blocks.said] if material.blocks.said else []
    if len(material.blocks.streams) == 1:
        said.append(
            "All trials saw one stream. Intervals over seeds hold what initialisation, masks and sampling do, not what "
            "another life, other worlds or another choice of withheld blocks would do."
        )
    elif material.findings and all(
        len({trial.stream for trial in one.condition.trials}) == 1 for one in material.findings
    ):
        said.append(
            "Every level saw one stream, and not all the same. What differs between levels may be what that one stream "
            "happened to hold, not only what was varied; more streams a level would tell."
        )
    return said


def _memory(material: Material) -> list[str]:
    said: list[str] = []
    for what in What:
        for whom in Whom:
            parts = [(one, one.times.get((what, whom))) for one in material.findings]
            much = [one.name for one, timed in parts if isinstance(timed, Timed) and timed.censored > 0.5]
            if much:
                of = "exposed" if whom is Whom.EXPOSED else "rehearsed"
                said.append(
                    f"{what.words} of {of} experiences: more than half were not seen to happen for {_list(much)}. A "
                    "median "
                    "is then missing or an extrapolation of the fitted law, and longer runs may tell another story."
                )
            collapsed = [one.name for one, timed in parts if isinstance(timed, Timed) and timed.counts["collapse"]]
            if collapsed and whom is Whom.EXPOSED:
                said.append(
                    f"{what.words}: some networks collapsed before it happened ({_list(collapsed)}). Collapse "
                    "competes with "
                    "the event: curves and medians count it as censoring, so they tell what would be without it."
                )
    narrow = [
        f"{one.name} ({one.margin.value:.1f})"
        for one in material.findings
        if isinstance(one.margin, Score) and one.margin.value < LEAST_MARGIN
    ]
    if narrow:
        said.append(
            f"D at the last exposure is less than {LEAST_MARGIN:g} θ for {_list(narrow)}: noise decides there what "
            "counts "
            "as memorised, and T_forget is an upper bound (docs/measures.md, Calibration)."
        )
    ceiling = [one.name for one in material.findings if one.near_ceiling]
    if ceiling:
        said.append(f"Near the ceiling of 8 bits in some rows: {_list(ceiling)}. A ceiling looks like forgetting.")
    return said


def _health(material: Material) -> list[str]:
    sick = [one.name for one in material.findings if _value(one, q.UNHEALTHY) > 0]
    if not sick:
        return []
    return [
        f"Unhealthy versions (RankMe or deviation of features below the guardrail's limits) in {_list(sick)}: their "
        "memory "
        "does not count, and their probes may be those of a collapsed network."
    ]


def _comparisons(material: Material, ranking: Ranking) -> list[str]:
    rows = [row for row in ranking.rows if row.against]
    said: list[str] = []
    if len(rows) > 1:
        said.append(
            f"{len(rows)} variants are compared with one reference by {len(COMPARED)} numbers. p-values are adjusted "
            "within a number (Holm), not over numbers; intervals are not adjusted at all."
        )
    if material.design.match == "steps" and _computed_differently(material):
        said.append("Trials are matched by optimiser steps: larger networks were given more computation.")
    elif material.design.match == "clock":
        said.append(
            "Trials are matched by the clock of an imagined machine: larger networks took fewer steps, so size and "
            "training differ together."
        )
    return said


def _computed_differently(material: Material) -> bool:
    counts = [result.value for one in material.findings if isinstance(result := one.over_seeds(q.FLOPS), Score)]
    return bool(counts) and max(counts) > 1.01 * min(counts)


def _laws(material: Material, found: Sequence[Fit]) -> list[str]:
    said: list[str] = []
    if found:
        count = max(len(fit.series.findings) for fit in found)
        said.append(
            f"T = c x^k is the first form that is tried, on {count} levels; a floor, T = c x^k + T∞, could hardly be "
            "told "
            "from it with so few. Where the learning rate was not tuned for each level, level and tuning are "
            "confounded."
        )
        if any(not fit.series.paired for fit in found):
            said.append(
                "Levels of an axis saw different streams, so exponents there rest on unpaired trials, and hold "
                "whatever "
                "else differs between the streams."
            )
    if any(isinstance(one.times.get((What.T_FORGET, Whom.EXPOSED)), Timed) for one in material.findings):
        said.append(
            "Retention is an average over experiences. Averages of many exponentials, or of sudden losses at different "
            "times, can look like a power law that no single experience follows (Anderson & Tweney 1997)."
        )
    return said


def _value(one: Findings, key: str) -> float:
    result = one.over_seeds(key)
    return result.value if isinstance(result, Score) else 0.0


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
