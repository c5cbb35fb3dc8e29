"""The curious agent's trainers as a Ray actor of their own, beside the learner of I-JEPA.

rollouts ─► Redis ─► feed ─► buffer ─► DynamicsTrainer, PolicyTrainer ─► models ─► Redis ─► actors
"""

import json
import logging
import os
import threading
import time as wall
from functools import partial
from typing import Any

import redis
import torch

from common import saved_files
from common.budget import Budget
from common.catalogue import Role
from common.config import RunConfig
from common.curiosity.models import training_models
from common.curiosity.rollout import ROLLOUTS
from common.curiosity.status import TrainersStatus
from common.errors import EngramError
from common.metrics import Metrics
from common.model_channel import RedisModelSink
from common.process import settle
from common.signing import adopt
from common.stream import Heartbeat, StreamKeys, connect, rollouts_of
from common.system_clock import ClockReading, Stood, set_behind
from learner.curiosity.buffer import RolloutBuffer
from learner.curiosity.dynamics_trainer import DynamicsTrainer
from learner.curiosity.policy_trainer import PolicyTrainer
from learner.curiosity.system import DYNAMICS_TRAINER, POLICY_TRAINER, trainers
from learner.device import choose_device
from learner.trainer_host import TrainerHost

PART = "curiosity"
"""Name of this part of a run."""
_PAUSE = 0.2
"""Seconds that a call waits for the training under way; the next call goes on waiting."""
_PATIENCE = 10.0
_REST = 0.01
"""Seconds between two looks whether a trainer may train."""
_ENDING = 30.0

_log = logging.getLogger(__name__)


class CuriosityShell:
    """Hosts both trainers in a process of its own until it is stopped.

    Args:
        run: The run's configuration; `redis_url` is where the stream is.
        stream: Id of the run's stream.
        state: What `state` of an earlier process gave; None at the beginning of a run.
        key: Key that the run signs with; None for none.
        behind: Seconds that the run has stood still before, and since when it does so now, as `set_behind` takes them.
    """

    def __init__(
        self,
        run: RunConfig,
        *,
        stream: str,
        state: bytes | None = None,
        key: bytes | None = None,
        behind: Stood = (0.0, None),
    ) -> None:
        config = run.curiosity
        settle(part=PART, threads=config.threads, nice=config.nice)
        adopt(key)
        set_behind(*behind)
        # The first optimiser imports a large part of torch: for half a minute, on a cold disk, nobody would be trained.
        torch.optim.SGD([torch.zeros(1)])
        self._stream = stream
        self._budget = Budget(config.share, cpu=wall.process_time)
        self._steering = threading.Lock()
        self._wanted = self._paused = False
        self._fed_before = 0
        self._beats = 0
        self._buffer = RolloutBuffer(config, run.learner.model.dim)
        self._trainers = trainers(config, seed=run.seed, pause=self._breathe)
        files = dict(saved_files.unpack(state)) if state else {}
        self._host = TrainerHost(
            partial(
                training_models,
                config,
                run.learner.model.dim,
                seed=run.seed,
                device=str(choose_device(config.device)),
            ),
            lambda: {ROLLOUTS: self._buffer},
            lambda: self._trainers,
            url=run.redis_url,
            stream=rollouts_of(stream),
            sink=RedisModelSink(connect(run.redis_url), stream),
            clock=ClockReading.take(),
            rest=_REST,
            positions=self._positions(files.pop("reader", None)),
        )
        for name in ("models", "data", "trainers") if files else ():
            self._host.load(name, {path: content for path, content in files.items() if path.partition("/")[0] == name})
        self.metrics = Metrics(Role.CURIOSITY)
        self.metrics.follow(self.status)
        self._port = self.metrics.serve()
        self._host.publish()
        if behind[1] is not None:
            self.pause()
        self._host.start(ClockReading.take())
        self._heartbeat = Heartbeat(
            connect(run.redis_url),
            keys=StreamKeys(stream),
            part=PART,
            every=run.stream.heartbeat,
            progress=self._progress,
        )

    def process(self) -> int:
        """Id of this process."""
        return os.getpid()

    def metrics_port(self) -> int:
        """TCP port of this process's Prometheus endpoint."""
        return self._port

    def exposition(self) -> bytes:
        """What the endpoint shows, for who cannot reach this host's loopback."""
        return self.metrics.exposition()

    def status(self) -> TrainersStatus:
        """Says how the trainers do; raises what ended them."""
        counts = self._host.check()
        dynamics, policy = self._trainers[DYNAMICS_TRAINER], self._trainers[POLICY_TRAINER]
        assert isinstance(dynamics, DynamicsTrainer)
        assert isinstance(policy, PolicyTrainer)
        return TrainersStatus(
            rollouts=self._fed() - self._buffer.refused,
            missed=counts["missed"],
            refused=counts["refused"] + self._buffer.refused,
            kept=len(self._buffer),
            updates=dynamics.steps,
            trainings=policy.trainings,
            surprises=dynamics.losses,
            masked=dynamics.masked,
            policy=dict(policy.diagnostics),
            share=self._budget.used,
            paused=self._paused,
        )

    def pause(self) -> None:
        """Stands still after the training under way; system time of this process with it."""
        self._wanted = True
        with self._steering:
            self._paused = self._wanted and self._host.pause(_PAUSE)

    def resume(self) -> None:
        """Trains again."""
        self._wanted = False
        with self._steering:
            self._go_on()

    def _go_on(self) -> None:
        if not self._wanted:
            self._paused = False
            self._host.resume(ClockReading.take())

    def state(self) -> bytes | None:
        """Everything to go on from: models, rollouts, optimisers, normalisers, how far the stream was read.

        Stands still for it, after the training under way; None where that takes too long.
        """
        with self._steering:
            try:
                return self._saved() if self._host.pause(_PATIENCE) else None
            finally:
                self._go_on()

    def stop(self, drain: float) -> tuple[TrainersStatus, bytes | None]:
        """Reads what is left, and hands over the last status and state."""
        self._heartbeat.close()
        with self._steering:
            self._host.stop(_ENDING)
            try:
                self._host.drain(drain)
            except (EngramError, redis.RedisError) as error:
                _log.error("not all rollouts were read at the end: %s", error)
            state = self._saved()
        status = self.status()
        self.metrics.close()
        return status, state

    def _saved(self) -> bytes:
        data, positions = self._host.save_read()
        files = {**data, **self._host.save("models"), **self._host.save("trainers")}
        reader = {"stream": self._stream, "positions": positions, "fed": self._fed()}
        files["reader"] = json.dumps(reader).encode()
        return saved_files.pack(files)

    def _fed(self) -> int:
        return self._fed_before + self._host.check()["fed"]

    def _positions(self, saved: bytes | None) -> dict[str, dict[str, int]]:
        """Where to read on; a new stream has none of the old entries, and what was unread in the old one is missed."""
        if saved is None:
            return {}
        reader: dict[str, Any] = json.loads(saved)
        self._fed_before = reader["fed"]
        moved: dict[str, int] = {} if reader["stream"] == self._stream else {"seq": 0, "whole": 0}
        return {actor: position | moved for actor, position in reader["positions"].items()}

    def _breathe(self) -> None:
        self._beats += 1
        self._budget.pause()

    def _progress(self) -> int:
        """Grows as long as the trainers' thread goes round, or rightly stands still."""
        self._beats += self._paused
        return self._host.rounds + self._beats
