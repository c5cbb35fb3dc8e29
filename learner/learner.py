"""The learner as a plain object: two threads, and everything that a checkpoint must hold.

    ingest thread    stream ─► DataCollector          waits for new entries (polls), or for room in the collector
    training thread  DataUser ─► buffer ─► step ─► publish   waits for the limiter; a request interrupts its slice

Requests (snapshot, pause) come from other threads and are answered by the training thread between two steps. Where
several processes train together, each is a learner like this one, with its share of the stream; they step, answer and
publish at the same moments (`learner.ranks`, `learner.rounds`).
"""

import json
import time as wall
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
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
from common.stream import Share, StreamKeys, StreamReader, connect
from common.weights import DTYPES, WeightSink, digest
from learner.allowance import Allowance
from learner.candidates import Candidates
from learner.checkpoint import Checkpoint
from learner.clock import clock_of
from learner.device import choose_device
from learner.ingest import Ingest
from learner.ledger import Ledger
from learner.limiter import SampleToInsertLimiter
from learner.publication import PublishedModel, Publisher
from learner.ranks import Ranks
from learner.replay import Batch, ReplayBuffer
from learner.rounds import Rounds
from learner.staleness import Staleness
from learner.step import TrainingStep
from learner.trainer import BUFFER, MODEL, IJepaTrainer

NUMBERS = 64
"""Checkpoints on their way to disk whose number is known when it has got there."""


