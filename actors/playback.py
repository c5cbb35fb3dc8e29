"""An actor's place taken by a recording: what it captured goes down the same wire once more, at the pace asked for.

    thread `playback`  recording ─► wait for the datum's moment ─► stream-writer ─► Redis
                                    └ as fast as possible: wait until readers have made room

Frames, labels, actions, visits and all times of the run's own clock (system time, visit time) go out as they were
recorded. Three things are this run's: the moment of capture is that of playing, so that latencies mean something; no
weights acted (version 0); and experiences are named after this run's block length.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import redis

from common.catalogue import Metric, Role
from common.codec import Codec
from common.config import RunConfig
from common.errors import RecordingError
from common.exposure import ExposureRule
from common.messages import Datum
from common.metrics import Metrics
from common.recording import Damage, Recording
from common.status import ActorStatus
from common.stream import CaptureJournal, Heartbeat, StreamKeys, StreamWriter, connect
from common.stream.progress import slowest

LOOK = 0.1
"""Seconds between two looks at how far the readers are, and between two signs of life while waiting."""

_log = logging.getLogger(__name__)


class Playback:
    """Plays one recorded actor until it is closed; what it has begun in an earlier process it goes on with.

    Args:
        run: The run's configuration; `playback` names the recording and the speed.
        index: Number of the actor, from 0: of the recording's actors in alphabetical order.
        stream: Id of the stream.
        folder: Where the actor keeps its journal.
        readers: Names of those that it waits for, where it goes as fast as possible.

    Raises:
        RecordingError: There is no such recording, or it has fewer actors.
    """

    def __init__(
        self, run: RunConfig, *, index: int, stream: str, folder: Path, readers: Sequence[str] = ("learner",)
    ) -> None:
        self.name = f"actor-{index}"
        path = Path(run.playback.recording)
        actors = sorted(Recording(path).counted.actors)
        if index >= len(actors):
            raise RecordingError(f"{path} has {len(actors)} actors: set actors.count to {len(actors)}")
        self._recording = Recording(path, actors=[actors[index]], on_damage=self._note_damage)
        self._speed = run.playback.speed
        self._rule = ExposureRule.of(run)
        self._keys = StreamKeys(stream)
        self._client = connect(run.redis_url)
        self._readers = readers
        frame = run.world.image_size[0] * run.world.image_size[1] * 3
        self._room = max(1, run.stream.budget // run.actors.count // frame // 4)
        self.metrics = Metrics(Role.ACTOR)
        self._journal = CaptureJournal(folder / f"{self.name}.journal")
        self._begun_with = self._journal.captured
        self._writer = StreamWriter(
            lambda: connect(run.redis_url),
            keys=self._keys,
            actor=self.name,
            journal=self._journal,
            budget=run.stream.budget // run.actors.count,
            spool=max(1, round(run.actors.spool * run.actors.fps)),
            spool_bytes=run.actors.spool_bytes,
            codec=Codec(run.stream.codec),
            quality=run.stream.jpeg_quality,
            written=lambda seconds: self.metrics.observe(Metric.ACTOR_WRITE_SECONDS, seconds),
        )
        self._spool = max(1, round(run.actors.spool * run.actors.fps)) // 2
        self._captures: deque[int] = deque(maxlen=600)
        self._status = ActorStatus(name=self.name)
        self._first_ns = self._last_ns = 0
        self._damaged = 0
        self._read = 0
        self._rounds = 0
        self._closing, self._paused = threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        self.metrics.follow(self.status)
        self.metrics_port = self.metrics.serve()
        self._heartbeat = Heartbeat(
            connect(run.redis_url),
            keys=self._keys,
            part=self.name,
            every=run.stream.heartbeat,
            progress=lambda: self._rounds,
        )
        self._thread = threading.Thread(target=self._run_safely, name="playback", daemon=True)

    def start(self) -> None:
        """Begins to play."""
        self._thread.start()

    def pause(self) -> None:
        """Stops playing before the next datum."""
        self._paused.set()

    def resume(self) -> None:
        """Goes on where it stopped."""
        self._paused.clear()

    def close(self) -> ActorStatus:
        """Ends playing, writes what waits, and says how it ended."""
        self._closing.set()
        self._thread.join(10.0)
        self._heartbeat.close()
        self._writer.close()
        self.metrics.close()
        last = self.status()
        self._journal.close()
        self._client.close()
        return last

    def acting_digest(self) -> tuple[int, str]:
        """No weights act."""
        return 0, ""

    def intervals(self) -> list[float]:
        """Times between the last 600 data, seconds."""
        return (np.diff(np.array(self._captures, np.float64)) / 1e9).tolist()

    def status(self) -> ActorStatus:
        """Says how far it is.

        Raises:
            BaseException: What ended it before its time.
        """
        if (failure := self._failure or self._writer.failure) is not None:
            raise failure
        intervals = self.intervals()
        recent = intervals[-100:]
        lived = (self._last_ns - self._first_ns) / 1e9
        return replace(
            self._status,
            counts=self._writer.counts(),
            fps=len(recent) / sum(recent) if recent else 0.0,
            mean_fps=(self._status.frames - 1) / lived if lived else 0.0,
            interval_p99=float(np.percentile(intervals, 99)) if intervals else 0.0,
            damaged=self._damaged,
            reconnects=max(0, self._writer.connections - 1),
            paused=self._paused.is_set(),
        )

    def _run_safely(self) -> None:
        try:
            self._run()
        except BaseException as error:  # handed to whoever asks for the status, which starts it anew or gives up
            _log.exception("%s: playing failed", self.name)
            self._failure = error

    def _run(self) -> None:
        origin: float | None = None
        for number, datum in enumerate(self._recording):
            if number < self._begun_with:
                self._beat()
                continue
            origin = self._wait(datum, origin)
            if self._closing.is_set():
                return
            self._play(datum)
        while not self._closing.is_set() and not self._all_taken():
            self._rest(LOOK)
        self._status = replace(self._status, ended=not self._closing.is_set())
        while not self._closing.is_set():
            self._rest(LOOK)

    def _play(self, datum: Datum) -> None:
        now = time.time_ns()
        self._writer.put(
            datum._replace(
                actor=self.name,
                captured_ns=now,
                weights_version=0,
                experience=self._rule.experience(datum.visit, datum.visit_time),
            )
        )
        self._captures.append(now)
        self._first_ns, self._last_ns = self._first_ns or now, now
        self._beat()
        self._status = replace(
            self._status,
            world=datum.world,
            visit=datum.visit,
            frames=self._status.frames + 1,
            system_time=datum.system_time,
        )

    def _wait(self, datum: Datum, origin: float | None) -> float | None:
        """Waits until a datum may go out.

        Args:
            datum: The datum.
            origin: Monotonic clock at system time 0 of the recording, speed included; None before the first.

        Returns:
            The origin for the next one: later by what a pause took.
        """
        paused = time.monotonic()
        while self._paused.is_set() and not self._closing.is_set():
            self._rest(LOOK)
        if not self._speed:
            while not self._closing.is_set() and not self._has_room():
                self._rest(LOOK)
            return None
        due = datum.system_time / self._speed
        now = time.monotonic()
        if origin is None:
            return now - due
        origin += now - paused
        while not self._closing.is_set() and (left := origin + due - time.monotonic()) > 0:
            self._rest(min(left, LOOK))
        return origin

    def _has_room(self) -> bool:
        """Whether spool and stream can take one more that nobody will miss."""
        counts = self._writer.counts()
        if counts.spooled >= self._spool:
            return False
        ahead = counts.written + counts.spooled - self._read
        if ahead >= self._room:
            self._read = self._slowest()
            ahead = counts.written + counts.spooled - self._read
        return ahead < self._room

    def _all_taken(self) -> bool:
        """Whether all is written, and read too by those that it waits for."""
        counts = self._writer.counts()
        return not counts.spooled and (self._speed > 0 or self._slowest() >= counts.written)

    def _slowest(self) -> int:
        """Entries of this actor that all have read who must not miss any; 0 while one has not begun."""
        try:
            return slowest(self._client, self._keys, actor=self.name, readers=self._readers)
        except redis.RedisError as error:
            _log.warning("%s: cannot ask how far the readers are: %s", self.name, error)
            return 0

    def _beat(self) -> None:
        self._rounds += 1

    def _rest(self, seconds: float) -> None:
        self._closing.wait(seconds)
        self._beat()

    def _note_damage(self, damage: Damage) -> None:
        _log.error("%s: left out: %s", self.name, damage.reason)
        self._damaged += max(1, damage.data)
