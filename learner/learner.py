"""The learner as a plain object: two threads, and everything that a checkpoint must hold.

    ingest thread    stream ─► DataCollector          waits for new entries (polls), or for room in the collector
    training thread  DataUser ─► buffer ─► step ─► publish   waits for the limiter; a request interrupts its slice

Requests (snapshot, pause) come from other threads and are answered by the training thread between two steps.
"""

import logging
import threading
import time as wall
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import torch
from pamiq_core import time as pamiq_time
from pamiq_core.data import DataUsersDict
from pamiq_core.model import TrainingModelsDict
from pamiq_core.trainer import TrainersDict

from common.catalogue import Metric, Role
from common.config import RunConfig
from common.errors import CheckpointError
from common.exposure import ExposureRule
from common.ijepa.model import IJepa
from common.messages import Datum
from common.metrics import Metrics
from common.status import LearnerStatus
from common.stream import StreamKeys, StreamReader, connect
from common.weights import DTYPES, WeightSink
from learner.candidates import Candidates
from learner.checkpoint import Checkpoint
from learner.device import choose_device
from learner.ingest import Ingest
from learner.ledger import Ledger
from learner.limiter import SampleToInsertLimiter
from learner.publication import PublishedModel, Publisher
from learner.replay import Batch, ReplayBuffer, staleness_weight
from learner.step import TrainingStep
from learner.trainer import BUFFER, MODEL, IJepaTrainer

IDLE = 0.02
NUMBERS = 64
"""Checkpoints on their way to disk whose number is known when it has got there."""

_log = logging.getLogger(__name__)


