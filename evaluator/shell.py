"""The evaluator as a Ray actor: reads the stream, pulls the newest candidate, measures it at its own pace.

One thread: stream ─► archive whenever there is time, also between two slices of an evaluation; every so many seconds
registry ─► spare network ─► evaluation ─► rows, which the driver collects. It may skip versions; it waits for nobody
and nobody waits for it.
"""

import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import redis

from common.budget import Budget, cpu_clock
from common.catalogue import Metric, Role
from common.config import RunConfig
from common.errors import CheckpointError
from common.exposure import ExposureRule
from common.ijepa.model import IJepa
from common.ledger import LEDGER, LedgerNews
from common.metrics import Metrics
from common.process import settle
from common.signing import adopt
from common.status import EvaluatorStatus
from common.stream import Heartbeat, StreamKeys, StreamReader, connect
from common.weights import PayloadKind, WeightSource, unpack
from evaluator.evaluator import Evaluator
from evaluator.memory.measures import Halved, Measure
from evaluator.probeset import ProbeSet, ProbeSpec

POLL = 0.2
REFRESH = 2.0
PATIENCE = 10.0
"""Seconds that `state` waits for the evaluation thread, which answers between two slices."""

_log = logging.getLogger(__name__)


class EvaluatorShell:
    """Measures weights versions until it is stopped.

    Args:
        run: The run's configuration; `redis_url` is where the stream is.
        stream: Id of the stream.
        source: The weight registry.
        truth: Whether worlds have ground truth: then the probe set is waited for, which another process on this host
            may still be recording.
        state: What `state` of an earlier process gave; None at the beginning of a run.
        key: Key that the run signs with; None for none.
        part: Its name among the parts of the run.
    """

    def __init__(
        self,
        run: RunConfig,
        *,
        stream: str,
        source: WeightSource,
        truth: bool,
        state: bytes | None = None,
        key: bytes | None = None,
        part: str = "evaluator",
    ) -> None:
        config = run.evaluator
        settle(part=part, threads=config.threads, nice=config.nice, apart=part != "evaluator")
        adopt(key)
        self._run = run
        self._part = part
        self._probe_set = ProbeSpec.of(run).cache_path(config.cache) if truth else None
        self._earlier = state
        self._asked, self._given = threading.Event(), threading.Condition()
        self._state: bytes | None = None
        self._source = source
        self._reader = StreamReader(connect(run.redis_url), keys=StreamKeys(stream))
        self._rule = ExposureRule.of(run)
        self._evaluator: Evaluator | None = None
        self._model = IJepa(run.learner.model, run.world.image_size, seed=run.seed).eval()
        self._rows: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._enabled = threading.Event()
        self._enabled.set()
        self._paused = threading.Event()
        self._rounds = 0
        self._version = 0
        self._refreshed = -REFRESH
        self._failure: BaseException | None = None
        self._metrics = Metrics(Role.EVALUATOR)
        self._metrics.follow(self.status)
        self._port = self._metrics.serve()
        self._heartbeat = Heartbeat(
            connect(run.redis_url),
            keys=StreamKeys(stream),
            part=part,
            every=run.stream.heartbeat,
            progress=lambda: self._rounds,
        )
        self._thread = threading.Thread(target=self._run_safely, name="evaluation", daemon=True)
        self._thread.start()

    def process(self) -> int:
        """Id of this process."""
        return os.getpid()

    def metrics_port(self) -> int:
        """TCP port of this process's Prometheus endpoint."""
        return self._port

    def exposition(self) -> bytes:
        """What the endpoint shows, for who cannot reach this host's loopback."""
        return self._metrics.exposition()

    def status(self) -> EvaluatorStatus:
        """Says what was measured last; raises what ended the thread."""
        if self._failure is not None:
            raise self._failure
        paused = self._paused.is_set()
        if self._evaluator is None:
            return EvaluatorStatus(activity="waiting for the probe set", paused=paused)
        return replace(self._evaluator.status(), paused=paused)

    def rows(self) -> Sequence[dict[str, Any]]:
        """Hands over the rows measured since the last call."""
        with self._lock:
            taken, self._rows = self._rows, []
        return taken

    def enable(self, on: bool) -> None:
        """Switches evaluations on or off; the stream is read all the same."""
        self._enabled.set() if on else self._enabled.clear()

    def pause(self) -> None:
        """Measures nothing until `resume`, not even the rest of an evaluation that is under way."""
        self._paused.set()

    def resume(self) -> None:
        """Measures again."""
        self._paused.clear()

    def state(self) -> bytes | None:
        """Gives what a process that takes over from this one needs; None where there is nothing yet."""
        with self._given:
            self._state = None
            self._asked.set()
            self._given.wait_for(lambda: not self._asked.is_set(), PATIENCE)
            return self._state

    def stop(self) -> tuple[Sequence[dict[str, Any]], bytes | None]:
        """Gives up the evaluation under way and hands over the last rows and the last state."""
        self._closing.set()
        self._thread.join(10.0)
        self._heartbeat.close()
        self._metrics.close()
        if self._evaluator is None or self._thread.is_alive():
            return self.rows(), None
        return self.rows(), self._evaluator.save()

    def _run_safely(self) -> None:
        try:
            self._loop()
        except _Closing:
            pass
        except BaseException as error:  # handed to whoever asks for the status, which restarts the evaluator
            _log.exception("the evaluation thread failed")
            self._failure = error

    def _loop(self) -> None:
        config = self._run.evaluator
        while self._probe_set is not None and not self._probe_set.exists():
            self._rounds += 1
            if self._closing.wait(POLL):
                return
        probes = ProbeSet.load(self._probe_set) if self._probe_set is not None else None
        evaluator = Evaluator(self._run, probes)
        if self._earlier is not None:
            try:
                evaluator.restore(self._earlier)
            except CheckpointError as error:
                _log.warning("begins anew, experiences measured so far are not followed any more: %s", error)
                evaluator = Evaluator(self._run, probes)
            self._earlier = None
        self._evaluator = evaluator
        budget = Budget(config.share, cpu=cpu_clock(config.threads), sleep=self._sleep)
        next_at = time.monotonic()
        while not self._closing.wait(POLL):
            self._read()
            idle = self._paused.is_set() or not self._enabled.is_set()
            if time.monotonic() >= next_at and not idle and self._pull_and_measure(budget):
                next_at = time.monotonic() + config.every

    def _pull_and_measure(self, budget: Budget) -> bool:
        assert self._evaluator is not None
        try:
            found = self._source.pull_if_newer(self._version, PayloadKind.FULL)
        except Exception as error:  # the registry may be restarting
            _log.warning("cannot pull weights (%s: %s)", type(error).__name__, error)
            return False
        if found is None:
            return False
        info, payload = found
        parameters = unpack(payload)
        news = parameters.pop(LEDGER, None)
        self._model.load_state_dict(parameters)
        if news is not None:
            self._evaluator.exposures.take(info.version, LedgerNews.unpack(news), info.created_ns)
        budget.pause()
        evaluation = self._evaluator.evaluate(info, self._model, lambda: self._between(budget))
        self._version = info.version
        for item in evaluation.memory.experiences:
            if isinstance(bits := item.measures[Measure.BITS], Halved):
                self._metrics.observe(Metric.EVALUATOR_BITS, bits.value, str(item.experience.kind))
        with self._lock:
            self._rows.extend(evaluation.rows())
        return True

    def _between(self, budget: Budget) -> None:
        """Runs between two slices of an evaluation."""
        if self._closing.is_set():
            raise _Closing
        self._read()
        while self._paused.is_set():
            self._sleep(POLL)
        budget.pause()

    def _sleep(self, seconds: float) -> None:
        """Waits without falling silent: long waits go on reading the stream."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._closing.wait(min(left, POLL)):
                raise _Closing
            self._read()

    def _give_state(self, evaluator: Evaluator) -> None:
        """Answers `state` from the thread that alone changes the evaluator."""
        if self._asked.is_set():
            content = evaluator.save()
            with self._given:
                self._state = content
                self._asked.clear()
                self._given.notify_all()

    def _read(self) -> None:
        assert self._evaluator is not None
        self._rounds += 1
        self._give_state(self._evaluator)
        try:
            if time.monotonic() - self._refreshed >= REFRESH:
                self._reader.refresh()
                if self._run.playback.waits:
                    self._reader.tell(self._part)
                self._refreshed = time.monotonic()
            data = self._reader.read()
        except redis.RedisError as error:
            _log.warning("cannot read the stream (%s: %s)", type(error).__name__, error)
            return
        for datum in data:
            if datum.experience != self._rule.experience(datum.visit, datum.visit_time):
                continue  # gated by the learner too
            self._evaluator.observe(datum, self._rule.classify(datum.visit, datum.visit_time))


class _Closing(Exception):
    """Ends an evaluation that is under way when the evaluator stops."""
