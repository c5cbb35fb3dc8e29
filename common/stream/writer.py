"""The writing end of the replay stream: never blocks the frame loop, never loses a frame uncounted.

    put() ─► spool (bounded in frames and bytes) ─► writer thread: pack ─► MULTI · XADD × n · EXEC ─► acknowledged
                    │ full: the oldest goes, counted                 │ error: same batch again, after a pause

The thread waits for data or for a back-off to end; `put` wakes it, and never waits for it. A batch ends with its frames
or its bytes, or when nothing more has come for a few milliseconds; it is packed outside the lock and goes as one
transaction, so that after a broken connection either all of it or nothing was written, and sending it again is
answered by "ID is equal or smaller" for entries that had arrived.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, cast

import redis
import redis.exceptions

from common.codec import Codec
from common.messages import Datum
from common.status import WriterCounts
from common.stream.journal import CaptureJournal, DropCause
from common.stream.keys import StreamKeys
from common.stream.transaction import Argument, transact
from common.wire import Fields, encode

BATCH = 32
"""Entries a transaction carries at most."""
BATCH_BYTES = 2 * 2**20
"""Bytes of data after which a batch takes no more: a long transaction holds up the server for everybody."""
LINGER = 0.002
"""Seconds that a batch waits for company."""
FIRST_BACKOFF, LONGEST_BACKOFF = 0.05, 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Packed:
    """One entry ready to go."""

    seq: int
    captured_ns: int
    fields: Fields


class StreamWriter:
    """Writes one actor's data to its Redis Stream on a thread of its own.

    Args:
        connect: Opens a client; called again after each failure.
        keys: Names of the stream's keys.
        actor: The actor's name.
        journal: The actor's counters.
        length: Entries that the stream keeps.
        spool: Frames that may wait in memory while the server is slow or gone.
        spool_bytes: Bytes of data that may wait; whichever bound is reached first counts.
        codec: How frames are packed.
        quality: Of JPEG, 1 to 100.
        written: Told of each acknowledged entry how long it took since capture, seconds.
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
        spool_bytes: int = 2**30,
        codec: Codec = Codec.RAW,
        quality: int = 95,
        written: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._connect = connect
        self._keys = keys
        self._actor = actor
        self._journal = journal
        self._length = length
        self._capacity = spool
        self._capacity_bytes = spool_bytes
        self._codec = codec
        self._quality = quality
        self._written = written
        self._spool: deque[Datum] = deque()
        self._spool_bytes = 0
        self._taken = 0
        self._in_flight: list[_Packed] = []
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
            self._spool_bytes += _size(datum)
            while len(self._spool) > 1 and self._full():
                self._spool_bytes -= _size(self._spool.popleft())
                self._journal.drop(DropCause.SPOOL_FULL)
            if len(self._spool) == 1:
                self._wake.notify()
        return seq

    def _full(self) -> bool:
        return len(self._spool) + self._taken > self._capacity or self._spool_bytes > self._capacity_bytes

    def counts(self) -> WriterCounts:
        """Takes the accounting at one moment."""
        with self._wake:
            return WriterCounts(
                captured=self._journal.captured,
                written=self._journal.written,
                dropped=self._journal.dropped,
                spooled=len(self._spool) + self._taken,
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
            self._journal.drop(DropCause.CLOSED, len(self._spool) + self._taken)
            self._spool.clear()
            self._spool_bytes = self._taken = 0
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

    def _next_batch(self) -> list[_Packed]:
        """Waits for data and packs it; empty when closing and all is written."""
        while not self._in_flight:
            taken = self._take()
            if not taken:
                break
            packed = [one for datum in taken if (one := self._pack(datum)) is not None]
            with self._wake:
                if self._taken:  # otherwise `close` has given up and counted them
                    self._journal.drop(DropCause.REJECTED, len(taken) - len(packed))
                    self._taken = len(packed)
                    self._in_flight = packed
        return self._in_flight

    def _take(self) -> list[Datum]:
        """Takes one batch out of the spool; they count as waiting until they are acknowledged or dropped."""
        with self._wake:
            self._wake.wait_for(lambda: self._spool or self._closing.is_set())
        if len(self._spool) < BATCH and not self._closing.is_set():
            self._closing.wait(LINGER)
        taken: list[Datum] = []
        size = 0
        with self._wake:
            while self._spool and len(taken) < BATCH and size < BATCH_BYTES:
                taken.append(self._spool.popleft())
                size += _size(taken[-1])
            self._spool_bytes -= size
            self._taken = len(taken)
        return taken

    def _pack(self, datum: Datum) -> _Packed | None:
        try:
            return _Packed(datum.seq, datum.captured_ns, encode(datum, self._codec, self._quality))
        except Exception as error:  # whatever a foreign agent collects must not end the thread
            _log.error("%s: cannot pack frame %d: %s: %s", self._actor, datum.seq, type(error).__name__, error)
            return None

    def _write(self, batch: list[_Packed]) -> None:
        client = self._client or self._open()
        key = self._keys.frames(self._actor)
        now = b"%d" % time.time_ns()
        commands: list[tuple[Argument, ...]] = []
        for ordinal, entry in enumerate(batch, self._journal.written):
            entry.fields.update({b"ord": b"%d" % ordinal, b"st": now})
            pieces = chain.from_iterable(entry.fields.items())
            commands.append(("XADD", key, "MAXLEN", "~", self._length, f"{entry.seq}-0", *pieces))
        commands.append(("HSET", self._keys.written, self._actor, self._journal.written + len(batch)))
        results = transact(client, commands)
        if error := next((one for one in results if isinstance(one, redis.exceptions.OutOfMemoryError)), None):
            raise error
        moment = time.time_ns()
        with self._wake:
            if self._in_flight is not batch:
                return
            for entry, result in zip(batch, results[: len(batch)], strict=True):
                if isinstance(result, Exception) and "equal or smaller" not in str(result):
                    _log.error("%s: the server rejects entry %d: %s", self._actor, entry.seq, result)
                    self._journal.drop(DropCause.REJECTED)
                else:
                    self._journal.acknowledge(entry.seq)
                    self._written((moment - entry.captured_ns) / 1e9)
            self._taken = 0
            self._in_flight = []

    def _open(self) -> redis.Redis:
        """Connects, and settles what a killed predecessor had sent without seeing it acknowledged."""
        client = self._connect()
        try:
            cast(Any, client).sadd(self._keys.actors, self._actor)
            if self._inherited:
                self._settle(client)
        except redis.RedisError:
            client.close()
            raise
        self._client = client
        self.connections += 1
        return client

    def _settle(self, client: redis.Redis) -> None:
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

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _size(datum: Datum) -> int:
    """Bytes of a datum's arrays; 0 for what is none, which packing will refuse."""
    data = datum.data
    arrays = data.values() if isinstance(data, Mapping) else (data,)
    return sum(getattr(array, "nbytes", 0) for array in arrays)