class Learner:
    """Trains on the stream until it is closed.

    Args:
        run: The run's configuration; `redis_url` is where the stream is.
        stream: Id of the stream.
        sink: Where weights go; of several ranks only the first has any.
        checkpoint: What to go on from.
        version: Highest version already known to somebody; numbering goes on above it.
        ranks: Processes that train together; this one is alone by default.
        part: Name under which a writer that waits is told how far this one has read.
        acts: Whether the weights that act are this learner's: else nothing is known of their age.

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
        ranks: Ranks | None = None,
        part: str = "learner",
        acts: bool = True,
    ) -> None:
        config = run.learner
        torch.set_num_threads(config.threads)
        self._stream = stream
        self._sink = sink
        self._ranks = ranks or Ranks()
        self._rounds = Rounds(self._train, self._ranks)
        self.metrics = Metrics(Role.LEARNER)
        state: Mapping[str, Any] = checkpoint.state if checkpoint else {}
        clock, passed = clock_of(run)

        model = IJepa(config.model, run.world.image_size, seed=run.seed)
        self._parameters = sum(tensor.numel() for tensor in model.parameters() if tensor.requires_grad)
        self._step = TrainingStep(
            model,
            config.optim,
            config.masks,
            config.plasticity,
            seed=run.seed,
            device=choose_device(config.device),
            clock=clock,
            ranks=self._ranks,
            compile=config.compile,
            forget_activations=config.checkpoint_activations,
        )
        (version,) = self._ranks.lead(max(version, int(state.get("version", 0))))
        self._ledger = (
            Ledger.from_table(checkpoint.ledger, version=version, gone=int(state.get("retired", 0)))
            if checkpoint
            else Ledger()
        )
        self._extends = int(state.get("number", 0))
        self._numbers = deque([self._extends], maxlen=NUMBERS)
        self._publisher = Publisher(
            sink,
            every=config.publish_every,
            version=version,
            dtype=DTYPES[config.payload_dtype],
            moments=state.get("moments"),
            clock=clock,
            offered=lambda seconds: self.metrics.observe(Metric.LEARNER_PUBLISH_SECONDS, seconds),
        )
        replay = config.replay.share(self._ranks.count)
        self._staleness = Staleness(replay, self._publisher, self.metrics, acts=acts)
        self._limiter = SampleToInsertLimiter.from_config(replay, config.rank_batch)
        self._buffer = ReplayBuffer.from_config(
            replay,
            run.world.image_size,
            dim=config.model.dim,
            seed=self._ranks.seed(run.seed),
            admit=self._admit,
            weigh=self._staleness.weigh,
        )
        if checkpoint:
            self._restore(model, checkpoint)
        self._candidates = Candidates(
            self._publisher,
            config.guardrail,
            self._step,
            self._ledger,
            seed=run.seed,
            rolled_back=self._resync,
            ranks=self._ranks,
        )
        self._candidates.guardrail.restore(state.get("guardrail", {}))
        self._model = PublishedModel(model, self._step.device, self._offer)
        self._trainer = IJepaTrainer(
            self._step,
            buffer=self._buffer,
            limiter=self._limiter,
            ledger=self._ledger,
            batch=config.rank_batch,
            slice=config.slice,
            min_new=replay.min_new,
            timed=self._note_step,
            interrupted=self._rounds.interrupted,
            ranks=self._ranks,
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
            positions = {actor: position | {"seq": 0, "whole": 0} for actor, position in positions.items()}
        self._ingest = Ingest(
            StreamReader(
                connect(run.redis_url),
                keys=StreamKeys(stream),
                positions=positions,
                share=Share(self._ranks.rank, self._ranks.count),
            ),
            rule=ExposureRule.of(run),
            collectors={BUFFER: self._users.data_collectors_dict.acquire(BUFFER)},
            image_shape=(*run.world.image_size, 3),
            counts=kept.get("counts"),
            noted=self._staleness.note,
            stale=self._staleness.is_stale,
            passed=passed,
            told_as=part if run.playback.waits else "",
            hold=lambda: run.playback.waits and not self._trainer.waiting,
            allowed=Allowance.of(run).grants,
        )
        self.metrics.follow(self.status)

    @property
    def progress(self) -> int:
        """Grows as long as the training thread goes round, training or waiting."""
        return self._rounds.count + self._step.step

    def start(self) -> None:
        """Begins to read, train and publish."""
        self._ingest.start()
        self._rounds.start()

    def pause(self) -> None:
        """Stops training before the next step, on all ranks; reading goes on until the collector is full."""
        self._rounds.pause()

    def resume(self) -> None:
        """Trains again."""
        self._rounds.resume()

    def status(self) -> LearnerStatus:
        """Says how the learner does.

        Raises:
            BaseException: What ended the training thread.
        """
        if (failure := self._rounds.failure or self._ingest.failure) is not None:
            raise failure
        return LearnerStatus(
            ranks=self._ranks.count,
            rank_wait_seconds=self._ranks.waited,
            step=self._step.step,
            parameters=self._parameters,
            images=self._trainer.images,
            images_per_second=self._trainer.images_per_second(),
            loss=self._trainer.loss,
            lr=self._step.lr,
            ring=len(self._buffer),
            capacity=self._buffer.capacity,
            left_out=self._buffer.left_out,
            replay_ratio=self._limiter.achieved,
            forfeited=self._limiter.forfeited,
            waiting="paused" if self._rounds.paused else self._trainer.waiting,
            version=self._publisher.version,
            versions_acknowledged=self._sink.acknowledged,
            versions_abandoned=self._sink.abandoned,
            experiences=self._ledger.total,
            counts=self._ingest.counts(),
            stream_resets=self._ingest.resets,
            health=dict(self._candidates.health or self._model.health),
            held={str(reason): count for reason, count in self._candidates.guardrail.held.items()},
            rollbacks={str(reason): count for reason, count in self._candidates.guardrail.rollbacks.items()},
            findings=tuple(self._candidates.findings),
            **self._staleness.figures(),
        )

    def published(self) -> dict[int, str]:
        """Hash of the encoder's parameters by published version."""
        return self._publisher.digests()

    def snapshot(self, written: int | None = None) -> Checkpoint:
        """Takes a consistent checkpoint between two steps, while the ingest stands still; writers do not notice.

        With several ranks, each must be asked; each gives what it has for itself, and the first the rest.

        Args:
            written: Number of the newest checkpoint that is on disk, 0 for none: rows of the ledger that it holds as
                retired leave memory, and others are retired into this one. None retires nothing, for who does not
                write.

        Raises:
            CheckpointError: The ranks no longer have the same weights.
        """
        return self._rounds.ask(lambda: self._snapshot(written))

    def drain(self, timeout: float) -> None:
        """Waits until everything written so far has been read, for at most `timeout` seconds; then for other ranks."""
        end = wall.monotonic() + timeout
        while wall.monotonic() < end and self._rounds.failure is None and not self._ingest.drained():
            wall.sleep(0.05)
        if self._ranks.count > 1:
            self._rounds.ask(lambda: None)

    def close(self) -> None:
        """Ends both threads."""
        self._rounds.close()
        self._ingest.close()

    def _train(self) -> bool:
        ran = [trainer.run() for trainer in self._trainers.values()]
        return any(ran)

    def _resync(self) -> None:
        self._trainer.resync()

    def _admit(self, datum: Datum) -> int:
        self._limiter.insert()
        self._ingest.note_added()
        return self._ledger.admit(datum, step=self._step.step, now_ns=wall.time_ns())

    def _offer(self) -> None:
        self._candidates.make(self._model.health, gradient_ns=self._model.gradient_ns)

    def _note_step(self, batch: Batch, drawn_ns: int, done_ns: int) -> None:
        """Measures how long the frames waited for their first step, and how long it took."""
        self._candidates.note_batch(batch.frames_BHWC)
        self.metrics.observe(Metric.LEARNER_GRADIENT_SECONDS, (done_ns - drawn_ns) / 1e9)
        for captured_ns, admitted_ns in batch.fresh_F2.tolist():
            self.metrics.observe(Metric.LEARNER_FIRST_SAMPLE_SECONDS, (drawn_ns - admitted_ns) / 1e9)
            self.metrics.observe(Metric.LEARNER_GLASS_SECONDS, (done_ns - captured_ns) / 1e9)

    def _snapshot(self, written: int | None) -> Checkpoint:
        with self._ingest.hold():
            self._users[BUFFER].update()
            ingest = self._ingest.state()
        weights = self._digest()
        replay = self._buffer.arrays()
        (number,) = self._ranks.lead(max(wall.time_ns(), self._numbers[-1] + 1))
        if written is not None:
            if written in self._numbers:  # else one of a learner before this, which knew of other rows
                self._ledger.forget(written)
                self._extends = written
            self._numbers.append(number)
            self._ledger.retire(self._unsettled(replay["rows"]), checkpoint=number)
        ledger = self._ledger.table()
        model, optimiser = self._model.model.state_dict(), self._step.tensors()
        if not self._ranks.first:
            model, optimiser = {}, {name: optimiser[name] for name in self._step.of_rank}
        return Checkpoint(
            step=self._step.step,
            model={name: tensor.detach().cpu().numpy().copy() for name, tensor in model.items()},
            optimiser={name: tensor.detach().cpu().numpy().copy() for name, tensor in optimiser.items()},
            replay=replay,
            ledger=ledger,
            retired=self._ledger.retired(),
            state={
                "number": number,
                "extends": self._extends,
                "ranks": self._ranks.count,
                "digest": weights,
                "healthy": self._candidates.healthy(),
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

    def _unsettled(self, in_buffer: NDArray[np.int32]) -> set[str]:
        """Experiences that something may still change, on any rank."""
        own = self._ledger.unsettled(in_buffer)
        if self._ranks.count == 1:
            return own
        return set[str]().union(*(json.loads(told) for told in self._ranks.collect(json.dumps([*own]).encode())))

    def _digest(self) -> str:
        """Hash of all weights, the same on all ranks: what differs by a bit now differs by more later."""
        if self._ranks.count == 1:
            return ""
        own = digest(self._model.model.state_dict(), torch.float32)
        if self._ranks.collect(own.encode()) != [own.encode()] * self._ranks.count:
            raise CheckpointError(f"at step {self._step.step} the ranks' weights are no longer equal")
        return own

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
