"""What the page is told of a run: the part of its status that it shows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.curiosity.status import tell
from common.status import ActorStatus, EvaluatorStatus, LearnerStatus, RunStatus, StudyStatus

MESSAGES = 12
"""Newest messages that are shown."""
LONGEST = 300
"""Characters of a message, at most."""


def told(status: RunStatus, state: str) -> dict[str, Any]:
    """Picks what is shown.

    Args:
        status: The run.
        state: How it is steered just now, in pamiq-core's words: `active`, `pausing`, `paused` and so on.

    Returns:
        What `deploy.rundir.to_json` takes.
    """
    return {
        "run": Path(status.run_dir).name,
        "phase": status.phase,
        "state": state,
        "elapsed": status.elapsed,
        "duration": status.duration,
        "actors": [_actor(actor) for actor in status.actors],
        "learner": _learner(status.learner),
        "stream": {
            "up": status.store.up,
            "entries": sum(status.store.entries.values()),
            "memory": status.store.memory,
            "budget": status.store.budget,
            **_read(status.learner),
        },
        "evaluator": None if status.evaluator is None else _evaluator(status.evaluator),
        "study": None if status.study is None else _study(status.study),
        "curiosity": tell((actor.curiosity for actor in status.actors), status.trainers) if status.trainers else "",
        "restarts": {part: times for part, times in status.restarts.items() if times},
        "messages": [message[:LONGEST] for message in status.messages[-MESSAGES:]],
    }


def _actor(actor: ActorStatus) -> dict[str, Any]:
    return {
        "name": actor.name,
        "world": actor.world,
        "frames": actor.frames,
        "fps": actor.fps,
        "late": actor.late,
        "lost": actor.counts.lost,
        "spooled": actor.counts.spooled,
        "version": actor.weights_version,
        "paused": actor.paused,
        "ended": actor.ended,
        "unfit": actor.unfit_now,
    }


def _learner(learner: LearnerStatus) -> dict[str, Any]:
    names = ("step", "images", "images_per_second", "loss", "lr", "ring", "capacity", "replay_ratio", "waiting",
             "version", "staleness_versions", "staleness_seconds", "experiences", "ranks")  # fmt: skip
    return {
        **{name: getattr(learner, name) for name in names},
        "health": learner.health,
        "held": sum(learner.held.values()),
        "rollbacks": sum(learner.rollbacks.values()),
    }


def _read(learner: LearnerStatus) -> dict[str, int]:
    counts = learner.counts.values()
    names = ("unread", "missed", "quarantined", "withheld", "admitted")
    return {name: sum(getattr(count, name) for count in counts) for name in names}


def _evaluator(evaluator: EvaluatorStatus) -> dict[str, Any]:
    names = ("version", "evaluations", "skipped", "seconds", "core_share", "activity", "probes", "health", "memory")
    return {name: getattr(evaluator, name) for name in names}


def _study(study: StudyStatus) -> dict[str, Mapping[str, Any]]:
    return {"times": study.times, "outcomes": study.outcomes, "missing": study.missing}
