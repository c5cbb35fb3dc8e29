"""The writing end of the replay stream: never blocks the frame loop, never loses a frame uncounted.

    put() ─► spool (bounded in frames and bytes) ─► writer thread: pack ─► MULTI · XADD × n · EXEC ─► acknowledged
                    │ full: the oldest goes, counted                 │ error: same batch again, after a pause

The thread waits for data or for a back-off to end; `put` wakes it, and never waits for it. A batch ends with its frames
or its bytes, or two milliseconds after its first frame; it is packed outside the lock and goes as one transaction, so
that after a broken connection either all of it or nothing was written: the total that the same transaction writes tells
which. Batches shrink while they take longer than a reply may, and grow again.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import redis
import redis.exceptions

from common.codec import Codec
from common.errors import StreamError
from common.messages import Datum
from common.signing import Signer
from common.status import WriterCounts
from common.stream.batch import Batch, Packed, Waiting
from common.stream.journal import CaptureJournal, DropCause
from common.stream.keys import StreamKeys
from common.stream.retention import Retention
from common.stream.takeover import TAKEN, WRONG_TYPE, arrived_since, own_among, survey
from common.stream.transaction import Transaction
from common.wire import encode

BATCH = 32
"""Entries a transaction carries at most."""
BATCH_BYTES = 4096 * 2**10
"""Bytes of data after which a batch takes no more: a long transaction holds up the server for everybody."""
LINGER = 0.002
"""Seconds that a batch waits for company."""
FIRST_BACKOFF, LONGEST_BACKOFF = 0.05, 2.0

_MOVED = (redis.ConnectionError, redis.TimeoutError, redis.exceptions.ReadOnlyError, redis.exceptions.MovedError)
"""Failures after which the server, or its successor behind the same name, is to be looked up anew."""

_log = logging.getLogger(__name__)


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
        key: Key that entries are signed with; that of this process by default, and none where it has none.
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
        key: bytes | None = None,
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
        self._signer = Signer.of(keys.stream, key)
        self._spool: deque[Waiting] = deque()
        self._spool_bytes = 0
        self._taken = 0
        self._in_flight, self._prepared = Batch([]), Batch([])
        self._most = BATCH
        self._wake = threading.Condition()
        self._closing = threading.Event()
        self._given_up = False
        self._given_before = journal.captured
        journal.drop(DropCause.DIED, journal.unsettled)
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
            self._spool.append(Waiting(seq, size, datum))
            self._spool_bytes += size
            while len(self._spool) > 1 and self._full():
                self._spool_bytes -= self._spool.popleft().size
                self._journal.drop(DropCause.SPOOL_FULL)
            if len(self._spool) == 1:
                self._wake.notify()
        return seq

    def refuse(self) -> None:
        """Counts a frame that was captured and is not fit to be written."""
        with self._wake:
            self._journal.captured += 1
            self._journal.drop(DropCause.UNFIT)

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

        Gives up at the first error or after `timeout` seconds. What was never sent is then counted as dropped; what was
        sent without an answer stays unsettled (`spooled`) until the actor's next process finds out.
        """
        self._closing.set()
        with self._wake:
            self._wake.notify()
        self._thread.join(timeout)
        with self._wake:
            unknown = self._in_flight.sent + self._prepared.sent
            self._journal.drop(DropCause.CLOSED, len(self._spool) + self._taken - unknown)
            self._spool.clear()
            self._spool_bytes, self._taken = 0, unknown
            self._given_up = True

    def _run_safely(self) -> None:
        try:
            self._run()
        except BaseException as error:  # handed to whoever asks for the actor's status
            _log.exception("%s: the writer failed", self._actor)
            self.failure = error
        finally:
            self._disconnect()

    def _run(self) -> None:
        backoff = FIRST_BACKOFF
        while not self._given_up and (batch := self._next_batch()).entries:
            try:
                self._write(batch)
                backoff = FIRST_BACKOFF
            except redis.exceptions.RedisError as error:
                _log.warning("%s: cannot write (%s: %s); trying again", self._actor, type(error).__name__, error)
                if isinstance(error, _MOVED):
                    self._disconnect()
                if isinstance(error, redis.TimeoutError):
                    self._most = max(1, len(batch.entries) // 2)
                if self._closing.wait(backoff):
                    return
                backoff = min(2 * backoff, LONGEST_BACKOFF)

    def _next_batch(self) -> Batch:
        """Gives the batch that is under way or prepared, or waits for one; empty when closing and all is written."""
        if not self._in_flight.entries:
            self._in_flight, self._prepared = self._prepared, Batch([])
        while not self._in_flight.entries:
            with self._wake:
                self._wake.wait_for(lambda: self._spool or self._closing.is_set())
            if not self._plenty() and not self._closing.is_set():
                self._closing.wait(LINGER)
            taken = self._take()
            if not taken:
                break
            self._in_flight = self._packed(taken)
        if len(self._in_flight.entries) > self._most:
            self._split()
        return self._in_flight

    def _split(self) -> None:
        """Puts what is too much for one transaction now before what is prepared."""
        whole, later = self._in_flight, self._prepared
        rest = whole.entries[self._most :] + later.entries
        with self._wake:
            self._in_flight = Batch(whole.entries[: self._most], sent=min(whole.sent, self._most))
            self._prepared = Batch(rest, sent=whole.sent - self._in_flight.sent + later.sent)

    def _prepare(self) -> None:
        """Packs the batch after the one under way, so that the server need not wait for it."""
        if self._plenty() and not self._prepared.entries:
            self._prepared = self._packed(self._take())
            self._address(self._prepared, self._journal.written + len(self._in_flight.entries))

    def _plenty(self) -> bool:
        return len(self._spool) >= BATCH or self._spool_bytes >= BATCH_BYTES

    def _take(self) -> list[Waiting]:
        """Takes one batch out of the spool; they count as waiting until they are acknowledged or dropped."""
        taken: list[Waiting] = []
        size = 0
        with self._wake:
            while self._spool and len(taken) < self._most and size < BATCH_BYTES:
                taken.append(self._spool.popleft())
                size += taken[-1].size
            self._spool_bytes -= size
            self._taken += len(taken)
        return taken

    def _packed(self, taken: list[Waiting]) -> Batch:
        packed = [one for waiting in taken if (one := self._pack(waiting)) is not None]
        with self._wake:
            if not self._given_up:
                self._journal.drop(DropCause.REJECTED, len(taken) - len(packed))
                self._taken -= len(taken) - len(packed)
        return Batch(packed)

    def _pack(self, waiting: Waiting) -> Packed | None:
        datum = waiting.datum
        try:
            fields = encode(datum, self._codec, self._quality)
        except Exception as error:  # whatever a foreign agent collects must not end the thread
            _log.error("%s: cannot pack frame %d: %s: %s", self._actor, waiting.seq, type(error).__name__, error)
            return None
        self._retention.add(sum(map(len, fields.values())))
        return Packed(waiting.seq, datum.captured_ns, fields)

    def _address(self, batch: Batch, ordinal: int) -> Transaction:
        return batch.address(ordinal, self._keys, self._actor, self._retention.length, self._signer)

    def _write(self, batch: Batch) -> None:
        client = self._client or self._open()
        ordinal = self._journal.written
        before = batch.sent
        if before and self._total(client) >= ordinal + len(batch.entries):
            self._acknowledge(batch)
            return
        transaction = batch.transaction
        if transaction is None or batch.ordinal != ordinal:
            transaction = self._address(batch, ordinal)
        with self._wake:
            if self._given_up:
                return
            batch.sent, batch.transaction = len(batch.entries), None
        try:
            results = transaction.execute(client, meanwhile=self._prepare)
        except redis.ResponseError:  # refused as a whole: nothing of it was done
            batch.sent = before
            raise
        if not self._arrived(client, batch, results[: len(batch.entries)], before):
            batch.sent = 0
            return
        self._acknowledge(batch)
        self._most = min(BATCH, self._most + 1)

    def _arrived(self, client: redis.Redis, batch: Batch, results: list[object], before: int) -> bool:
        """Finds out whether all of a batch is in the stream; where something keeps entries out, begins it anew.

        None may be left out alone: the numbers that the others got count all of them.

        Args:
            client: The server.
            batch: What was sent.
            results: Of each entry.
            before: How many of them, from the first, an earlier attempt may have brought.

        Raises:
            StreamError: Another process of this name.
            redis.ResponseError: The server refuses an entry for a reason of its own.
        """
        errors = {index: result for index, result in enumerate(results) if isinstance(result, redis.ResponseError)}
        if not errors:
            return True
        for error in errors.values():
            if TAKEN not in str(error) and WRONG_TYPE not in str(error):
                raise error
        key, refused = self._keys.frames(self._actor), [batch.entries[index].seq for index in errors]
        later = [entry.seq for index, entry in enumerate(batch.entries) if index > max(errors)]
        remains = survey(client, key, self._actor, below=later[0] if later else None, signer=self._signer)
        ours = remains is not None and remains.seq >= refused[0]
        if max(errors) < before and (
            ours
            or own_among(client, key, self._actor, refused[0], refused[-1], signer=self._signer).issuperset(refused)
        ):
            return True
        if ours:
            raise StreamError(f"another process writes the stream of {self._actor}: give each actor a name of its own")
        _log.error("%s: a stranger keeps our entries out of %s; the stream begins anew", self._actor, key)
        client.unlink(key)
        return False

    def _acknowledge(self, batch: Batch) -> None:
        """Counts a batch in."""
        moment = time.time_ns()
        with self._wake:
            if self._given_up:
                return
            for entry in batch.entries:
                self._journal.acknowledge(entry.seq)
            self._taken -= len(batch.entries)
            self._in_flight = Batch([])
        for entry in batch.entries:
            self._written((moment - entry.captured_ns) / 1e9)

    def _open(self) -> redis.Redis:
        """Connects; the first time, settles what an earlier process of this actor has left behind."""
        client = self._connect()
        try:
            cast(Any, client).sadd(self._keys.actors, self._actor)
            if not self.connections:
                self._settle(client)
            if self._total(client) < self._journal.written:
                cast(Any, client).hset(self._keys.written, self._actor, self._journal.written)
        except redis.RedisError:
            client.close()
            raise
        self._client = client
        self.connections += 1
        return client

    def _total(self, client: redis.Redis) -> int:
        """Entries that the server says it has ever had of this actor."""
        total: bytes = cast(Any, client).hget(self._keys.written, self._actor) or b""
        return int(total) if total.isdigit() else 0

    def _settle(self, client: redis.Redis) -> None:
        """Counts in what a killed predecessor had sent unacknowledged, or all that a lost journal had known of."""
        key = self._keys.frames(self._actor)
        remains = survey(client, key, self._actor, signer=self._signer)
        if remains is not None and remains.length:
            self._retention.inherit(remains.length, remains.size)
            if remains.seq > self._given_before:
                self._renumber(remains.seq, max(self._total(client), remains.ordinal + 1))
                return
        since = self._journal.acked, self._given_before
        find = partial(arrived_since, client, key, self._actor, acked=since[0], given=since[1], signer=self._signer)
        if (arrived := find()) is None:
            _log.error("%s: a stranger keeps our entries out of %s; the stream begins anew", self._actor, key)
            client.unlink(key)
            arrived = find() or []
        with self._wake:
            for seq in arrived:
                self._journal.drop(DropCause.DIED, -1)
                self._journal.acknowledge(seq)

    def _renumber(self, last: int, written: int) -> None:
        """Moves the frames captured so far behind the last `seq` of a journal that was lost with its host."""
        with self._wake:
            shift = last - self._given_before
            since = self._journal.captured - self._given_before
            self._spool = deque(waiting._replace(seq=waiting.seq + shift) for waiting in self._spool)
            for batch in (self._in_flight, self._prepared):
                batch.entries = [packed._replace(seq=packed.seq + shift) for packed in batch.entries]
            self._journal.catch_up(last, min(last, max(written, self._journal.written)), since)
        _log.warning("%s: its journal was lost; goes on after frame %d", self._actor, last)

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _size(datum: Datum) -> int:
    """Bytes of a datum's arrays; 0 for what is none, which packing will refuse."""
    data = datum.data
    arrays = data.values() if isinstance(data, Mapping) else (data,)
    return sum(getattr(array, "nbytes", 0) for array in arrays)
