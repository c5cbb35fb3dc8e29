"""Processes of one actor after each other, strangers between them, late answers: each entry counts once."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Redis is untyped in parts.

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import numpy as np
import pytest

from common.errors import WireError
from common.messages import Datum, Labels
from common.stream import CaptureJournal, DropCause, StreamReader, StreamWriter, connect
from common.stream.batch import Batch, Packed
from common.wire import decode, encode
from deploy.store import EmbeddedStore
from tests.common.rig import KEYS, Rig, adds_up, read_all, until

type Make = Callable[..., Datum]
KEY = KEYS.frames("actor-0")


@contextmanager
def standing_still(url: str) -> Generator[None]:
    client = connect(url)
    process = int(client.info("server")["process_id"])
    client.close()
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def labels(**changed: Any) -> Labels:
    usual: dict[str, Any] = {"x": 0.0, "y": 0.0, "heading": 0.0, "depth": np.zeros((3, 3), np.float32), "objects": {}}
    return Labels(**(usual | changed))


def send(rig: Rig, make_datum: Make, first: int, count: int, ordinal: int) -> None:
    """Brings a batch to the server as a process does that dies before it hears of it."""
    batch = Batch([Packed(seq, 1, encode(make_datum(seq=seq))) for seq in range(first, first + count)])
    batch.address(ordinal, KEYS, "actor-0", 1000).execute(rig.client)


def put(rig: Rig, datum: Datum) -> None:
    rig.client.xadd(KEY, cast(Any, encode(datum)), id=f"{datum.seq}-0")


def ordinals(reader: StreamReader) -> list[tuple[int, int]]:
    return [(datum.seq, datum.ordinal) for datum in read_all(reader)]


def test_what_a_process_had_sent_is_counted_in_after_two_deaths(rig: Rig, make_datum: Make) -> None:
    send(rig, make_datum, 1, 5, 0)
    rig.journal.captured = 5
    rig.journal.close()
    second = rig.writer(url="redis://127.0.0.1:1", journal="actor-0.journal")  # never reaches the server
    second.put(make_datum())
    assert second.counts().dropped[DropCause.DIED] == 5
    third = rig.writer(journal="actor-0.journal")
    third.put(make_datum())
    until(lambda: third.counts().spooled == 0)
    third.close()
    counts = third.counts()
    assert (counts.captured, counts.written, counts.dropped[DropCause.DIED]) == (7, 6, 1)
    assert ordinals(rig.reader()) == [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (7, 5)]
    second.close(0.1)


def test_what_a_dead_process_still_has_on_the_wire_comes_too_late(rig: Rig, make_datum: Make) -> None:
    rig.journal.captured = 5
    rig.journal.close()
    writer = rig.writer(journal="actor-0.journal")
    writer.put(make_datum())
    until(lambda: writer.counts().written == 1)
    send(rig, make_datum, 1, 5, 0)  # the network lets go of it now
    writer.put(make_datum())
    until(lambda: writer.counts().written == 2)
    writer.close()
    reader = rig.reader()
    assert ordinals(reader) == [(6, 0), (7, 1)]
    position = reader.positions["actor-0"]
    assert (position.missed, position.duplicates, reader.unread()) == (0, 0, {"actor-0": 0})
    assert writer.counts().dropped[DropCause.DIED] == 5


def test_a_batch_without_an_answer_stays_unsettled_until_the_next_process(rig: Rig, make_datum: Make) -> None:
    writer = rig.writer()
    writer.put(make_datum())
    until(lambda: writer.counts().written == 1)
    with standing_still(rig.url):
        for _ in range(5):
            writer.put(make_datum())
        time.sleep(0.1)
        writer.close(0.2)
        counts = writer.counts()
        assert adds_up(counts)
        assert 1 <= counts.spooled <= 5, "sent, and nobody knows"
        assert counts.spooled + counts.dropped[DropCause.CLOSED] == 5
    unknown = counts.spooled
    time.sleep(1.0)
    busy = rig.client.info("stats")["total_commands_processed"]
    time.sleep(0.3)
    assert rig.client.info("stats")["total_commands_processed"] - busy < 10, "the writer's thread has ended"
    rig.journal.close()
    successor = rig.writer(journal="actor-0.journal")
    successor.put(make_datum())
    until(lambda: successor.counts().spooled == 0)
    successor.close()
    counts = successor.counts()
    assert adds_up(counts)
    read = ordinals(rig.reader())
    assert len(read) == counts.written
    assert [ordinal for _, ordinal in read] == list(range(counts.written))
    assert counts.written + counts.dropped[DropCause.DIED] == 2 + unknown


def test_a_stranger_at_the_end_of_the_stream_keeps_nobody_out(rig: Rig, make_datum: Make) -> None:
    writer, reader = rig.writer(), rig.reader()
    for _ in range(5):
        writer.put(make_datum())
    until(lambda: writer.counts().written == 5)
    reader.refresh()
    assert len(read_all(reader)) == 5
    rig.client.xadd(KEY, {"who": "me"})  # an id that is a time: far beyond any seq
    for _ in range(5):
        assert read_all(reader) == []
    assert reader.positions["actor-0"].foreign == 1
    for _ in range(5):
        writer.put(make_datum())
    until(lambda: writer.counts().written == 10)
    assert writer.failure is None
    writer.close()
    assert ordinals(reader) == [(n + 1, n) for n in range(5, 10)]
    position = reader.positions["actor-0"]
    assert (position.missed, position.quarantined, position.foreign) == (0, 0, 1)
    assert rig.client.xlen(KEYS.quarantine) == 1


@pytest.mark.parametrize("gone", [False, True])
def test_a_stranger_met_at_the_start_keeps_nobody_out(rig: Rig, make_datum: Make, gone: bool) -> None:
    writer = rig.writer()
    for _ in range(5):
        writer.put(make_datum())
    until(lambda: writer.counts().written == 5)
    writer.close()
    rig.journal.close()
    stranger = rig.client.xadd(KEY, {"who": "me"})
    if gone:
        rig.client.xdel(KEY, stranger)
    successor = rig.writer(journal="actor-0.journal")
    successor.put(make_datum())
    until(lambda: successor.counts().written == 6)
    successor.close()
    counts = successor.counts()
    assert (counts.captured, sum(counts.dropped.values())) == (6, 0)
    reader = rig.reader()
    assert ordinals(reader)[-1] == (6, 5)


def test_strangers_between_entries_are_in_no_sum(rig: Rig, make_datum: Make) -> None:
    reader = rig.reader({"actor-0": {}})
    rig.client.sadd(KEYS.actors, "actor-0")
    for seq in range(1, 4):
        put(rig, make_datum(seq=seq, ordinal=seq - 1))
        for sub in (1, 2):
            rig.client.xadd(KEY, {"v": "1", "data": "x" * 100}, id=f"{seq}-{sub}")
        assert len(reader.read()) == 1
        assert reader.read() == []
    rig.client.hset(KEYS.written, "actor-0", 3)
    position = reader.positions["actor-0"]
    assert (position.foreign, position.quarantined, position.missed) == (6, 0, 0)
    assert reader.unread() == {"actor-0": 0}
    again = rig.reader(reader.state())
    assert again.read() == []
    assert again.positions["actor-0"].foreign == 6


def test_a_number_that_cannot_be_blinds_nobody(rig: Rig, make_datum: Make) -> None:
    rig.client.sadd(KEYS.actors, "actor-0")
    for seq in range(1, 6):
        ordinal = 2**40 if seq == 3 else seq - 1
        put(rig, make_datum(seq=seq, ordinal=ordinal))
    reader = rig.reader()
    assert ordinals(reader) == [(1, 0), (2, 1), (4, 3), (5, 4)]
    position = reader.positions["actor-0"]
    assert (position.quarantined, position.missed, position.duplicates) == (1, 0, 0)


def test_an_entry_forged_under_a_free_number_is_in_no_sum(rig: Rig, make_datum: Make) -> None:
    rig.client.sadd(KEYS.actors, "actor-0")
    for seq, ordinal in ((1, 0), (3, 1)):
        if seq == 3:
            rig.client.xadd(KEY, {"actor": "actor-0", "seq": "2"}, id="2-0")
        put(rig, make_datum(seq=seq, ordinal=ordinal))
    reader = rig.reader()
    assert ordinals(reader) == [(1, 0), (3, 1)]
    position = reader.positions["actor-0"]
    assert (position.quarantined, position.foreign, position.missed) == (0, 1, 0)


def test_a_server_that_came_back_empty_knows_its_actors_again(tmp_path: Path, make_datum: Make) -> None:
    store = EmbeddedStore(32 * 2**20, folder=tmp_path / "store")
    rig = Rig(store.url, tmp_path)
    writer = rig.writer()
    for _ in range(5):
        writer.put(make_datum())
    until(lambda: writer.counts().written == 5)
    client = connect(store.url)
    client.flushall()  # as a restart between two frames, which redis-py's pool would bridge without a word
    for _ in range(5):
        writer.put(make_datum())
    until(lambda: writer.counts().written == 10)
    reader = StreamReader(client, keys=KEYS)
    reader.refresh()
    assert ordinals(reader) == [(n + 1, n) for n in range(5, 10)]
    assert reader.positions["actor-0"].missed == 5
    writer.close()
    client.close()
    store.stop()


def test_what_was_written_stays_unread_when_its_server_forgets_it(rig: Rig, make_datum: Make) -> None:
    writer, reader = rig.writer(), rig.reader()
    for _ in range(8):
        writer.put(make_datum())
    until(lambda: writer.counts().written == 8)
    writer.close()
    reader.refresh()
    assert reader.unread() == {"actor-0": 8}
    rig.client.flushall()
    assert reader.unread() == {"actor-0": 8}


class Link:
    """A slow road to the server: so many bytes a second."""

    def __init__(self, url: str, rate: float) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._rate = rate
        self._ended = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(f":{parts.port}", f":{self._listening.getsockname()[1]}")
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._ended:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            far = socket.create_connection(self._target)
            for one, other, rate in ((near, far, self._rate), (far, near, 1e12)):
                threading.Thread(target=self._carry, args=(one, other, rate), daemon=True).start()

    def _carry(self, one: Any, other: Any, rate: float) -> None:
        try:
            while part := one.recv(16384):
                time.sleep(len(part) / rate)
                other.sendall(part)
            other.shutdown(1)
        except OSError:
            one.close()
            other.close()

    def close(self) -> None:
        self._ended = True
        self._listening.close()


@pytest.fixture
def slow(rig: Rig) -> Iterator[Link]:
    link = Link(rig.url, 2e6)
    yield link
    link.close()


def test_a_backlog_goes_over_a_slow_link_in_smaller_batches(rig: Rig, slow: Link, make_datum: Make) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    writer = StreamWriter(
        lambda: connect(slow.url, timeout=1.0), keys=KEYS, actor="actor-0", journal=rig.journal, spool=100
    )
    for _ in range(60):  # 9 MB: four and a half seconds of this link, and 32 frames in more than one
        writer.put(make_datum(data=frame))
    until(lambda: writer.counts().spooled == 0, 40)
    writer.close()
    assert ordinals(rig.reader()) == [(n + 1, n) for n in range(60)]


@pytest.mark.parametrize("name", ["world　日本語", "world ‍👩‍🚀", "世界"])
def test_names_of_any_script_arrive(make_datum: Make, name: str) -> None:
    assert decode(encode(make_datum(world=name))).world == name


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"world": "x" * 201}, "world: 201 bytes"),
        ({"world": "a\nb"}, "control characters"),
        ({"visit_time": float("nan")}, "not finite"),
        ({"action": np.zeros(1025, np.float32)}, "act: 1025 numbers"),
        ({"weights_version": -1}, "whole numbers from 0"),
        ({"captured_ns": 2**63}, "whole numbers from 0"),
        ({"data": np.zeros((8193, 1, 3), np.uint8)}, "three sides"),
        ({"data": {}}, "0 arrays"),
        ({"data": {str(n): np.zeros(1) for n in range(257)}}, "257 arrays"),
        ({"labels": labels(x=float("nan"))}, "pose"),
        ({"labels": labels(depth=np.zeros((2, 2), np.float32))}, "lab: ValueError"),
        ({"labels": labels(objects={"x" * 70000: 1})}, "lab: 70"),
    ],
)
def test_what_no_reader_would_take_is_not_written(rig: Rig, make_datum: Make, fields: Any, complaint: str) -> None:
    with pytest.raises(WireError, match=complaint):
        encode(make_datum(**fields))
    writer = rig.writer()
    writer.put(make_datum(**fields))
    writer.put(make_datum())
    until(lambda: writer.counts().spooled == 0)
    writer.close()
    assert writer.counts().dropped[DropCause.REJECTED] == 1
    assert ordinals(rig.reader()) == [(2, 0)]


def test_a_journal_that_never_reached_the_disk_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "actor-0.journal"
    CaptureJournal(path).close()
    path.write_bytes(bytes(path.stat().st_size))
    journal = CaptureJournal(path)
    assert (journal.captured, journal.generation) == (0, 1)
    journal.close()


def test_a_stranger_amid_a_batch_costs_no_later_frame(rig: Rig, make_datum: Make) -> None:
    writer, reader = rig.writer(), rig.reader()
    for _ in range(5):
        writer.put(make_datum())
    until(lambda: writer.counts().written == 5)
    reader.refresh()
    assert len(ordinals(reader)) == 5
    rig.client.xadd(KEY, {"x": "y"}, id="10-0")
    for _ in range(20):
        writer.put(make_datum())
    until(lambda: writer.counts().spooled == 0)
    writer.close()
    counts, position = writer.counts(), reader.positions["actor-0"]
    read = ordinals(reader)
    assert read[-1] == (25, 24)
    assert (counts.written, counts.captured) == (25, 25)
    assert 5 + len(read) + position.missed == counts.written
    assert position.duplicates == 0
    assert rig.client.hget(KEYS.written, "actor-0") == b"25"


def test_a_key_that_is_no_stream_makes_way(rig: Rig, make_datum: Make) -> None:
    rig.client.set(KEY, "mine")
    writer = rig.writer()
    writer.put(make_datum())
    until(lambda: writer.counts().written == 1)
    rig.client.unlink(KEY)
    rig.client.set(KEY, "mine")
    for _ in range(3):
        writer.put(make_datum())
    until(lambda: writer.counts().written == 4)
    writer.close()
    assert ordinals(rig.reader())[-1] == (4, 3)


def test_one_key_that_is_no_stream_hides_no_other_actor(rig: Rig, make_datum: Make) -> None:
    writer = rig.writer()
    writer.put(make_datum())
    until(lambda: writer.counts().written == 1)
    writer.close()
    rig.client.sadd(KEYS.actors, "stray")
    rig.client.set(KEYS.frames("stray"), "mine")
    assert ordinals(rig.reader()) == [(1, 0)]


def test_what_was_sent_in_a_batch_split_later_is_settled_by_the_next_process(rig: Rig, make_datum: Make) -> None:
    writer = rig.writer()
    writer.put(make_datum())
    until(lambda: writer.counts().written == 1)
    small = np.zeros((4, 4, 3), np.uint8)
    with standing_still(rig.url):
        for _ in range(16):
            writer.put(make_datum(data=small))
        time.sleep(5.0)  # two timeouts: the batch has been split
        writer.close()
        assert (writer.counts().spooled, writer.counts().dropped[DropCause.CLOSED]) == (16, 0)
    heir = rig.writer(journal="actor-0.journal")
    heir.put(make_datum())
    until(lambda: heir.counts().spooled == 0)
    heir.close()
    counts = heir.counts()
    assert min(counts.dropped.values()) == 0
    assert counts.captured == counts.written + sum(counts.dropped.values()) == 18
    assert rig.client.xlen(KEY) == counts.written


def test_a_stranger_below_what_was_given_costs_nothing(rig: Rig, make_datum: Make) -> None:
    send(rig, make_datum, 1, 10, 0)
    rig.client.xadd(KEY, {"x": "y"}, id="10-1")
    rig.journal.captured = 20
    rig.journal.close()
    writer = rig.writer(journal="actor-0.journal")
    writer.put(make_datum())
    until(lambda: writer.counts().spooled == 0)
    writer.close()
    counts = writer.counts()
    assert (counts.written, counts.dropped[DropCause.DIED]) == (11, 10)
    assert len(ordinals(rig.reader())) == 11
