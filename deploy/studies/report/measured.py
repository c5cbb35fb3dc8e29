"""What one trial measured: its rows, read once, and the numbers that need no other trial.

Shapes: V versions, W worlds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import EngramError
from deploy.evaluate import run_of
from deploy.report.blocks import read_score
from deploy.rundir import read_rows
from deploy.studies.report import quantities as q
from deploy.studies.report.trials import Absent, Trial
from evaluator.continual.metrics import Metric, continual
from evaluator.continual.stream import Stream
from evaluator.continual.tasks import Tasks
from evaluator.evaluation import SCHEMA, EncoderName
from evaluator.probes import Task
from evaluator.scores import NotMeasurable, Result, Score
from evaluator.times.study import Run

type Row = Mapping[str, Any]

_HEALTH = {q.RANKME: "rankme", q.FEATURE_STD: "feature_std", q.DORMANT: "dormant"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """A trial with its rows read.

    Attributes:
        trial: The trial.
        run: Scores of its experiences.
        scores: Its numbers by key, those of its last version and of its whole way.
        drops: Fall of place accuracy from the best task end to the last version, by world visited before the last task.
        versions: Numbers of each version: `version`, `step`, `seconds` since the first, and probes, gains and health.
    """

    trial: Trial
    run: Run
    scores: Mapping[str, Result]
    drops: Mapping[str, float]
    versions: Sequence[Mapping[str, float]]


def measure(trial: Trial, watts: float) -> Measured | Absent:
    """Reads the rows of a trial; one that cannot be read is `Absent`, with the reason.

    Args:
        trial: The trial.
        watts: Power of one busy core, for the estimate of energy.
    """
    try:
        rows = list(read_rows(trial.folder / "evaluations.jsonl"))
        found = [row for row in rows if row.get("schema") == SCHEMA]
        if not any(row.get("row") == "evaluation" for row in found):
            return _damaged(trial, f"evaluations.jsonl {_instead(rows)}")
        stream = Stream.read(found)
        run = run_of(trial.folder, found)
    except (EngramError, KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        return _damaged(trial, f"{error}" if isinstance(error, EngramError) else f"evaluations.jsonl: {error!r}")
    heads = _heads(found)
    return Measured(
        trial=trial,
        run=run,
        scores=_probes(heads) | _continual(stream) | _health(heads, run) | _compute(trial, watts),
        drops=_drops(stream),
        versions=_versions(heads),
    )


def _damaged(trial: Trial, reason: str) -> Absent:
    return Absent(name=trial.name, why="damaged", reason=reason)


def _instead(rows: Sequence[Row]) -> str:
    others = sorted({str(row.get("schema")) for row in rows if row.get("schema") != SCHEMA})
    if not rows:
        return "is empty"
    return f"holds rows of schema {', '.join(others)}; this code reads {SCHEMA}" if others else "holds no version"


def _heads(rows: Sequence[Row]) -> list[Row]:
    newest = {row["version"]: row for row in rows if row.get("row") == "evaluation"}
    return [newest[version] for version in sorted(newest)]


def _at(row: Any, *path: str) -> Any:
    for name in path:
        row = row.get(name) if isinstance(row, Mapping) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return row  # pyright: ignore[reportUnknownVariableType]


def _probes(heads: Sequence[Row]) -> dict[str, Result]:
    first, last = heads[0], heads[-1]
    found: dict[str, Result] = {}
    for task in Task:
        for encoder in EncoderName:
            found[q.probe(task, encoder)] = read_score(_at(last, "probes", task, encoder))
        gained = read_score(_at(last, "gains", task))
        before, after = (read_score(_at(head, "probes", task, EncoderName.TRAINED)) for head in (first, last))
        untrained = first.get("step") == 0  # before the first step the network is the random one
        if isinstance(gained, NotMeasurable) and isinstance(before, Score) and isinstance(after, Score) and untrained:
            gained = Score(
                value=after.value - before.value, low=None, high=None, frames=after.frames, clusters=after.clusters
            )
        found[q.gain(task)] = gained
    return found


def _continual(stream: Stream | NotMeasurable) -> dict[str, Result]:
    scores = continual(stream).scores
    return {q.continual(metric): scores[metric] for metric in Metric}


def _drops(stream: Stream | NotMeasurable) -> dict[str, float]:
    if isinstance(stream, NotMeasurable):
        return {}
    tasks = Tasks.of(stream)
    if len(tasks) < 2:
        return {}
    best_W = stream.accuracy_VW[tasks.end_G[:-1]].max(axis=0)
    return {stream.worlds[w]: float(best_W[w] - stream.accuracy_VW[-1, w]) for w in tasks.earlier.tolist()}


def _health(heads: Sequence[Row], run: Run) -> dict[str, Result]:
    found: dict[str, Result] = {}
    for key, name in _HEALTH.items():
        of_last = _at(heads[-1], "health", EncoderName.TRAINED)
        value = _at(of_last, name)
        reason = _at(of_last, "not_measurable") or "the last version holds no such number"
        found[key] = _number(value, str(reason))
    count = len(run.healthy_V)
    sick = float((~run.healthy_V).mean()) if count else 0.0
    found[q.UNHEALTHY] = Score(value=sick, low=None, high=None, frames=count, clusters=count)
    return found


def _compute(trial: Trial, watts: float) -> dict[str, Result]:
    numbers = trial.numbers
    cpu = numbers["cpu_seconds"]
    training = cpu - np.nan_to_num(numbers["evaluation_cpu_seconds"])
    reason = "trial.json does not say it"
    return {
        q.FLOPS: _number(numbers["flops"], reason),
        q.CPU: _number(cpu, reason),
        q.IMAGES_A_SECOND: _number(numbers["images"] / training if training > 0 else None, reason),
        q.ENERGY: _number(cpu * watts / 3600, reason),
    }


def _number(value: Any, reason: str) -> Result:
    if isinstance(value, int | float) and np.isfinite(value):
        return Score(value=float(value), low=None, high=None, frames=1, clusters=1)
    return NotMeasurable(reason)


def _versions(heads: Sequence[Row]) -> list[Mapping[str, float]]:
    began = float(heads[0]["system_time"])
    found: list[Mapping[str, float]] = []
    for head in heads:
        row = {
            "version": float(head["version"]),
            "step": float(head["step"]),
            "seconds": float(head["system_time"]) - began,
        }
        for task in Task:
            for encoder in EncoderName:
                _put(row, q.probe(task, encoder), _at(head, "probes", task, encoder, "value"))
            _put(row, q.gain(task), _at(head, "gains", task, "value"))
        for key, name in _HEALTH.items():
            _put(row, key, _at(head, "health", EncoderName.TRAINED, name))
        found.append(row)
    return found


def _put(row: dict[str, float], key: str, value: Any) -> None:
    if isinstance(value, int | float) and np.isfinite(value):
        row[key] = float(value)
