"""From the stream into the replay buffer: a thread that reads, decides what may be trained on, and counts everything.

    StreamReader ─► exposure rule ─► DataCollector (bounded) ─► DataUser.update() in the training thread ─► buffer

The thread polls every 20 ms; when the collector is nearly full it stops reading, and the frames wait in Redis until the
training thread has taken some.
"""

import logging
import math
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import redis
from pamiq_core.data import DataCollector

from common.codec import frame_shape
from common.exposure import Exposure, ExposureRule
from common.messages import Datum
from common.status import ReaderCounts
from common.stream import StreamReader

POLL = 0.02
REFRESH = 1.0
CROWDED = 0.005
"""Seconds between two looks whether the training thread has taken what was collected."""
ROOM = 256
"""Collected frames that may wait for the training thread; beyond, they wait in Redis."""

FATES = ("gated", "guard", "withheld", "admitted")
"""What becomes of an entry that was read, as `ReaderCounts` names it."""

_log = logging.getLogger(__name__)


class Ingest:
    """Feeds one pamiq-core buffer from the stream.

    Args:
        reader: The stream, at the position to go on from.
        rule: Says what may be trained on.
        collectors: pamiq-core collector of each buffer that is fed.
        image_shape: Shape that frames must have, (H, W, 3); others are gated.
        counts: Counters to go on from, as `state()` gave them.
        noted: Called with each datum that is admitted.
        stale: Says whether the weights that acted on a datum were too old; it is gated then.
        passed: Called with every datum that was read, whatever becomes of it.
        told_as: Name under which a writer that waits is told how far the reader is; empty where nobody waits.
        hold: Says that nothing is to be read now: a step is due, and whoever writes waits.
        allowed: Says of an actor whether it may have brought one more; its datum is gated else.
    """

    def __init__(
        self,
        reader: StreamReader,
        *,
        rule: ExposureRule,
        collectors: Mapping[str, DataCollector[Any]],
        image_shape: tuple[int, int, int],
        counts: Mapping[str, Mapping[str, int]] | None = None,
        noted: Callable[[Datum], None],
        stale: Callable[[Datum], bool] = lambda datum: False,
        passed: Callable[[Datum], None] = lambda datum: None,
        told_as: str = "",
        hold: Callable[[], bool] = lambda: False,
        allowed: Callable[[str], bool] = lambda actor: True,
    ) -> None:
        self._reader = reader
        self._rule = rule
        self._collectors = collectors
        self._image_shape = image_shape
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for actor, kept in (counts or {}).items():
            self._counts[actor].update(kept)
        self._lock = threading.Lock()
        self._added = 0
        self._collected = 0
        self._noted = noted
        self._stale = stale
        self._passed = passed
        self._told_as = told_as
        self._hold = hold
        self._allowed = allowed
        self._stop = threading.Event()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run_safely, name="ingest", daemon=True)

    def start(self) -> None:
        """Begins to read."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join(5.0)

    def note_added(self) -> None:
        """Tells that one collected frame has reached its buffer."""
        self._added += 1

    @property
    def resets(self) -> int:
        """Times the server was found restarted."""
        return self._reader.resets

    def hold(self) -> threading.Lock:
        """A lock that, while held, stands the ingest still between two reads: for a consistent checkpoint."""
        return self._lock

    def state(self) -> dict[str, Any]:
        """Positions and counters as JSON-able values; take it while holding `hold()` with nothing in the collectors."""
        return {
            "positions": self._reader.state(),
            "counts": {actor: dict(counter) for actor, counter in self._counts.items()},
        }

    def drained(self) -> bool:
        """Says whether the server answers and nothing is unread."""
        with self._lock:
            try:
                return not any(self._reader.unread().values())
            except redis.RedisError:
                return False

    def counts(self) -> dict[str, ReaderCounts]:
        """Takes the accounting of each actor at one moment; while the server is away, by what it had said last."""
        with self._lock:
            try:
                unread = self._reader.unread()
            except redis.RedisError as error:
                _log.debug("cannot count what is unread: %s", error)
                unread = self._reader.unread_lately()
            return {
                actor: ReaderCounts(
                    unread=unread[actor],
                    missed=position.missed,
                    quarantined=position.quarantined,
                    duplicates=position.duplicates,
                    foreign=position.foreign,
                    **{fate: self._counts[actor][fate] for fate in FATES},
                )
                for actor, position in self._reader.positions.items()
            }

    def _run_safely(self) -> None:
        try:
            self._run()
        except BaseException as error:  # handed to whoever asks for the learner's status
            _log.exception("the ingest thread failed")
            self.failure = error

    def _run(self) -> None:
        looked = -math.inf
        while not self._stop.is_set():
            try:
                if time.monotonic() - looked >= REFRESH:
                    with self._lock:
                        self._reader.refresh()
                        if self._told_as:
                            self._reader.tell(self._told_as)
                    looked = time.monotonic()
                if full := self._collected - self._added >= ROOM or self._hold():
                    self._stop.wait(CROWDED)
                with self._lock:
                    data = [] if full else self._reader.read()
                    for datum in data:
                        self._take(datum)
                busy = full or bool(data)
            except redis.RedisError as error:
                _log.warning("cannot read the stream (%s: %s); trying again", type(error).__name__, error)
                busy = False
                looked = -math.inf
                self._stop.wait(0.5)
            if not busy:
                self._stop.wait(POLL)

    def _take(self, datum: Datum) -> None:
        self._passed(datum)
        counter = self._counts[datum.actor]
        collector = self._collectors.get(datum.buffer)
        misnamed = datum.experience != self._rule.experience(datum.visit, datum.visit_time)
        fits = collector is not None and not misnamed and frame_shape(datum.data) == self._image_shape
        if collector is None or not fits or self._stale(datum) or not self._allowed(datum.actor):
            counter["gated"] += 1
            return
        match self._rule.classify(datum.visit, datum.visit_time):
            case Exposure.GUARD:
                counter["guard"] += 1
            case Exposure.WITHHELD:
                counter["withheld"] += 1
            case Exposure.EXPOSED:
                counter["admitted"] += 1
                self._collected += 1
                collector.collect(datum)
                self._noted(datum)
