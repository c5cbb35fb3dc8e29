"""Everything that is measured at one weights version, and the object that measures it.

Data flow::

    probe set ──► encode (trained; once: random-init, pixels) ──► probes, health ─┐
    stream ──► ExperienceArchive ──► loss under fixed masks ──────────────────────┴─► Evaluation ──► rows
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import partial
from math import isfinite
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from common.config.run import RunConfig
from common.health.network import Watch, target_distance, weight_magnitude
from common.health.spectrum import lidar
from common.health.views import augment
from common.ijepa.model import IJepa
from common.ijepa.vit import VisionTransformer
from common.ledger import Exposed, ExposureTable
from common.messages import Datum, VersionInfo
from common.status import EvaluatorStatus
from evaluator.budget import cpu_clock, no_pause
from evaluator.encoders import Encoder, Pause, Pixels, batch_size, encode
from evaluator.experience import Kind, evenly
from evaluator.experiences import ArchiveCounts, ExperienceArchive, ExperienceLoss
from evaluator.health import LIDAR_FRAMES, LIDAR_VIEWS, Health, measure_health
from evaluator.probes import Probes, ProbeScores, Task
from evaluator.probeset import ProbeSet
from evaluator.scores import NotMeasurable, Result, Score, mean_sample

SCHEMA = 1
"""Version of the rows of `evaluations.jsonl`, described in `evaluator/README.md`."""


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
        probes: Scores of linear probes by task and encoder.
        gains: Score of the trained encoder's linear probe − that of the random one, walks drawn in pairs, by task.
        knn: Scores of nearest neighbours by task and encoder.
        health: State of the features by encoder, pixels left out.
        losses: Mean loss under fixed masks by kind, over the experiences that had ended when the version was made,
            with an interval clustered by visit. Says nothing alone: see `evaluator.experiences`.
        experiences: Loss of each experience, also of those that ended later.
        counts: What became of the experiences so far.
        skipped: Versions that came and went unmeasured before this one, since the start.
        exposed: What the learner's ledger said of these experiences at this version; those it is not known to have
            admitted are missing.
        ledger_gaps: Times that rows of the ledger may have changed unseen, since the start.
    """

    info: VersionInfo
    seconds: float
    cpu_seconds: float
    probes: Mapping[Task, Mapping[EncoderName, Result]]
    gains: Mapping[Task, Result]
    knn: Mapping[Task, Mapping[EncoderName, Result]]
    health: Mapping[EncoderName, Health | NotMeasurable]
    losses: Mapping[Kind, Result]
    experiences: tuple[ExperienceLoss, ...]
    counts: ArchiveCounts
    skipped: int
    exposed: Mapping[str, Exposed] = field(default_factory=dict[str, Exposed])
    ledger_gaps: int = 0

    def rows(self) -> list[dict[str, Any]]:
        """Gives plain JSON for `evaluations.jsonl`: one row of the version, then one of each experience."""
        head = {"schema": SCHEMA, "version": self.info.version, "step": self.info.step}
        summary = {
            **head,
            "row": "evaluation",
            "created_ns": self.info.created_ns,
            "system_time": self.info.system_time,
            "published": self.info.published,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "skipped": self.skipped,
            "probes": {str(task): _rows(scores) for task, scores in self.probes.items()},
            "gains": _rows(self.gains),
            "knn": {str(task): _rows(scores) for task, scores in self.knn.items()},
            "health": _rows(self.health),
            "learner_health": {name: value if isfinite(value) else None for name, value in self.info.health.items()},
            "losses": _rows(self.losses),
            "experiences": asdict(self.counts),
            "ledger_gaps": self.ledger_gaps,
        }
        return [summary, *({**head, "row": "experience", **self._experience_row(item)} for item in self.experiences)]

    def _experience_row(self, item: ExperienceLoss) -> dict[str, Any]:
        experience = item.experience
        live = experience.kind is not Kind.PLACEBO
        exposed = self.exposed.get(experience.name)
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
            "loss": item.loss,
            **{name: exposed and getattr(exposed, name) for name in _LEDGER_FIELDS},
        }


