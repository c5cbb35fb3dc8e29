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
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, cast

import redis
import redis.exceptions

from common.codec import Codec
from common.errors import StreamError
from common.messages import Datum
from common.status import WriterCounts
from common.stream.journal import CaptureJournal, DropCause
from common.stream.keys import StreamKeys
from common.stream.retention import Retention
from common.stream.transaction import Command, Transaction
from common.wire import Fields, encode

BATCH = 32
"""Entries a transaction carries at most."""
BATCH_BYTES = 4096 * 2**10
"""Bytes of data after which a batch takes no more: a long transaction holds up the server for everybody."""
LINGER = 0.002
"""Seconds that a batch waits for company."""
FIRST_BACKOFF, LONGEST_BACKOFF = 0.05, 2.0

_log = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    """One datum in the spool, with the bytes of its arrays."""

    seq: int
    size: int
    datum: Datum


class _Packed(NamedTuple):
    """One entry ready to go."""

    seq: int
    captured_ns: int
    fields: Fields


@dataclass(slots=True)
class _Batch:
    """Entries that go as one transaction, which is packed for the place in the stream that they should get.

    Attributes:
        entries: In the order of capture.
        ordinal: `ord` of the first, as the transaction has it.
        transaction: The packed commands; None when they must be packed anew.
        sent: They may have arrived.
    """

    entries: list[_Packed]
    ordinal: int = -1
    transaction: Transaction | None = None
    sent: bool = False


