"""Everything that a study says of memory and forgetting, as scores or reasons: what is shown live and in the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluator.experience import Kind
from evaluator.scores import NotMeasurable, Result, Score
from evaluator.times import contrasts
from evaluator.times.analysis import Analysis
from evaluator.times.events import Events, Outcome
from evaluator.times.retention import Ages, Laws, ages, areas, compare_laws, followed, retention_area
from evaluator.times.saving import saving
from evaluator.times.study import Clock, Run
from evaluator.times.telling import OUTCOMES, TimeSummary, latency, time_summary
from evaluator.times.threshold import Threshold

type Part = Result | TimeSummary | Laws
"""What stands under one name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """What a study says.

    Attributes:
        measure: Which measure it is about.
        m: Measurements in a row of which a statement must hold.
        counts: `runs`, `versions`, `visits`; `exposed`, `withheld`, `placebo` experiences; `unhealthy` versions,
            versions `ungated` for want of health, rows `near_ceiling`.
        theta: θ, or why there is none.
        parts: The measures by name, in the order in which they are shown.
        versions: Contrasts at each version of each run.
        experiences: Each exposed experience with its times.
    """

    measure: str
    m: int
    counts: Mapping[str, int]
    theta: Threshold | NotMeasurable
    parts: Mapping[str, Part | NotMeasurable]
    versions: Sequence[Mapping[str, Any]]
    experiences: Sequence[Mapping[str, Any]]

    def values(self) -> dict[str, float]:
        """Lists the plain numbers that could be measured, medians in seconds: for live metrics."""
        found = {} if isinstance(self.theta, NotMeasurable) else {"theta": self.theta.theta}
        for name, part in self.parts.items():
            result = part.medians[Clock.SECONDS] if isinstance(part, TimeSummary) else part
            if isinstance(result, Score):
                found[name] = result.value
        return found

    def row(self) -> dict[str, Any]:
        """Gives it as plain JSON."""
        theta = self.theta
        return {
            "schema": 1,
            "measure": self.measure,
            "consecutive": self.m,
            "counts": dict(self.counts),
            "theta": theta.row()
            if isinstance(theta, NotMeasurable)
            else {"value": theta.theta, "placebos": theta.placebos},
            **{name: part.row() for name, part in self.parts.items()},
            "versions": list(self.versions),
            "experiences": list(self.experiences),
        }


def summarise(analysis: Analysis) -> Summary:
    """Takes all measures of a study."""
    study = analysis.study
    kinds = {kind: sum(len(run.of(kind)) for run in study.runs) for kind in Kind}
    live = [run.visit_E[np.concatenate([run.of(Kind.EXPOSED), run.of(Kind.WITHHELD)])] for run in study.runs]
    return Summary(
        measure=str(study.runs[0].measure) if study.runs else "",
        m=analysis.m,
        counts={
            "runs": len(study.runs),
            "versions": sum(len(run.version_V) for run in study.runs),
            "visits": sum(len(np.unique(visits)) for visits in live),
            **{str(kind): count for kind, count in kinds.items()},
            "unhealthy": sum(int((~run.healthy_V).sum()) for run in study.runs),
            "ungated": sum(run.ungated for run in study.runs),
            "near_ceiling": sum(run.near_ceiling for run in study.runs),
        },
        theta=analysis.threshold,
        parts={
            "false_memories": _false_memories(analysis.threshold),
            **_contrasts(analysis),
            "t_mem": time_summary(analysis, analysis.memorised, "memory"),
            "t_mem_assigned": time_summary(analysis, analysis.memorised_assigned, "memory"),
            "half_peak": time_summary(analysis, analysis.half_peak, "half of the peak"),
            "latency_admission": latency(analysis, lambda run: run.time_of_step(run.admitted_E) - run.start_E),
            "latency_first_use": latency(analysis, lambda run: run.first_E - run.time_of_step(run.admitted_E)),
            "latency_learning": time_summary(analysis, analysis.learning, "memory"),
            "t_forget": time_summary(analysis, analysis.forgotten, "forgetting"),
            "margin": margin(analysis),
            "rememorised": time_summary(analysis, analysis.rememorised, "its return"),
            "saving": saving(analysis),
            **_retention(analysis),
            **_rehearsed(analysis),
        },
        versions=[row for number, run in enumerate(study.runs) for row in _by_version(analysis, number, run)],
        experiences=_by_experience(analysis),
    )


def _contrasts(analysis: Analysis) -> dict[str, Result]:
    """Contrasts at the last version of one run; of several, their mean with a t-interval over runs."""
    each: dict[str, list[Result]] = {"episodic": [], "assigned": [], "world": []}
    for run, trained, assigned in zip(analysis.study.runs, analysis.contrasts, analysis.assigned, strict=True):
        if len(run.version_V):
            each["episodic"].append(contrasts.mean_at(trained, run, -1))
            each["assigned"].append(contrasts.mean_at(assigned, run, -1))
            each["world"].append(contrasts.world_contrast(run))
    return {name: _over_runs(results) for name, results in each.items()}


