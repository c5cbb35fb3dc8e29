"""Variants against each other: gains, what they are of the bound's, and paired differences to the reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan

from deploy.studies.report import quantities as q
from deploy.studies.report.findings import Findings
from deploy.studies.report.material import Material
from evaluator.continual.metrics import Metric
from evaluator.evaluation import EncoderName
from evaluator.probes import Task
from evaluator.scores import NotMeasurable, Result, Score
from evaluator.seeds import Difference, holm, over_seeds, paired

COMPARED = (
    *(q.gain(task) for task in Task),
    q.EPISODIC,
    q.WORLD,
    q.MEMORISED,
    q.continual(Metric.FORGETTING),
    q.continual(Metric.GAP_DEPTH),
)
"""What variants are compared with the reference by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """A difference to the reference.

    Attributes:
        result: Variant − reference, or why it is refused.
        holm: Its p-value, adjusted for all variants that are compared by this number; NaN where there is none.
    """

    result: Difference | NotMeasurable
    holm: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranked:
    """One variant.

    Attributes:
        findings: What it found.
        merit: Mean gain over the ranked tasks; NaN where none is measurable.
        ratios: Gain ÷ gain of the bound with the same seed and stream, by task.
        against: Differences to the reference, by key.
    """

    findings: Findings
    merit: float
    ratios: Mapping[Task, Result]
    against: Mapping[str, Compared]


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """All variants.

    Attributes:
        rows: Best mean gain first.
        bound: The i.i.d. bound; None where there is none.
        reference: What others are compared with; None where there is none.
    """

    rows: Sequence[Ranked]
    bound: Findings | None
    reference: Findings | None


def rank(material: Material) -> Ranking:
    """Puts the variants in order."""
    merit = {one.name: _merit(one) for one in material.findings}
    bound = _bound(material, merit)
    reference = material.named(material.design.reference)
    differences = {key: _differences(material, reference, key) for key in COMPARED}
    rows = [
        Ranked(
            findings=one,
            merit=merit[one.name],
            ratios={task: _ratio(material, one, bound, task) for task in Task},
            against={}
            if reference is None or one is reference
            else {key: of[one.name] for key, of in differences.items()},
        )
        for one in material.findings
    ]
    ordered = sorted(rows, key=lambda row: (row.merit != row.merit, -row.merit if row.merit == row.merit else 0.0))
    return Ranking(rows=ordered, bound=bound, reference=reference)


def _merit(one: Findings) -> float:
    gains = [one.over_seeds(q.gain(task)) for task in q.RANKED]
    known = [gain.value for gain in gains if isinstance(gain, Score)]
    return sum(known) / len(known) if known else nan


def _bound(material: Material, merit: Mapping[str, float]) -> Findings | None:
    """The bound that the study names; otherwise the best of the i.i.d. variants."""
    if (named := material.named(material.design.bound)) is not None:
        return named
    iid = [one for one in material.findings if one.condition.variant.iid and merit[one.name] == merit[one.name]]
    return max(iid, key=lambda one: merit[one.name], default=None)


def _ratio(material: Material, one: Findings, bound: Findings | None, task: Task) -> Result:
    key = q.gain(task)
    if bound is None:
        return NotMeasurable("the study has no i.i.d. bound")
    if one is bound:
        return NotMeasurable("this is the bound")
    whole = bound.over_seeds(key)
    if isinstance(whole, NotMeasurable):
        return NotMeasurable(f"the bound's gain is not: {whole.because}")
    if whole.low is None or whole.low <= 0:
        few = "has no interval with one seed" if whole.low is None else f"has an interval down to {whole.low:.3f}"
        return NotMeasurable(f"the gain of the bound {few}, and a ratio to what may be 0 means nothing")
    pairs = material.blocks.paired(one.condition, bound.condition)
    if not pairs:
        return NotMeasurable("no trial has the seed and the stream of one of the bound")
    return over_seeds([_quotient(one.scores[key][a], bound.scores[key][b]) for a, b in pairs])


def _quotient(gain: Result, whole: Result) -> Result:
    if isinstance(gain, NotMeasurable):
        return gain
    if isinstance(whole, NotMeasurable):
        return whole
    if whole.value <= 0:
        return NotMeasurable("the bound gained nothing with this seed")
    return Score(value=gain.value / whole.value, low=None, high=None, frames=gain.frames, clusters=1)


def _differences(material: Material, reference: Findings | None, key: str) -> dict[str, Compared]:
    if reference is None:
        return {}
    found: dict[str, Difference | NotMeasurable] = {}
    for one in material.findings:
        if one is reference:
            continue
        pairs = material.blocks.paired(one.condition, reference.condition)
        if not pairs:
            found[one.name] = NotMeasurable("it did not see the reference's streams: a paired difference is refused")
        else:
            found[one.name] = paired([(one.scores[key][a], reference.scores[key][b]) for a, b in pairs])
    adjusted = holm([nan if isinstance(of, NotMeasurable) else of.p for of in found.values()])
    return {name: Compared(result=of, holm=p) for (name, of), p in zip(found.items(), adjusted, strict=True)}


def encoders() -> tuple[EncoderName, ...]:
    """Encoders in the order in which they are shown."""
    return EncoderName.TRAINED, EncoderName.RANDOM, EncoderName.PIXELS
