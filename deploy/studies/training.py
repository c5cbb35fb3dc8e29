"""The computation of a trial: a recorded stream, a learner on it, and an evaluator that measures it as it goes.

    Datum ─► evaluator.observe ─► learner.take ─► steps that ratio and pace allow ─► next datum
                 └── every `evaluator.every` seconds of the stream: one version is measured ─► rows

No clock of the machine takes part, so a trial that was interrupted and went on ends with the same rows and weights as
one that was not, to the bit, on one kind of CPU with one number of threads.
"""

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np

from common.config import Draw, Keep, RunConfig
from common.exposure import Exposure, ExposureRule
from common.messages import Datum, VersionInfo
from deploy.studies.pace import Pace
from evaluator.evaluation import Evaluation
from evaluator.evaluator import Evaluator
from evaluator.probeset import ProbeSet
from learner.checkpoint import Checkpoint
from learner.offline import OfflineLearner
from learner.step import StepReport

type Rows = list[dict[str, Any]]


class StreamDigest:
    """Checksum of a stream: what was seen, by whom, where and when."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)

    def add(self, datum: Datum) -> None:
        """Takes in the next datum."""
        where = (datum.actor, datum.seq, datum.visit, datum.world, datum.experience, datum.system_time)
        self._hash.update(repr(where).encode())
        self._hash.update(np.ascontiguousarray(datum.data).tobytes())

    def text(self) -> str:
        """32 hexadecimal digits."""
        return self._hash.hexdigest()


class Training:
    """Goes through a stream once.

    Args:
        config: Learner, evaluator, and the stream's rule.
        pace: How many steps may be done by when.
        probe_set: What representations are probed on; None where worlds have no ground truth.
        data: Data of the whole stream, at most: capacity of the buffer of an i.i.d. trial.
        iid: The whole stream is in the buffer before the first step: the bound. Experiences are not followed then, as
            there is no time at which they were lived.
        earlier: What `state` gave, to go on from.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        pace: Pace,
        probe_set: ProbeSet | None,
        data: int,
        iid: bool = False,
        earlier: tuple[Checkpoint, bytes] | None = None,
    ) -> None:
        self._config = _with_everything(config, data) if iid else config
        self._iid, self._pace = iid, pace
        self.evaluator = Evaluator(self._config, probe_set, room=sys.maxsize)
        self.learner = OfflineLearner(self._config, earlier[0] if earlier else None)
        self.digest = StreamDigest()
        self._rule = ExposureRule.of(self._config)
        self._last: StepReport | None = None
        self._health: dict[str, float] = {}
        self._closed = False
        """The end of the stream has been measured."""
        self.position = self._version = 0
        self._due = self._now = 0.0
        self._credit = 0.0
        """Steps for which there was time and that have not been done."""
        self._ahead = 0
        """Data that an earlier process has trained on."""
        if earlier is not None:
            checkpoint, state = earlier
            self.evaluator.restore(state)
            of_trial = checkpoint.state["trial"]
            self._version, self._due = of_trial["version"], of_trial["due"]
            self._credit, self._now = of_trial["credit"], of_trial["now"]
            self._health, self._closed = of_trial["health"], of_trial["closed"]
            self._ahead = int(checkpoint.state["position"])

    def state(self) -> tuple[Checkpoint, bytes]:
        """Gives what another process needs to go on after the last datum."""
        checkpoint = self.learner.snapshot(self.position)
        of_trial = {
            "version": self._version,
            "due": self._due,
            "credit": self._credit,
            "now": self._now,
            "health": self._health,
            "closed": self._closed,
        }
        return replace(checkpoint, state={**checkpoint.state, "trial": of_trial}), self.evaluator.save()

    def run(self, stream: Iterable[Datum], each: Callable[[Rows], None]) -> None:
        """Goes through the stream.

        Args:
            stream: All of it, from its first datum, also when an earlier process was here.
            each: Called after each datum with the rows that were measured before it, mostly none.
        """
        if self._iid:
            self._run_iid(stream, each)
            return
        datum: Datum | None = None
        for datum in stream:
            self.digest.add(datum)
            self._now = self._now if self.position or self._ahead else datum.system_time
            rows: Rows = []
            if self.position >= self._ahead:
                if self._is_due(datum.system_time):
                    rows = self._measure(datum.system_time, datum.captured_ns)
                self._follow(datum)
                self.learner.take(datum)
                self._train(datum.system_time)
            else:
                self._follow(datum)
            self.position += 1
            if self.position > self._ahead:
                each(rows)
        if datum is not None and not self._closed:
            self._closed = True
            each(self._measure(datum.system_time, datum.captured_ns))

    def _is_due(self, now: float) -> bool:
        if self._version and now < self._due:
            return False
        self._due = (now if not self._version else self._due) + self._config.evaluator.every
        return True

    def _follow(self, datum: Datum) -> None:
        self.evaluator.observe(datum, self._rule.classify(datum.visit, datum.visit_time))

    def _train(self, now: float) -> None:
        """Does the steps that are due and for which there was time; a machine that waits for data saves no time up."""
        self._credit += self._pace.steps_in(now - self._now) if now > self._now else 0.0
        self._now = now
        if math.isinf(self._pace.steps_in(1.0)):
            self.learner.train(None, self._keep)
            return
        whole = int(self._credit)
        done = self.learner.train(whole, self._keep)
        self._credit -= done
        if done < whole:
            self._credit = min(self._credit, 1.0)

    def _keep(self, report: StepReport) -> None:
        self._last = report

    def _measure(self, system_time: float, captured_ns: int) -> Rows:
        self._version += 1
        if self._last is not None:
            self._health = self._last.read()
        info = VersionInfo(
            version=self._version,
            step=self.learner.step.step,
            created_ns=captured_ns,
            system_time=system_time,
            digest="",
            health=self._health,
        )
        self.evaluator.exposures.take(self._version, self.learner.ledger.news(self._version), captured_ns)
        found: Evaluation = self.evaluator.evaluate(info, self.learner.model)
        return found.rows()

    def _run_iid(self, stream: Iterable[Datum], each: Callable[[Rows], None]) -> None:
        """Takes everything, then trains as much as a trial that saw it pass; measured as often."""
        times: list[tuple[float, int]] = []
        for datum in stream:
            self.digest.add(datum)
            times.append((datum.system_time, datum.captured_ns))
            if not self._ahead:
                self.learner.take(datum)
        self.position = len(times)
        if not times:
            return
        points = list(self._points(times))
        limiter = self.learner.limiter
        earned = limiter.ratio * (limiter.inserted - limiter.min_fill) + limiter.ahead
        most = min(earned / self.learner.batch, self._pace.steps_in(times[-1][0] - times[0][0]))
        for number, (system_time, captured_ns) in enumerate(points):
            if number < self._version:
                continue
            wanted = int(most * number / max(1, len(points) - 1))
            self.learner.train(wanted - self.learner.step.step, self._keep)
            each(self._measure(system_time, captured_ns))

    def _points(self, times: list[tuple[float, int]]) -> Iterator[tuple[float, int]]:
        due = times[0][0]
        for system_time, captured_ns in times:
            if system_time >= due:
                due += self._config.evaluator.every
                yield system_time, captured_ns
        yield times[-1]

    def counts(self) -> Mapping[str, int]:
        """What became of the data, by `Exposure`."""
        return {str(kind): self.learner.counts[kind] for kind in Exposure}


def _with_everything(config: RunConfig, data: int) -> RunConfig:
    """A buffer that holds the whole stream, and draws from all of it alike."""
    capacity = max(data, config.learner.replay.min_fill)
    replay = replace(
        config.learner.replay,
        capacity=capacity,
        keep=Keep.FIFO,
        draw=Draw.UNIFORM,
        staleness_half_life=0.0,
        max_behind=0.0,
    )
    return replace(config, learner=replace(config.learner, replay=replay))