def _over_runs(results: Sequence[Result]) -> Result:
    found = [result for result in results if isinstance(result, Score)]
    if not found:
        return results[0] if results else NotMeasurable("no version was measured")
    if len(results) == 1:
        return found[0]
    values = np.array([score.value for score in found])
    mean, frames = float(values.mean()), sum(score.frames for score in found)
    if len(found) < 2:
        return Score(value=mean, low=None, high=None, frames=frames, clusters=1)
    half = contrasts.t_half(float(values.std(ddof=1) / np.sqrt(len(values))), len(values) - 1)
    return Score(value=mean, low=mean - half, high=mean + half, frames=frames, clusters=len(values))


def _false_memories(threshold: Threshold | NotMeasurable) -> Result:
    if isinstance(threshold, NotMeasurable):
        return threshold
    if not threshold.judged:
        return NotMeasurable(f"{threshold.placebos} placebos are too few to judge some by the θ of the others")
    share = threshold.false / threshold.judged
    return Score(value=share, low=None, high=None, frames=threshold.judged, clusters=threshold.placebos)


def margin(analysis: Analysis) -> Result:
    """Median of D at the last exposure ÷ θ: below about 2, noise chooses what counts as memorised."""
    if isinstance(analysis.threshold, NotMeasurable):
        return analysis.threshold
    if isinstance(analysis.gone, NotMeasurable):
        return analysis.gone
    level_N = np.concatenate([one.level_N for one in analysis.gone])
    if not len(level_N):
        return NotMeasurable("nothing was memorised by its last exposure")
    clusters = len(np.unique(np.concatenate(analysis.clusters([one.events for one in analysis.gone]))))
    value = float(np.median(level_N)) / analysis.threshold.theta
    return Score(value=value, low=None, high=None, frames=len(level_N), clusters=clusters)


def _retention(analysis: Analysis) -> dict[str, Part | NotMeasurable]:
    gone = analysis.gone
    if isinstance(gone, NotMeasurable):
        return {"retention_area": gone, "forgetting_law": gone}
    clusters = analysis.clusters([one.events for one in gone])
    parts = list(zip(analysis.study.runs, gone, clusters, strict=True))
    long = np.concatenate([np.zeros(0), *(followed(run, one) for run, one, _ in parts)])
    horizon = float(np.median(long)) if len(long) else 0.0
    points = [ages(run, one, cluster_N) for run, one, cluster_N in parts]
    return {
        "retention_area": retention_area(
            np.concatenate([np.zeros(0), *(areas(run, one, horizon) for run, one, _ in parts)]),
            np.concatenate([np.zeros(0), *(one.level_N for one in gone)]),
            np.concatenate([np.zeros(0, np.int64), *clusters]),
            horizon,
        ),
        "forgetting_law": compare_laws(
            Ages(
                **{
                    name: np.concatenate([getattr(one, name) for one in points])
                    for name in ("age", "left", "level", "cluster")
                }
            )
        )
        if points
        else NotMeasurable("there is no run"),
    }


def _rehearsed(analysis: Analysis) -> dict[str, Part | NotMeasurable]:
    """Both times of what was rehearsed; nothing where nothing was."""
    if not any(run.rehearsed_E.any() for run in analysis.study.runs):
        return {}
    return {
        "t_mem_rehearsed": time_summary(analysis, analysis.rehearsed(analysis.memorised), "memory"),
        "t_forget_rehearsed": time_summary(analysis, analysis.rehearsed(analysis.forgotten), "forgetting"),
    }


def _by_version(analysis: Analysis, number: int, run: Run) -> list[dict[str, Any]]:
    trained, assigned = analysis.contrasts[number], analysis.assigned[number]
    return [
        {
            "run": number,
            "version": version,
            "step": int(run.step_V[column]),
            "system_time": float(run.time_V[column]),
            "healthy": bool(run.healthy_V[column]),
            "episodic": contrasts.mean_at(trained, run, column).row(),
            "assigned": contrasts.mean_at(assigned, run, column).row(),
            "world": contrasts.world_contrast(run, column).row(),
        }
        for column, version in enumerate(run.version_V.tolist())
    ]


def _by_experience(analysis: Analysis) -> list[dict[str, Any]]:
    known, gone = analysis.memorised, analysis.forgotten
    rows: list[dict[str, Any]] = []
    for number, (run, contrast) in enumerate(zip(analysis.study.runs, analysis.contrasts, strict=True)):
        times = {
            "t_mem": {} if isinstance(known, NotMeasurable) else _ends(known[number]),
            "t_forget": {} if isinstance(gone, NotMeasurable) else _ends(gone[number]),
        }
        for row, index in enumerate(contrast.experience_N.tolist()):
            measured_V = np.isfinite(contrast.full_NV[row])
            rows.append(
                {
                    "run": number,
                    "experience": run.names[index],
                    "world": run.world_names[run.world_E[index]],
                    "version": run.version_V[measured_V].tolist(),
                    "d": contrast.full_NV[row, measured_V].tolist(),
                    **{name: ends.get(index) for name, ends in times.items()},
                }
            )
    return rows


def _ends(events: Events) -> dict[int, dict[str, Any]]:
    """Both ends of each event in seconds from its origin; `high` is null where censored."""
    low_N, high_N = events.low_N - events.origin_N, events.high_N - events.origin_N
    return {
        int(index): {
            "outcome": OUTCOMES[Outcome(outcome)],
            "low": float(low),
            "high": float(high) if np.isfinite(high) else None,
        }
        for index, outcome, low, high in zip(events.experience_N, events.outcome_N, low_N, high_N, strict=True)
    }