class StreamWriter:
    """Writes one actor's data to its Redis Stream on a thread of its own.

    Args:
        connect: Opens a client; called again after each failure.
        keys: Names of the stream's keys.
        actor: The actor's name.
        journal: The actor's counters.
        budget: Bytes that the stream may hold; its length follows from the sizes of the entries.
        length: Entries that it keeps at most.
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
        budget: int = 2**62,
        length: int = 2**31,
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
        self._retention = Retention(budget, length)
        self._capacity = spool
        self._capacity_bytes = spool_bytes
        self._codec = codec
        self._quality = quality
        self._written = written
        self._spool: deque[_Waiting] = deque()
        self._spool_bytes = 0
        self._taken = 0
        self._in_flight = self._prepared = _Batch([])
        self._wake = threading.Condition()
        self._closing = threading.Event()
        self._given_up = False
        self._given_before = journal.captured
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
            datum: Frame with its context; `seq`, `ordinal` and `sent_ns` are given on the way.

        Returns:
            The `seq` given.
        """
        size = _size(datum)
        with self._wake:
            seq = self._journal.captured + 1
            self._journal.captured = seq
            self._spool.append(_Waiting(seq, size, datum))
            self._spool_bytes += size
            while len(self._spool) > 1 and self._full():
                self._spool_bytes -= self._spool.popleft().size
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
            self._given_up = True

    def _run_safely(self) -> None:
        try:
            self._run()
        except BaseException as error:  # handed to whoever asks for the actor's status
            _log.exception("%s: the writer failed", self._actor)
            self.failure = error

    def _run(self) -> None:
        backoff = FIRST_BACKOFF
        while (batch := self._next_batch()).entries:
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

    def _next_batch(self) -> _Batch:
        """Gives the batch that is under way or prepared, or waits for one; empty when closing and all is written."""
        if not self._in_flight.entries:
            self._in_flight, self._prepared = self._prepared, _Batch([])
        while not self._in_flight.entries:
            with self._wake:
                self._wake.wait_for(lambda: self._spool or self._closing.is_set())
            if not self._plenty() and not self._closing.is_set():
                self._closing.wait(LINGER)
            taken = self._take()
            if not taken:
                break
            self._in_flight = self._packed(taken)
        return self._in_flight

    def _prepare(self) -> None:
        """Packs the batch after the one under way, so that the server need not wait for it."""
        if self._plenty() and not self._prepared.entries:
            self._prepared = self._packed(self._take())
            self._address(self._prepared, self._journal.written + len(self._in_flight.entries))

    def _plenty(self) -> bool:
        return len(self._spool) >= BATCH or self._spool_bytes >= BATCH_BYTES

    def _take(self) -> list[_Waiting]:
        """Takes one batch out of the spool; they count as waiting until they are acknowledged or dropped."""
        taken: list[_Waiting] = []
        size = 0
        with self._wake:
            while self._spool and len(taken) < BATCH and size < BATCH_BYTES:
                taken.append(self._spool.popleft())
                size += taken[-1].size
            self._spool_bytes -= size
            self._taken += len(taken)
        return taken

    def _packed(self, taken: list[_Waiting]) -> _Batch:
        packed = [one for waiting in taken if (one := self._pack(waiting)) is not None]
        with self._wake:
            if not self._given_up:
                self._journal.drop(DropCause.REJECTED, len(taken) - len(packed))
                self._taken -= len(taken) - len(packed)
        return _Batch(packed)

    def _pack(self, waiting: _Waiting) -> _Packed | None:
        datum = waiting.datum
        try:
            fields = encode(datum, self._codec, self._quality)
        except Exception as error:  # whatever a foreign agent collects must not end the thread
            _log.error("%s: cannot pack frame %d: %s: %s", self._actor, waiting.seq, type(error).__name__, error)
            return None
        self._retention.add(sum(map(len, fields.values())))
        return _Packed(waiting.seq, datum.captured_ns, fields)

    def _address(self, batch: _Batch, ordinal: int) -> Transaction:
        """Packs the commands that write a batch to its place in the stream, `ordinal` entries after its beginning."""
        key = self._keys.frames(self._actor)
        length = self._retention.length
        now = b"%d" % time.time_ns()
        commands: list[Command] = []
        for number, (seq, _, fields) in enumerate(batch.entries, ordinal):
            fields |= {b"seq": b"%d" % seq, b"ord": b"%d" % number, b"st": now}
            *words, data = chain.from_iterable(fields.items())
            commands.append(Command(("XADD", key, "MAXLEN", "~", length, f"{seq}-0", *words), data))
        commands.append(Command(("HSET", self._keys.written, self._actor, ordinal + len(batch.entries))))
        batch.ordinal, batch.transaction = ordinal, Transaction(commands)
        return batch.transaction

    def _write(self, batch: _Batch) -> None:
        client = self._client or self._open()
        transaction, ordinal = batch.transaction, self._journal.written
        if transaction is None or batch.ordinal != ordinal:
            transaction = self._address(batch, ordinal)
        before, batch.sent, batch.transaction = batch.sent, True, None
        results = transaction.execute(client, meanwhile=self._prepare)
        if error := next((one for one in results if isinstance(one, redis.exceptions.OutOfMemoryError)), None):
            raise error
        there = [isinstance(result, Exception) and "equal or smaller" in str(result) for result in results]
        if any(there) and not before:
            raise StreamError(f"another process writes the stream of {self._actor}: give each actor a name of its own")
        moment = time.time_ns()
        with self._wake:
            if self._given_up:
                return
            for entry, result, known in zip(batch.entries, results, there, strict=False):
                if isinstance(result, Exception) and not known:
                    _log.error("%s: the server rejects entry %d: %s", self._actor, entry.seq, result)
                    self._journal.drop(DropCause.REJECTED)
                else:
                    self._journal.acknowledge(entry.seq)
                    self._written((moment - entry.captured_ns) / 1e9)
            self._taken -= len(batch.entries)
            self._in_flight = _Batch([])

    def _open(self) -> redis.Redis:
        """Connects; the first time, settles what an earlier process of this actor has left behind."""
        client = self._connect()
        try:
            cast(Any, client).sadd(self._keys.actors, self._actor)
            if not self.connections:
                self._settle(client)
        except redis.RedisError:
            client.close()
            raise
        self._client = client
        self.connections += 1
        return client

    def _settle(self, client: redis.Redis) -> None:
        """Counts in what a killed predecessor had sent unacknowledged, or all that a lost journal had known of."""
        key, known = self._keys.frames(self._actor), cast(Any, client)
        if not client.exists(key):
            return
        found: dict[str, Any] = known.xinfo_stream(key)
        last = _seq(found["last-generated-id"])
        if found["first-entry"]:
            self._retention.inherit(found["length"], sum(map(len, found["first-entry"][1].values())))
        if last > self._given_before:
            written = int(known.hget(self._keys.written, self._actor) or 0)
            newest = int(found["last-entry"][1].get(b"ord", -1)) if found["last-entry"] else -1
            self._renumber(last, max(written, newest + 1))
            return
        arrived: list[tuple[bytes, object]] = known.xrange(key, min=f"({self._journal.acked}-0", count=BATCH)
        with self._wake:
            for entry_id, _ in arrived[: self._inherited]:
                self._journal.drop(DropCause.DIED, -1)
                self._journal.acknowledge(_seq(entry_id))
        self._inherited = 0

    def _renumber(self, last: int, written: int) -> None:
        """Moves the frames captured so far behind the last `seq` of a journal that was lost with its host."""
        with self._wake:
            shift = last - self._given_before
            since = self._journal.captured - self._given_before
            self._spool = deque(waiting._replace(seq=waiting.seq + shift) for waiting in self._spool)
            entries = self._in_flight.entries
            entries[:] = [packed._replace(seq=packed.seq + shift) for packed in entries]
            self._journal.catch_up(last, max(written, self._journal.written), since)
        _log.warning("%s: its journal was lost; goes on after frame %d", self._actor, last)

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _seq(entry_id: bytes) -> int:
    return int(entry_id.split(b"-")[0])


def _size(datum: Datum) -> int:
    """Bytes of a datum's arrays; 0 for what is none, which packing will refuse."""
    data = datum.data
    arrays = data.values() if isinstance(data, Mapping) else (data,)
    return sum(getattr(array, "nbytes", 0) for array in arrays)