class Learner:
    """Trains on the stream until it is closed.

    Args:
        run: The run's configuration; `redis_url` is where the stream is.
        stream: Id of the stream.
        sink: Where weights go.
        checkpoint: What to go on from.
        version: Highest version already known to somebody; numbering goes on above it.

    Raises:
        CheckpointError: The checkpoint does not fit the configuration.
    """

    def __init__(
        self,
        run: RunConfig,
        *,
        stream: str,
        sink: WeightSink,
        checkpoint: Checkpoint | None = None,
        version: int = 0,
    ) -> None:
        config = run.learner
        torch.set_num_threads(config.threads)
        self._config = config
        self._stream = stream
        self._sink = sink
        self._requests: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._closing = threading.Event()
        self._paused = threading.Event()
        self._rounds = 0
        self._staleness: deque[tuple[float, float]] = deque(maxlen=512)
        self.failure: BaseException | None = None
        state: Mapping[str, Any] = checkpoint.state if checkpoint else {}

        model = IJepa(config.model, run.world.image_size, seed=run.seed)
        self._step = TrainingStep(
            model,
            config.optim,
            config.masks,
            config.plasticity,
            seed=run.seed,
            device=choose_device(config.device),
            clock=pamiq_time.time,
            compile=config.compile,
            forget_activations=config.checkpoint_activations,
        )
        version = max(version, int(state.get("version", 0)))
        self._ledger = (
            Ledger.from_table(checkpoint.ledger, version=version, gone=int(state.get("retired", 0)))
            if checkpoint
            else Ledger()
        )
        self._extends = int(state.get("number", 0))
        self._numbers = deque([self._extends], maxlen=NUMBERS)
        self._limiter = SampleToInsertLimiter.from_config(config.replay, config.optim.batch_size)
        self._buffer = ReplayBuffer.from_config(
            config.replay,
            run.world.image_size,
            dim=config.model.dim,
            seed=run.seed,
            admit=self._admit,
            weigh=self._weigh if config.replay.staleness_half_life else None,
        )
        if checkpoint:
            self._restore(model, checkpoint)
        self._publisher = Publisher(
            sink,
            every=config.publish_every,
            version=version,
            dtype=DTYPES[config.payload_dtype],
            moments=state.get("moments"),
            offered=lambda seconds: self.metrics.observe(Metric.LEARNER_PUBLISH_SECONDS, seconds),
        )
        self._candidates = Candidates(
            self._publisher, config.guardrail, self._step, self._ledger, seed=run.seed, rolled_back=self._rolled_back
        )
        self._candidates.guardrail.restore(state.get("guardrail", {}))
        self._model = PublishedModel(model, self._step.device, self._offer)
        self._trainer = IJepaTrainer(
            self._step,
            buffer=self._buffer,
            limiter=self._limiter,
            ledger=self._ledger,
            batch=config.optim.batch_size,
            slice=config.slice,
            min_new=config.replay.min_new,
            timed=self._note_step,
            interrupted=lambda: not self._requests.empty() or self._closing.is_set() or self._paused.is_set(),
        )
        self._trainer.images = int(state.get("images", 0))

        self._users = DataUsersDict.from_data_buffers({BUFFER: self._buffer})
        self._trainers = TrainersDict({"ijepa": self._trainer})
        self._trainers.attach_training_models(TrainingModelsDict({MODEL: self._model}))
        self._trainers.attach_data_users(self._users)
        kept: Mapping[str, Any] = state.get("ingest", {})
        positions: dict[str, dict[str, int]] = kept.get("positions", {})
        if state.get("stream") != stream:
            # A new stream has none of the old entries; `ord` goes on, so what was unread in the old one is missed.
            positions = {actor: position | {"seq": 0} for actor, position in positions.items()}
        self._ingest = Ingest(
            StreamReader(connect(run.redis_url), keys=StreamKeys(stream), positions=positions),
            rule=ExposureRule.of(run),
            collectors={BUFFER: self._users.data_collectors_dict.acquire(BUFFER)},
            image_shape=(*run.world.image_size, 3),
            counts=kept.get("counts"),
            noted=self._note_staleness,
            stale=self._is_stale,
        )
        self.metrics = Metrics(Role.LEARNER)
        self.metrics.follow(self.status)
        self._thread = threading.Thread(target=self._run, name="training", daemon=True)

    @property
    def progress(self) -> int:
        """Grows as long as the training thread goes round, training or waiting."""
        return self._rounds + self._step.step

    def start(self) -> None:
        """Begins to read, train and publish."""
        self._ingest.start()
        self._thread.start()

    def pause(self) -> None:
        """Stops training before the next step; reading goes on until the collector is full."""
        self._paused.set()

    def resume(self) -> None:
        """Trains again."""
        self._paused.clear()

    def status(self) -> LearnerStatus:
        """Says how the learner does.

        Raises:
            BaseException: What ended the training thread.
        """
        if (failure := self.failure or self._ingest.failure) is not None:
            raise failure
        recent = np.array(list(self._staleness) or [(0.0, 0.0)])  # [frames, (versions, seconds)]
        behind, age = np.median(recent, axis=0).tolist()
        latest, mean, most = recent[-1].tolist(), recent.mean(0).tolist(), recent.max(0).tolist()
        return LearnerStatus(
            step=self._step.step,
            images=self._trainer.images,
            images_per_second=self._trainer.images_per_second(),
            loss=self._trainer.loss,
            lr=self._step.lr,
            ring=len(self._buffer),
            capacity=self._buffer.capacity,
            left_out=self._buffer.left_out,
            replay_ratio=self._limiter.achieved,
            forfeited=self._limiter.forfeited,
            waiting="paused" if self._paused.is_set() else self._trainer.waiting,
            version=self._publisher.version,
            staleness_versions=behind,
            staleness_seconds=age,
            staleness_latest_versions=latest[0],
            staleness_latest_seconds=latest[1],
            staleness_mean_versions=mean[0],
            staleness_mean_seconds=mean[1],
            staleness_max_versions=most[0],
            staleness_max_seconds=most[1],
            versions_acknowledged=self._sink.acknowledged,
            versions_abandoned=self._sink.abandoned,
            experiences=self._ledger.total,
            counts=self._ingest.counts(),
            stream_resets=self._ingest.resets,
            health=dict(self._candidates.health or self._model.health),
            held={str(reason): count for reason, count in self._candidates.guardrail.held.items()},
            rollbacks={str(reason): count for reason, count in self._candidates.guardrail.rollbacks.items()},
            findings=tuple(self._candidates.findings),
        )

    def published(self) -> dict[int, str]:
        """Hash of the encoder's parameters by published version."""
        return self._publisher.digests()

    def snapshot(self, written: int | None = None) -> Checkpoint:
        """Takes a consistent checkpoint between two steps, while the ingest stands still; writers do not notice.

        Args:
            written: Number of the newest checkpoint that is on disk, 0 for none: rows of the ledger that it holds as
                retired leave memory, and others are retired into this one. None retires nothing, for who does not
                write.
        """
        return self._ask(lambda: self._snapshot(written))

    def drain(self, timeout: float) -> None:
        """Waits until everything written so far has been read, for at most `timeout` seconds."""
        end = wall.monotonic() + timeout
        while wall.monotonic() < end and self.failure is None:
            if self._ingest.drained():
                return
            wall.sleep(0.05)

    def close(self) -> None:
        """Ends both threads."""
        self._closing.set()
        self._ingest.close()
        self._thread.join(10.0)

    def _admit(self, datum: Datum) -> int:
        self._limiter.insert()
        self._ingest.note_added()
        return self._ledger.admit(datum, step=self._step.step, now_ns=wall.time_ns())

    def _note_staleness(self, datum: Datum) -> None:
        """Measures how old the weights were that acted on a frame: versions behind the newest then, and seconds."""
        self.metrics.observe(Metric.LEARNER_INGEST_SECONDS, (wall.time_ns() - datum.sent_ns) / 1e9)
        age = self._age(datum)
        if age is None:
            return
        behind = float(self._publisher.newest_at(datum.captured_ns) - datum.weights_version)
        self.metrics.observe(Metric.LEARNER_STALENESS_VERSIONS, behind)
        self.metrics.observe(Metric.LEARNER_STALENESS_SECONDS, age)
        self._staleness.append((behind, age))

    def _age(self, datum: Datum) -> float | None:
        """Age of the weights that acted on a frame when it was captured, seconds; None where it is not known."""
        born = self._publisher.born(datum.weights_version)
        return None if born is None else (datum.captured_ns - born) / 1e9

    def _is_stale(self, datum: Datum) -> bool:
        """Says whether newer weights had been there for longer than allowed when the frame was captured.

        Not their age decides: while nothing is published, for want of new frames for example, weights grow old, and a
        gate on the age would keep out the very frames that end it.
        """
        limit = self._config.replay.max_staleness
        newest = self._publisher.newest_at(datum.captured_ns - round(limit * 1e9)) if limit else 0
        return newest > datum.weights_version > 0

    def _weigh(self, datum: Datum) -> float:
        return staleness_weight(self._age(datum), self._config.replay.staleness_half_life)

    def _offer(self) -> None:
        self._candidates.make(self._model.health, gradient_ns=self._model.gradient_ns)

    def _rolled_back(self) -> None:
        self._trainer.resync()

    def _note_step(self, batch: Batch, drawn_ns: int, done_ns: int) -> None:
        """Measures how long the frames waited for their first step, and how long it took."""
        self._candidates.note_batch(batch.frames_BHWC)
        self.metrics.observe(Metric.LEARNER_GRADIENT_SECONDS, (done_ns - drawn_ns) / 1e9)
        for captured_ns, admitted_ns in batch.fresh_F2.tolist():
            self.metrics.observe(Metric.LEARNER_FIRST_SAMPLE_SECONDS, (drawn_ns - admitted_ns) / 1e9)
            self.metrics.observe(Metric.LEARNER_GLASS_SECONDS, (done_ns - captured_ns) / 1e9)

    def _ask[T](self, request: Callable[[], T]) -> T:
        answer: Future[T] = Future()
        self._requests.put((request, answer))
        while True:
            try:
                return answer.result(timeout=1.0)
            except TimeoutError:
                if self.failure is not None:
                    raise self.failure from None
                if not self._thread.is_alive():
                    raise CheckpointError("the training thread has ended") from None

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._rounds += 1
                self._answer()
                ran = False
                if not self._paused.is_set():
                    for trainer in self._trainers.values():
                        ran |= trainer.run()
                if not ran:
                    self._closing.wait(IDLE)
            self._answer()
        except BaseException as error:  # handed to whoever asks for the status, which ends or restarts the learner
            _log.exception("the training thread failed")
            self.failure = error

    def _answer(self) -> None:
        while True:
            try:
                request, answer = self._requests.get_nowait()
            except Empty:
                return
            try:
                answer.set_result(request())
            except Exception as error:  # belongs to the one who asked
                answer.set_exception(error)

    def _snapshot(self, written: int | None) -> Checkpoint:
        with self._ingest.hold():
            self._users[BUFFER].update()
            ingest = self._ingest.state()
        model, replay = self._model.model, self._buffer.arrays()
        number = max(wall.time_ns(), self._numbers[-1] + 1)
        if written is not None:
            if written in self._numbers:  # else one of a learner before this, which knew of other rows
                self._ledger.forget(written)
                self._extends = written
            self._numbers.append(number)
            self._ledger.retire(replay["rows"], checkpoint=number)
        ledger = self._ledger.table()
        return Checkpoint(
            step=self._step.step,
            model={name: tensor.detach().cpu().numpy().copy() for name, tensor in model.state_dict().items()},
            optimiser={name: tensor.detach().cpu().numpy().copy() for name, tensor in self._step.tensors().items()},
            replay=replay,
            ledger=ledger,
            retired=self._ledger.retired(),
            state={
                "number": number,
                "extends": self._extends,
                "retired": self._ledger.total - len(ledger["experience"]),
                "stream": self._stream,
                "version": self._publisher.version,
                "moments": self._publisher.moments(),
                "images": self._trainer.images,
                "limiter": self._limiter.state(),
                "training_step": self._step.numbers(),
                "guardrail": self._candidates.guardrail.state(),
                "replay": self._buffer.numbers(),
                "ingest": ingest,
            },
        )

    def _restore(self, model: IJepa, checkpoint: Checkpoint) -> None:
        state = checkpoint.state
        try:
            model.load_state_dict({name: torch.from_numpy(array) for name, array in checkpoint.model.items()})  # pyright: ignore[reportUnknownMemberType]
        except RuntimeError as error:
            raise CheckpointError(f"the checkpoint's model does not fit learner.model: {error}") from None
        tensors = {name: torch.from_numpy(array) for name, array in checkpoint.optimiser.items()}  # pyright: ignore[reportUnknownMemberType]
        self._step.restore(tensors, state["training_step"])
        self._buffer.restore(checkpoint.replay, state["replay"])
        self._limiter.restore(state["limiter"])