class Evaluator:
    """Measures versions one after another, against the same probe set and the experiences seen so far.

    Args:
        run: The run.
        probe_set: Labelled frames, or None where there are none: only experiences are measured then.

    Attributes:
        exposures: The learner's ledger as of the version that is measured next; to be fed before each evaluation.
    """

    def __init__(self, run: RunConfig, probe_set: ProbeSet | None) -> None:
        self._run, self._set = run, probe_set
        self._probes = Probes(probe_set) if probe_set is not None else None
        self._archive = ExperienceArchive(
            frames=run.evaluator.frames_per_experience,
            limit=run.evaluator.experiences,
            block=run.stream.experience,
            image_size=run.world.image_size,
            probe_set=probe_set,
        )
        self._cpu = cpu_clock(run.evaluator.threads)
        self._started = time.monotonic()
        self._cpu_seconds = 0.0
        self._baselines: dict[EncoderName, tuple[ProbeScores, Health | NotMeasurable]] = {}
        self._last: Evaluation | None = None
        self.exposures = ExposureTable()
        self._evaluations = 0
        self._skipped = 0
        self._activity = "waiting"

    def observe(self, datum: Datum, kind: str) -> None:
        """Takes in the next frame of the stream: see `ExperienceArchive.observe`."""
        self._archive.observe(datum, kind)

    def evaluate(self, info: VersionInfo, model: IJepa, pause: Pause = no_pause) -> Evaluation:
        """Measures one version.

        Args:
            info: The version.
            model: The network with its parameters; read only.
            pause: Called after each slice of work (about 100 ms). What it raises gives up this evaluation and leaves
                the evaluator as it was.
        """
        exposed = self.exposures
        wall, cpu, before = time.monotonic(), self._cpu(), self._cpu_seconds

        def counted_pause() -> None:
            self._cpu_seconds = before + self._cpu() - cpu
            pause()

        try:
            scores, health = self._measure_probes(model, counted_pause)
            self._activity = f"experiences at version {info.version}"
            measured = self._archive.measure(model, self._run.learner.masks, info.version, pause=counted_pause)
        finally:
            self._cpu_seconds = before + self._cpu() - cpu
            self._activity = "waiting"
        self._evaluations += 1
        if self._last is not None:
            self._skipped += max(0, info.version - self._last.info.version - 1)
        self._last = Evaluation(
            info=info,
            seconds=time.monotonic() - wall,
            cpu_seconds=self._cpu_seconds - before,
            probes={task: {name: of.linear[task] for name, of in scores.items()} for task in Task},
            gains=scores[EncoderName.TRAINED].gain_over(scores[EncoderName.RANDOM]),
            knn={task: {n: of.knn[task] for n, of in scores.items()} for task in (Task.WORLD, Task.PLACE)},
            health=health,
            losses={kind: _mean_loss(measured, kind, info) for kind in Kind},
            experiences=tuple(measured),
            counts=self._archive.counts,
            skipped=self._skipped,
            exposed={item.experience.name: row for item in measured if (row := exposed.get(item.experience.name))},
            ledger_gaps=exposed.gaps,
        )
        return self._last

    def status(self) -> EvaluatorStatus:
        """Says what was measured last, as plain numbers; what is not measurable is left out."""
        counts, elapsed, last = self._archive.counts, time.monotonic() - self._started, self._last
        status = EvaluatorStatus(
            evaluations=self._evaluations,
            skipped=self._skipped,
            core_share=self._cpu_seconds / elapsed if elapsed > 0 else 0.0,
            experiences=counts.followed + counts.placebo,
            activity=self._activity,
        )
        if last is None:
            return status
        health = last.health[EncoderName.TRAINED]
        return replace(
            status,
            version=last.info.version,
            step=last.info.step,
            seconds=last.seconds,
            probes={str(task): _values(scores) for task, scores in last.probes.items()},
            health={} if isinstance(health, NotMeasurable) else health.numbers(),
            losses=_values(last.losses),
        )

    def _measure_probes(
        self, model: IJepa, pause: Pause
    ) -> tuple[dict[EncoderName, ProbeScores], dict[EncoderName, Health | NotMeasurable]]:
        for name in (EncoderName.PIXELS, EncoderName.RANDOM):
            if name not in self._baselines:
                self._activity = f"baseline {name}"
                self._baselines[name] = self._probe(self._baseline(name, model), model, pause)
        self._activity = "probes"
        found = {EncoderName.TRAINED: self._probe(model.target_encoder, model, pause)}
        found |= {name: self._baselines[name] for name in (EncoderName.RANDOM, EncoderName.PIXELS)}
        health = {name: state for name, (_, state) in found.items() if name is not EncoderName.PIXELS}
        return {name: scores for name, (scores, _) in found.items()}, health

    def _baseline(self, name: EncoderName, model: IJepa) -> Encoder:
        if name is EncoderName.PIXELS:
            return Pixels()
        fresh = IJepa(self._run.learner.model, self._run.world.image_size, seed=self._run.seed)
        return fresh.target_encoder.to(_device(model))

    def _probe(self, encoder: Encoder, model: IJepa, pause: Pause) -> tuple[ProbeScores, Health | NotMeasurable]:
        if self._set is None or self._probes is None:
            because = "there is no probe set"
            return ProbeScores.none(because), NotMeasurable(because)
        batch = batch_size(model.target_encoder, model.grid[0] * model.grid[1])
        encoded = partial(encode, encoder, pause=pause, batch=batch, device=_device(model))
        if not isinstance(encoder, VisionTransformer):
            features_ND, health = encoded(self._set.frames), NotMeasurable("no network")
        else:
            with Watch(encoder) as watch:
                features_ND = encoded(self._set.frames)
            network = {
                "feature_std_before": float(watch.before_ND().std(0).mean()),
                "dormant_units": watch.dormant_units(),
                "weight": weight_magnitude(encoder),
                "target_distance": target_distance(model) if encoder is model.target_encoder else 0.0,
                "lidar": self._lidar(encoded),
            }
            health = measure_health(features_ND, network)
        pause()
        return self._probes.run(features_ND, pause), health

    def _lidar(self, encoded: Callable[[NDArray[np.uint8]], NDArray[np.float32]]) -> float:
        """LiDAR over views that are the same at every version."""
        assert self._set is not None
        frames_NHWC = self._set.frames[evenly(len(self._set.frames), min(LIDAR_FRAMES, len(self._set.frames)))]
        views_NQHWC = augment(frames_NHWC, LIDAR_VIEWS, seed=self._set.spec.seed)
        features = encoded(views_NQHWC.reshape(-1, *frames_NHWC.shape[1:]))
        if not np.isfinite(features).all():
            return float("nan")
        return lidar(features.reshape(len(frames_NHWC), LIDAR_VIEWS, -1))


def _mean_loss(measured: Sequence[ExperienceLoss], kind: Kind, info: VersionInfo) -> Result:
    chosen = [
        (item.loss, item.experience.visit)
        for item in measured
        if item.experience.kind is kind and item.loss is not None and _age(item, info) >= 0
    ]
    if not chosen:
        return NotMeasurable(f"no {kind} experience with a finite loss had ended when the version was made")
    losses, visits = zip(*chosen, strict=True)
    cluster = np.unique(np.array(visits), return_inverse=True)[1].astype(np.int64)
    return mean_sample(np.array(losses), cluster, undefined="a loss is not finite").score()


def _age(item: ExperienceLoss, info: VersionInfo) -> float:
    """Seconds from the end of the experience to the making of the version, by the wall clock."""
    return (info.created_ns - item.experience.ended_ns) / 1e9


def _device(model: IJepa) -> torch.device:
    return model.context_encoder.positions_ND.device


def _rows(results: "Mapping[Any, Score | NotMeasurable | Health]") -> dict[str, Any]:
    return {str(name): result.row() for name, result in results.items()}


def _values(results: Mapping[Any, Result]) -> dict[str, float]:
    return {str(name): result.value for name, result in results.items() if isinstance(result, Score)}
