"""Everything that was measured at one weights version, and its rows in `evaluations.jsonl` (docs/measures.md)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from math import isfinite
from typing import Any

import numpy as np

from common.ledger import Exposed
from common.messages import VersionInfo
from evaluator.experience import Kind
from evaluator.experiences import ArchiveCounts
from evaluator.health import Health
from evaluator.memory.measures import Halved, Measure, Remembered
from evaluator.memory.meter import Found
from evaluator.places import Places
from evaluator.probes import Task
from evaluator.schedule import Plan
from evaluator.scores import NotMeasurable, Result, Score, mean_sample

SCHEMA = 2
"""Version of the rows."""

_LEDGER_FIELDS = ("exposures", "undone", "admitted_step", "first_step", "last_step", "first_ns", "last_ns")


class EncoderName(StrEnum):
    """Whose features are probed."""

    TRAINED = "trained"
    """The target encoder of the version."""
    RANDOM = "random"
    """An encoder of the same shape as the run's seed initialises it."""
    PIXELS = "pixels"
    """The frame itself, 8×8×3."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What was measured at one version.

    Attributes:
        info: The version.
        seconds: Wall seconds that it took, pauses included.
        cpu_seconds: CPU seconds that it took.
        cost: CPU seconds by part.
        probes: Scores of linear probes by task and encoder.
        gains: Score of the trained encoder's linear probe − that of the random one, walks drawn in pairs, by task.
        knn: Scores of nearest neighbours by task and encoder.
        places: The linear place score of each world, by encoder.
        health: State of the features by encoder, pixels left out.
        memory: The four measures of every experience that was measured, also of those that ended later.
        means: Mean of each measure by kind: see `means`.
        counts: What became of the experiences so far.
        plan: What was due, and what of it had to wait.
        skipped: Versions that came and went unmeasured before this one, since the run's first evaluation.
        lives: Evaluator processes of this run so far, this one included.
        exposed: What the learner's ledger said of these experiences at this version.
        unknown: Experiences of which the ledger may have said something that was missed.
        ledger_gaps: Times that rows of the ledger may have changed unseen, since the start.
    """

    info: VersionInfo
    seconds: float
    cpu_seconds: float
    probes: Mapping[Task, Mapping[EncoderName, Result]]
    gains: Mapping[Task, Result]
    knn: Mapping[Task, Mapping[EncoderName, Result]]
    health: Mapping[EncoderName, Health | NotMeasurable]
    memory: Found
    means: Mapping[Kind, Mapping[Measure, Result]]
    counts: ArchiveCounts
    plan: Plan
    skipped: int
    places: Mapping[EncoderName, Mapping[str, Places | NotMeasurable]] = field(
        default_factory=dict[EncoderName, Mapping[str, Places | NotMeasurable]]
    )
    cost: Mapping[str, float] = field(default_factory=dict[str, float])
    lives: int = 1
    exposed: Mapping[str, Exposed] = field(default_factory=dict[str, Exposed])
    unknown: frozenset[str] = frozenset()
    ledger_gaps: int = 0

    def rows(self) -> list[dict[str, Any]]:
        """Gives plain JSON for `evaluations.jsonl`: one row of the version, then one of each experience."""
        head = {
            "schema": SCHEMA,
            "version": self.info.version,
            "step": self.info.step,
            "system_time": self.info.system_time,
            "created_ns": self.info.created_ns,
        }
        summary = {
            **head,
            "row": "evaluation",
            "published": self.info.published,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "cost": dict(self.cost),
            "skipped": self.skipped,
            "lives": self.lives,
            "probes": {str(task): _rows(scores) for task, scores in self.probes.items()},
            "gains": _rows(self.gains),
            "knn": {str(task): _rows(scores) for task, scores in self.knn.items()},
            "places": {str(name): _rows(of_world) for name, of_world in self.places.items()},
            "health": _rows(self.health),
            "learner_health": {name: value if isfinite(value) else None for name, value in self.info.health.items()},
            "losses": {str(kind): of_kind[Measure.LOSS].row() for kind, of_kind in self.means.items()},
            "memory": {str(kind): _rows(of_kind) for kind, of_kind in self.means.items()},
            "worlds": {world: _rows(of_world) for world, of_world in self.memory.worlds.items()},
            "beta": self.memory.beta,
            "calibration_frames": self.memory.calibration,
            "experiences": asdict(self.counts),
            "due": self.plan.due,
            "postponed": self.plan.postponed,
            "ledger_gaps": self.ledger_gaps,
        }
        each = self.memory.experiences
        return [summary, *({**head, "row": "experience", **self._experience_row(item)} for item in each)]

    def _experience_row(self, item: Remembered) -> dict[str, Any]:
        experience = item.experience
        live = experience.kind is not Kind.PLACEBO
        exposed = self.exposed.get(experience.name)
        loss = item.measures[Measure.LOSS]
        return {
            "experience": experience.name,
            "actor": experience.actor,
            "visit": experience.visit,
            "world": experience.world,
            "kind": str(experience.kind),
            "start": experience.start if live else None,
            "end": experience.end if live else None,
            "age": _age(item, self.info) if live else None,
            "frames": len(experience.frames),
            "loss": loss.value if isinstance(loss, Halved) else None,
            "measures": _rows(item.measures),
            "negatives": item.negatives,
            "near_ceiling": item.near_ceiling,
            "ledger": "known" if exposed else "unknown" if experience.name in self.unknown else "none",
            **{name: exposed and getattr(exposed, name) for name in _LEDGER_FIELDS},
        }


def means(experiences: Iterable[Remembered], info: VersionInfo) -> dict[Kind, dict[Measure, Result]]:
    """Averages each measure over the experiences of a kind that had ended when the version was made.

    Intervals are clustered by visit. A mean says nothing alone: see docs/measures.md.
    """
    ended = [item for item in experiences if _age(item, info) >= 0]
    return {kind: {measure: _mean(ended, kind, measure) for measure in Measure} for kind in Kind}


def _mean(ended: Sequence[Remembered], kind: Kind, measure: Measure) -> Result:
    chosen = [
        (found.value, item.experience.visit)
        for item in ended
        if item.experience.kind is kind and isinstance(found := item.measures[measure], Halved)
    ]
    if not chosen:
        return NotMeasurable(f"no {kind} experience with a measurable {measure} had ended when the version was made")
    numbers, visits = zip(*chosen, strict=True)
    cluster = np.unique(np.array(visits), return_inverse=True)[1].astype(np.int64)
    return mean_sample(np.array(numbers), cluster, undefined="a score is not finite").score()


def _age(item: Remembered, info: VersionInfo) -> float:
    """Seconds from the end of the experience to the making of the version, by the wall clock."""
    return (info.created_ns - item.experience.ended_ns) / 1e9


def _rows(results: "Mapping[Any, Score | Halved | Places | NotMeasurable | Health]") -> dict[str, Any]:
    return {str(name): result.row() for name, result in results.items()}


def values(results: Mapping[Any, Result]) -> dict[str, float]:
    """Keeps what was measured, as plain numbers by name."""
    return {str(name): result.value for name, result in results.items() if isinstance(result, Score)}
