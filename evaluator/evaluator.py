"""The object that measures one weights version after another.

probe set ──► encode, world by world ──► features ──► probes, health ───────────────┐
                    └──► targets of the world's pool ─┐                              ├─► Evaluation ──► rows
stream ──► ExperienceArchive ──► Schedule ──► due ────┴─► Meter ──► four measures ──┘
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.budget import cpu_clock, no_pause
from common.config.run import RunConfig
from common.errors import CheckpointError
from common.health.network import Watch, target_distance, weight_magnitude
from common.health.spectrum import lidar
from common.health.views import augment
from common.ijepa.model import IJepa
from common.ijepa.vit import VisionTransformer
from common.ledger import ExposureTable
from common.messages import Datum, VersionInfo
from common.status import EvaluatorStatus
from evaluator import keeping
from evaluator.cost import Cost
from evaluator.encoders import Encoder, Pause, Pixels, batch_size, encode
from evaluator.evaluation import EncoderName, Evaluation, means, values
from evaluator.experience import Experience, Kind, evenly
from evaluator.experiences import ExperienceArchive
from evaluator.health import LIDAR_FRAMES, LIDAR_VIEWS, Health, measure_health
from evaluator.memory.forward import Tap
from evaluator.memory.meter import Found, Meter
from evaluator.memory.pools import Pool
from evaluator.memory.reference import ReferenceNet
from evaluator.probes import Probes, ProbeScores, Task
from evaluator.probeset import ProbeSet
from evaluator.schedule import Schedule, chapters
from evaluator.scores import NotMeasurable

_MEMORY = ("forward", "loss", "nmse", "bits", "reference")
"""Parts of the cost that grow with the number of experiences."""


class Evaluator:
    """Measures versions one after another, against the same probe set and the experiences seen so far.

    Args:
        run: The run.
        probe_set: Labelled frames, or None where there are none: only experiences are measured then.
        room: Live experiences that an evaluation measures at most. By default as many as there is CPU time for, which
            depends on the machine: what is to be repeated to the bit needs a number.

    Attributes:
        exposures: The learner's ledger as of the version that is measured next; to be fed before each evaluation.
    """

    def __init__(self, run: RunConfig, probe_set: ProbeSet | None, *, room: int | None = None) -> None:
        self._run, self._set, self._fixed_room = run, probe_set, room
        self._probes = Probes(probe_set) if probe_set is not None else None
        self._archive = ExperienceArchive(
            frames=run.evaluator.frames_per_experience,
            limit=run.evaluator.experiences,
            block=run.stream.experience,
            image_size=run.world.image_size,
            probe_set=probe_set,
        )
        self._schedule = Schedule(run.stream.experience)
        self._cpu = cpu_clock(run.evaluator.threads)
        self._started = self._ended = time.monotonic()
        self._cpu_seconds = 0.0
        self._baselines: dict[EncoderName, tuple[ProbeScores, Health | NotMeasurable]] = {}
        self._last: Evaluation | None = None
        self.exposures = ExposureTable()
        self._evaluations = 0
        self._measured_version: int | None = None
        self._skipped = 0
        self._lives = 1
        self._activity = "waiting"

    def observe(self, datum: Datum, kind: str) -> None:
        """Takes in the next frame of the stream: see `ExperienceArchive.observe`."""
        self._archive.observe(datum, kind)

    def save(self) -> bytes:
        """Gives what must outlive this process; `restore` of another one takes it back.

        Not while `evaluate` runs in another thread; its `pause` may call it.
        """
        archive, arrays = self._archive.state()
        state = {
            "lives": self._lives,
            "skipped": self._skipped,
            "version": self._measured_version,
            "measured": self._schedule.measured,
            "exposures": self.exposures.state(item.name for item in self._archive.followed),
            "archive": archive,
        }
        return keeping.pack(state, arrays)

    def restore(self, content: bytes) -> None:
        """Goes on where an earlier process stood when it gave this; before the first frame.

        Raises:
            CheckpointError: It is damaged, or of a run with other frames; some of it may have been taken.
        """
        state, arrays = keeping.unpack(content)
        try:
            self._archive.restore(state["archive"], arrays)
            self.exposures.restore(state["exposures"])
            self._schedule.measured = dict(state["measured"])
            self._measured_version, self._skipped = state["version"], state["skipped"]
            self._lives = state["lives"] + 1
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"the evaluator's state does not fit ({type(error).__name__}: {error})") from error

    def evaluate(self, info: VersionInfo, model: IJepa, pause: Pause = no_pause) -> Evaluation:
        """Measures one version.

        Args:
            info: The version.
            model: The network with its parameters; read only.
            pause: Called after each slice of work (about 100 ms). What it raises gives up this evaluation and leaves
                the evaluator as it was.
        """
        wall, cpu, before = time.monotonic(), self._cpu(), self._cpu_seconds
        cost = Cost(self._cpu)

        def counted_pause() -> None:
            self._cpu_seconds = before + self._cpu() - cpu
            with cost.of("stream"):
                pause()

        followed = self._archive.followed
        exposed = {item.name: row for item in followed if (row := self.exposures.get(item.name))}
        grouped = chapters(
            (item for item in followed if item.kind is not Kind.PLACEBO),
            {name: row.last_ns for name, row in exposed.items() if row.exposures},
        )
        plan = self._schedule.plan(grouped, info.created_ns, self._room())
        chosen = {*plan.chapters}
        due = [item for item in followed if item.kind is Kind.PLACEBO or item.chapter in chosen]
        try:
            with cost.of("other"):
                scores, health, found = self._measure(model, due, cost, counted_pause)
        finally:
            self._cpu_seconds = before + self._cpu() - cpu
            self._activity = "waiting"
        self._schedule.note(plan, info.created_ns, grouped)
        self._ended = time.monotonic()
        self._evaluations += 1
        if self._measured_version is not None:
            self._skipped += max(0, info.version - self._measured_version - 1)
        self._measured_version = info.version
        self._last = Evaluation(
            info=info,
            seconds=time.monotonic() - wall,
            cpu_seconds=self._cpu_seconds - before,
            cost=cost.seconds,
            probes={task: {name: of.linear[task] for name, of in scores.items()} for task in Task},
            gains=scores[EncoderName.TRAINED].gain_over(scores[EncoderName.RANDOM]),
            knn={task: {n: of.knn[task] for n, of in scores.items()} for task in (Task.WORLD, Task.PLACE)},
            places={name: self._probes.places(of) for name, of in scores.items()} if self._probes else {},
            health=health,
            memory=found,
            means=means(found.experiences, info),
            counts=self._archive.counts,
            plan=plan,
            skipped=self._skipped,
            lives=self._lives,
            exposed=exposed,
            unknown=frozenset(item.name for item in due if not self._knows(item)),
            ledger_gaps=self.exposures.gaps,
        )
        return self._last

    def status(self) -> EvaluatorStatus:
        """Says what was measured last, as plain numbers; what is not measurable is left out."""
        counts, elapsed, last = self._archive.counts, time.monotonic() - self._started, self._last
        status = EvaluatorStatus(
            evaluations=self._evaluations,
            skipped=self._skipped,
            every=self._run.evaluator.every,
            age=time.monotonic() - self._ended,
            core_share=self._cpu_seconds / elapsed if elapsed > 0 else 0.0,
            experiences=counts.followed + counts.placebo,
            thinned=counts.thinned,
            activity=self._activity,
        )
        if last is None:
            return status
        health = last.health[EncoderName.TRAINED]
        memory = {str(kind): values(of_kind) for kind, of_kind in last.means.items()}
        return replace(
            status,
            version=last.info.version,
            step=last.info.step,
            seconds=last.seconds,
            cost=dict(last.cost),
            probes={str(task): values(scores) for task, scores in last.probes.items()},
            health={} if isinstance(health, NotMeasurable) else health.numbers(),
            losses={kind: of_kind["loss"] for kind, of_kind in memory.items() if "loss" in of_kind},
            memory=memory,
            measured=len(last.memory.experiences),
            postponed=last.plan.postponed,
        )

    def _knows(self, item: Experience) -> bool:
        return item.kind is not Kind.EXPOSED or self.exposures.knows(item.name, item.ended_ns)

    def _room(self) -> int:
        """Live experiences for which there is CPU time in one interval, or at least as much as the rest takes."""
        if self._fixed_room is not None:
            return self._fixed_room
        last = self._last
        spent = sum(last.cost.get(part, 0.0) for part in _MEMORY) if last is not None else 0.0
        if last is None or not last.memory.experiences or spent <= 0:
            return sys.maxsize
        rest = last.cpu_seconds - spent - last.cost.get("baselines", 0.0)
        seconds = max(self._run.evaluator.share * self._run.evaluator.every - rest, rest)
        return max(0, int(seconds * len(last.memory.experiences) / spent) - last.counts.placebo)

    def _measure(
        self, model: IJepa, due: Sequence[Experience], cost: Cost, pause: Pause
    ) -> tuple[dict[EncoderName, ProbeScores], dict[EncoderName, Health | NotMeasurable], Found]:
        with cost.of("baselines"):
            for name in (EncoderName.PIXELS, EncoderName.RANDOM):
                if name not in self._baselines:
                    self._activity = f"baseline {name}"
                    self._baselines[name] = self._probe(self._baseline(name, model), model, pause)
        self._activity = "probes and experiences"
        waiting: dict[str, list[Experience]] = {}
        for item in due:
            waiting.setdefault(item.world, []).append(item)
        meter = Meter(
            model,
            self._run.learner.masks,
            self._reference(model),
            block=self._run.stream.experience,
            cost=cost,
            pause=pause,
        )
        pools = list(self._archive.pools)
        meter.calibrate(pools)

        def measure(pool: Pool, targets: Callable[[], Tensor]) -> None:
            items = waiting.pop(pool.world, [])
            if items or meter.wants(pool):
                meter.measure(items, pool, targets())

        with cost.of("probes"):
            trained = self._probe(model.target_encoder, model, pause, measure)
        for pool in pools:
            if pool.probes is None:
                measure(pool, partial(meter.targets, pool))
        for world, items in waiting.items():
            meter.measure(items, self._archive.pools.find(world))
        found = {EncoderName.TRAINED: trained}
        found |= {name: self._baselines[name] for name in (EncoderName.RANDOM, EncoderName.PIXELS)}
        health = {name: state for name, (_, state) in found.items() if name is not EncoderName.PIXELS}
        return {name: scores for name, (scores, _) in found.items()}, health, meter.finish()

    def _baseline(self, name: EncoderName, model: IJepa) -> Encoder:
        if name is EncoderName.PIXELS:
            return Pixels()
        fresh = IJepa(self._run.learner.model, self._run.world.image_size, seed=self._run.seed)
        return fresh.target_encoder.to(_device(model))

    def _reference(self, model: IJepa) -> ReferenceNet:
        config = self._run.learner.model
        return ReferenceNet(model.grid, config.pixel_mean, config.pixel_std).to(_device(model))

    def _probe(
        self,
        encoder: Encoder,
        model: IJepa,
        pause: Pause,
        world_done: Callable[[Pool, Callable[[], Tensor]], None] | None = None,
    ) -> tuple[ProbeScores, Health | NotMeasurable]:
        """Probes an encoder; tells after each world of the probe set how to get the targets of its pool."""
        if self._set is None or self._probes is None:
            because = "there is no probe set"
            return ProbeScores.none(because), NotMeasurable(because)
        batch = batch_size(model.target_encoder, model.grid[0] * model.grid[1])
        encoded = partial(encode, pause=pause, batch=batch, device=_device(model))
        watch = Watch(encoder) if isinstance(encoder, VisionTransformer) else None
        features: list[NDArray[np.float32]] = []
        for pool in self._archive.pools:
            if pool.probes is None:
                continue
            if not isinstance(encoder, VisionTransformer) or watch is None:
                features.append(encoded(encoder, pool.frames))
                continue
            tap = Tap(encoder, keep=world_done is not None)
            with watch:
                features.append(encoded(tap, pool.frames))
            if world_done is not None:
                world_done(pool, tap.targets)
        features_ND = np.concatenate(features)
        if not isinstance(encoder, VisionTransformer) or watch is None:
            health = NotMeasurable("no network")
        else:
            network = {
                "feature_std_before": float(watch.before_ND().std(0).mean()),
                "dormant_units": watch.dormant_units(),
                "weight": weight_magnitude(encoder),
                "target_distance": target_distance(model) if encoder is model.target_encoder else 0.0,
                "lidar": self._lidar(partial(encoded, encoder)),
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


def _device(model: IJepa) -> torch.device:
    return model.context_encoder.positions_ND.device
