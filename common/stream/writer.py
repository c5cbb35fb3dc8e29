"""The writing end of the replay stream: never blocks the frame loop, never loses a frame uncounted.

    put() ─► spool (bounded in seconds) ─► writer thread ─► MULTI · XADD × n · EXEC ─► acknowledged
                    │ full: the oldest goes, counted          │ error: same batch again, after a pause

The thread waits for the spool to fill or for a back-off to end; `put` wakes it, and never waits for it. A batch goes as
one transaction, so that after a broken connection either all of it or nothing was written, and sending it again is
answered by "ID is equal or smaller" for entries that had arrived.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import redis
import redis.exceptions

from common.messages import Datum
from common.status import WriterCounts
from common.stream.journal import CaptureJournal, DropCause
from common.stream.keys import StreamKeys
from common.wire import Fields, encode

BATCH = 16
FIRST_BACKOFF, LONGEST_BACKOFF = 0.05, 2.0

_log = logging.getLogger(__name__)


class StreamWriter:
    """Writes one actor's data to its Redis Stream on a thread of its own.

    Args:
        connect: Opens a client; called again after each failure.
        keys: Names of the stream's keys.
        actor: The actor's name.
        journal: The actor's counters.
        length: Entries that the stream keeps.
        spool: Frames that may wait in memory while the server is slow or gone.
    """

    def __init__(
        self,
        connect: Callable[[], redis.Redis],
        *,
        keys: StreamKeys,
        actor: str,
        journal: CaptureJournal,
        length: int,
        spool: int,
    ) -> None:
        self._connect = connect
        self._keys = keys
        self._actor = actor
        self._journal = journal
        self._length = length
        self._capacity = spool
        self._spool: deque[Datum] = deque()
        self._in_flight: list[tuple[int, Fields]] = []
        self._wake = threading.Condition()
        self._closing = threading.Event()
        self._inherited = journal.unsettled
        journal.drop(DropCause.DIED, self._inherited)
        self._client: redis.Redis | None = None
        self.connections = 0
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run_safely, name=f"stream-writer-{actor}", daemon=True)
        self._thread.start()

    def put(self, datum: Datum) -> int:
        """Takes a datum for writing and returns at once.

        Args:
            datum: Its `seq` and `ordinal` are given here.

        Returns:
            The `seq` given.
        """
        with self._wake:
            seq = self._journal.captured + 1
            self._journal.captured = seq
            self._spool.append(replace(datum, seq=seq))
            if len(self._spool) + len(self._in_flight) > self._capacity and len(self._spool) > 1:
                self._spool.popleft()
                self._journal.drop(DropCause.SPOOL_FULL)
            self._wake.notify()
        return seq

    def counts(self) -> WriterCounts:
        """Takes the accounting at one moment."""
        with self._wake:
            return WriterCounts(
                captured=self._journal.captured,
                written=self._journal.written,
                dropped=self._journal.dropped,
                spooled=len(self._spool) + len(self._in_flight),
            )

    def close(self, timeout: float = 5.0) -> None:
        """Writes what waits, and ends the thread.

        Gives up at the first error or after `timeout` seconds, and counts the rest as dropped.
        """
        self._closing.set()
        with self._wake:
            self._wake.notify()
        self._thread.join(timeout)
        with self._wake:
            self._journal.drop(DropCause.CLOSED, len(self._spool) + len(self._in_flight))
            self._spool.clear()
            self._in_flight = []

    def _run_safely(self) -> None:
        try:
            self._run()
        except BaseException as error:  # handed to whoever asks for the actor's status
            _log.exception("%s: the writer failed", self._actor)
            self.failure = error

    def _run(self) -> None:
        backoff = FIRST_BACKOFF
        while batch := self._next_batch():
            try:
                self._write(batch)
                backoff = FIRST_BACKOFF
            except redis.exceptions.RedisError as error:
                _log.warning("%s: cannot write (%s: %s); trying again", self._actor, type(error).__name__, error)
                if isinstance(error, redis.ConnectionError | redis.TimeoutError):
                    self._disconnect()
                if self._closing.wait(backoff):
                    return
                backoff = min(2 * backoff, LONGEST_BACKOFF)
        self._disconnect()

    def _next_batch(self) -> list[tuple[int, Fields]]:
        """Waits for data and packs it, as (seq, fields); empty when closing and all is written."""
        with self._wake:
            while not self._in_flight:
                self._wake.wait_for(lambda: self._spool or self._closing.is_set())
                if not self._spool:
                    break
                while self._spool and len(self._in_flight) < BATCH:
                    self._pack(self._spool.popleft())
            return self._in_flight

    def _pack(self, datum: Datum) -> None:
        try:
            self._in_flight.append((datum.seq, encode(datum)))
        except Exception as error:  # whatever a foreign agent collects must not end the thread
            _log.error("%s: cannot pack frame %d: %s: %s", self._actor, datum.seq, type(error).__name__, error)
            self._journal.drop(DropCause.REJECTED)

    def _write(self, batch: list[tuple[int, Fields]]) -> None:
        client = self._client or self._open()
        key = self._keys.frames(self._actor)
        with client.pipeline(transaction=True) as pipeline:  # pyright: ignore[reportUnknownMemberType]
            for index, (seq, fields) in enumerate(batch):
                fields[b"ord"] = b"%d" % (self._journal.written + index)
                pipeline.xadd(key, cast(Any, fields), id=f"{seq}-0", maxlen=self._length, approximate=True)  # pyright: ignore[reportUnknownMemberType]
            pipeline.hset(self._keys.written, self._actor, self._journal.written + len(batch))  # pyright: ignore[reportUnknownMemberType]
            results = cast(list[object], pipeline.execute(raise_on_error=False))  # pyright: ignore[reportUnknownMemberType]
        if error := next((one for one in results if isinstance(one, redis.exceptions.OutOfMemoryError)), None):
            raise error
        with self._wake:
            if self._in_flight is not batch:
                return
            for (seq, _), result in zip(batch, results[: len(batch)], strict=True):
                if isinstance(result, Exception) and "equal or smaller" not in str(result):
                    _log.error("%s: the server rejects entry %d: %s", self._actor, seq, result)
                    self._journal.drop(DropCause.REJECTED)
                else:
                    self._journal.acknowledge(seq)
            self._in_flight = []

    def _open(self) -> redis.Redis:
        """Connects, and settles what a killed predecessor had sent without seeing it acknowledged."""
        client = self._connect()
        cast(Any, client).sadd(self._keys.actors, self._actor)
        if self._inherited:
            since = f"({self._journal.acked}-0"
            arrived = cast(
                list[tuple[bytes, object]],
                client.xrange(self._keys.frames(self._actor), min=since, count=BATCH),  # pyright: ignore[reportUnknownMemberType]
            )
            with self._wake:
                for entry_id, _ in arrived[: self._inherited]:
                    self._journal.drop(DropCause.DIED, -1)
                    self._journal.acknowledge(int(entry_id.split(b"-")[0]))
            self._inherited = 0
        self._client = client
        self.connections += 1
        return client

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
