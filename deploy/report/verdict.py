"""What the page says in short: sentences chosen by rule from intervals, the same for a good run and for a bad one."""

from collections.abc import Mapping
from html import escape

from deploy.report.blocks import Section, number
from deploy.report.material import Material, Report
from deploy.summary import read_evaluations, sentence
from evaluator.continual.metrics import Metric
from evaluator.scores import NotMeasurable, Result, Score
from evaluator.times.study import Clock
from evaluator.times.summary import TimeSummary


def section(report: Report) -> Section:
    """Writes the section."""
    parts, run = report.summary.parts, report.first
    said = [
        ("Moments", _difference(
            _result(parts["episodic"]),
            "bits more on experiences that were trained on than on withheld ones of the same visit",
            "moments are remembered", "trained experiences do worse than withheld ones",
        )),
        ("Places", _difference(
            _result(parts["world"]), "bits more gained by visited worlds than by worlds that were never entered",
            "places are known", "visited worlds gained less than others",
        )),
        ("Memorising", _time(parts["t_mem"], "to be memorised")),
        ("Forgetting", _time(parts["t_forget"], "after its last use in training to be forgotten")),
        *_rehearsed(parts),
        ("Earlier worlds", _difference(
            run.continual.scores[Metric.BWT], "place accuracy now, against when each world had just been learned",
            "earlier worlds have gained", "earlier worlds have lost",
        )),
        ("Features", _features(run)),
        ("Health", _health(report)),
    ]  # fmt: skip
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in said)
    return Section(
        name="short",
        title="In short",
        lead="Sentences chosen by rule; only what 95 % intervals tell apart counts as a difference.",
        blocks=[f"<dl>{rows}</dl>"],
    )


def _result(part: object) -> Result:
    return part if isinstance(part, Score | NotMeasurable) else NotMeasurable("it is no single number")


def _difference(result: Result, what: str, above: str, below: str) -> str:
    if isinstance(result, NotMeasurable):
        return f"Not measurable, because {result.because}."
    said = f"{number(result, 2)} {what}"
    if result.low is None or result.high is None:
        return f"{said}; without an interval nothing can be said."
    outcome = above if result.low > 0 else below if result.high < 0 else "not told apart from no difference"
    return f"{said}: {outcome}."


def _time(part: object, what: str) -> str:
    if isinstance(part, NotMeasurable):
        return f"Not measurable, because {part.because}."
    if not isinstance(part, TimeSummary):
        return "Not measurable, because it is no time."
    middle = part.medians[Clock.SECONDS]
    seen = f"seen in {part.counts['event']} of {sum(part.counts.values())} experiences"
    if isinstance(middle, NotMeasurable):
        return f"No median time {what} ({seen}), because {middle.because}."
    return f"It took an experience {number(middle, 0)} seconds {what} (median; {seen})."


def _rehearsed(parts: Mapping[str, object]) -> list[tuple[str, str]]:
    """Says whether the method found what must be there."""
    known, gone = parts.get("t_mem_rehearsed"), parts.get("t_forget_rehearsed")
    if known is None:
        return []
    return [
        ("Positive control", f"Rehearsed on purpose, then dropped. {_time(known, 'to be memorised')}"),
        ("", _time(gone, "after its last use to be forgotten")),
    ]


def _features(run: Material) -> str:
    if run.heads and "probes" not in run.heads[-1]:
        return "Not measurable, because the rows of this run hold no probe scores."
    return sentence(next(iter(read_evaluations(run.heads[-1:])), None))


def _health(report: Report) -> str:
    rows = [row for row in report.summary.versions if row["run"] == 0]
    if not rows:
        return "No version was measured."
    sick = sum(not row["healthy"] for row in rows)
    if not sick:
        return f"All {len(rows)} measured versions were healthy: no collapse."
    return f"{sick} of {len(rows)} measured versions had collapsed: what is said of those means little."
