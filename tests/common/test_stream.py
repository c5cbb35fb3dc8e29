# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Redis, Ray and Arrow are untyped in parts.

import socketserver
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import redis

from common.errors import ConfigError, StreamError
from common.messages import Datum
from common.stream import (
    CaptureJournal,
    DropCause,
    Heartbeat,
    StreamReader,
    StreamWriter,
    check_server,
    connect,
    last_beats,
    redact,
    remove,
)
from common.wire import encode
from deploy.store import EmbeddedStore
from tests.common.rig import KEYS, Rig, adds_up, read_all, until
from tests.security.servers import own_server

type Make = Callable[..., Datum]


def test_everything_written_is_read_once_and_in_order(rig: Rig, make_datum: Make) -> None:
    writer = rig.writer()
    for _ in range(100):
        writer.put(make_datum())
    writer.close()
    assert writer.counts().written == 100
    data = read_all(rig.reader())
    assert [datum.seq for datum in data] == list(range(1, 101))
    assert [datum.ordinal for datum in data] == list(range(100))


def test_two_readers_leave_each_other_alone_and_a_position_can_be_taken_up_again(rig: Rig, make_datum: Make) -> None:
    writer = rig.writer()
    for _ in range(60):
        writer.put(make_datum())
    writer.close()
    first, second = rig.reader(), rig.reader()
    taken = first.read()
    assert len(read_all(second)) == 60
    rest = read_all(rig.reader(first.state()))
    assert [datum.seq for datum in taken + rest] == list(range(1, 61))


def test_what_was_trimmed_before_it_was_read_is_counted_exactly(rig: Rig, make_datum: Make) -> None:
    writer = rig.writer(length=50)
    reader = rig.reader()
    for _ in range(40):
        writer.put(make_datum())
    until(lambda: writer.counts().spooled == 0)
    reader.refresh()
    read = len(read_all(reader))
    for _ in range(400):
        writer.put(make_datum())
        until(lambda: writer.counts().spooled < 50)
    writer.close()
    assert reader.unread() == {"actor-0": 400}
    read += len(read_all(reader))
    missed = reader.positions["actor-0"].missed
    assert missed > 0
    assert read + missed == writer.counts().written == 440


def test_without_a_server_the_oldest_is_dropped_and_counted(rig: Rig, make_datum: Make) -> None:
    writer = rig.writer(spool=10, url="redis://127.0.0.1:1")
    began = time.monotonic()
    for _ in range(50):
        writer.put(make_datum())
        assert adds_up(writer.counts())
    assert time.monotonic() - began < 1.0
    counts = writer.counts()
    assert counts.spooled <= 11
    assert counts.dropped[DropCause.SPOOL_FULL] >= 39
    writer.close(timeout=2.0)
    final = writer.counts()
    assert adds_up(final)
    assert final.spooled == 0


def test_a_batch_that_is_sent_twice_arrives_once(rig: Rig, make_datum: Make) -> None:
    """The answer to the first attempt is lost on the way: the client cannot know that it was carried out."""

    class Forgetful(redis.Connection):
        lost = False

        def read_response(self, *args: Any, **kwds: Any) -> Any:
            reply = super().read_response(*args, **kwds)
            if isinstance(reply, list) and not Forgetful.lost:  # the answer to EXEC
                Forgetful.lost = True
                raise redis.ConnectionError("the answer is lost")
            return reply

    def connect_forgetful() -> redis.Redis:
        return redis.Redis(connection_pool=redis.ConnectionPool.from_url(rig.url, connection_class=Forgetful))

    writer = StreamWriter(
        connect_forgetful,
        keys=KEYS,
        actor="actor-0",
        journal=rig.journal,
        length=1000,
        spool=100,
    )
    for _ in range(20):
        writer.put(make_datum())
    until(lambda: writer.counts().spooled == 0)
    writer.close()
    assert Forgetful.lost
    assert writer.counts().written == 20
    data = read_all(rig.reader())
    assert [(datum.seq, datum.ordinal) for datum in data] == [(n + 1, n) for n in range(20)]


def test_numbers_go_on_after_a_death_and_the_gap_is_the_loss(rig: Rig, make_datum: Make) -> None:
    writer = rig.writer(url="redis://127.0.0.1:1")
    for _ in range(5):
        writer.put(make_datum())
    successor = Rig(rig.url, rig.folder)  # the first writer is not closed: its process is dead
    second = successor.writer()
    second.put(make_datum())
    until(lambda: second.counts().written == 1)
    counts = second.counts()
    second.close()
    assert successor.journal.generation == 2
    assert counts.captured == 6
    assert counts.dropped[DropCause.DIED] == 5
    assert adds_up(counts)
    assert [datum.seq for datum in read_all(rig.reader())] == [6]
    writer.close(timeout=3.0)


def test_entries_that_arrived_unacknowledged_before_a_death_are_no_loss(rig: Rig, make_datum: Make) -> None:
    rig.journal.captured = 3
    rig.client.sadd(KEYS.actors, "actor-0")
    for seq in (1, 2):
        entry = cast(Any, encode(make_datum(seq=seq, ordinal=seq - 1)))
        rig.client.xadd(KEYS.frames("actor-0"), entry, id=f"{seq}-0")
    writer = rig.writer()
    writer.put(make_datum())
    until(lambda: writer.counts().written == 3)
    writer.close()
    assert writer.counts().dropped[DropCause.DIED] == 1
    data = read_all(rig.reader())
    assert [(datum.seq, datum.ordinal) for datum in data] == [(1, 0), (2, 1), (4, 2)]


def test_an_entry_that_does_not_decode_is_kept_aside_and_skipped(rig: Rig, make_datum: Make) -> None:
    rig.client.sadd(KEYS.actors, "actor-0")
    for seq in (1, 2, 3):
        entry = encode(make_datum(seq=seq, ordinal=seq - 1))
        if seq == 2:
            entry[b"data"] = b"garbage"
        rig.client.xadd(KEYS.frames("actor-0"), cast(Any, entry), id=f"{seq}-0")
    reader = rig.reader()
    assert [datum.seq for datum in read_all(reader)] == [1, 3]
    position = reader.positions["actor-0"]
    assert (position.quarantined, position.missed, position.duplicates) == (1, 0, 0)
    kept = cast(list[tuple[bytes, dict[bytes, bytes]]], rig.client.xrange(KEYS.quarantine))
    assert kept[0][1][b"from"] == b"actor-0 2-0"
    assert b"garbage" in kept[0][1][b"data"]


def test_a_broken_entry_behind_a_gap_hides_none_of_those_after_it(rig: Rig, make_datum: Make) -> None:
    rig.client.sadd(KEYS.actors, "actor-0")
    for seq in (1, 5, 6, 7):  # what was between was trimmed
        entry = encode(make_datum(seq=seq, ordinal=seq - 1))
        if seq == 5:
            entry[b"data"] = b"garbage"
        rig.client.xadd(KEYS.frames("actor-0"), cast(Any, entry), id=f"{seq}-0")
    reader = rig.reader()
    assert [datum.seq for datum in read_all(reader)] == [1, 6, 7]
    position = reader.positions["actor-0"]
    assert (position.quarantined, position.missed) == (1, 3)


def test_a_server_that_was_restarted_empty_is_noticed_and_its_loss_counted(tmp_path: Path, make_datum: Make) -> None:
    first = EmbeddedStore(32 * 2**20)
    rig = Rig(first.url, tmp_path)
    writer = rig.writer()
    for _ in range(10):
        writer.put(make_datum())
    until(lambda: writer.counts().written == 10)
    reader = rig.reader()
    assert len(reader.read()) == 10
    for _ in range(4):
        writer.put(make_datum())
    until(lambda: writer.counts().written == 14)
    writer.close()
    first.stop()
    second = EmbeddedStore(32 * 2**20)
    rig.url = second.url
    successor = rig.writer()
    for _ in range(3):
        successor.put(make_datum())
    until(lambda: successor.counts().written == 17)
    successor.close()
    later = StreamReader(connect(second.url), keys=KEYS, positions=reader.state())
    later.refresh()
    assert [datum.seq for datum in read_all(later)] == [15, 16, 17]
    assert later.positions["actor-0"].missed == 4
    second.stop()


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "actor-0.journal"
    path.write_bytes(b"x" * 17)
    with pytest.raises(StreamError, match="not a capture journal"):
        CaptureJournal(path)


def test_a_part_that_no_longer_moves_falls_silent(store: EmbeddedStore) -> None:
    steps = 0
    moving = True

    def progress() -> int:
        nonlocal steps
        steps += moving
        return steps

    heart = Heartbeat(connect(store.url), keys=KEYS, part="p", every=0.02, progress=progress)
    client = connect(store.url)
    until(lambda: "p" in last_beats(client, KEYS))
    moving = False
    time.sleep(0.1)
    quiet = last_beats(client, KEYS)["p"]["t"]
    time.sleep(0.2)
    assert last_beats(client, KEYS)["p"]["t"] == quiet
    moving = True
    until(lambda: last_beats(client, KEYS)["p"]["t"] > quiet)
    heart.close()
    client.close()


def test_nothing_of_a_stream_stays_on_the_server(rig: Rig, make_datum: Make) -> None:
    rig.client.set("somebody-else", "stays")
    writer = rig.writer()
    writer.put(make_datum())
    writer.close()
    assert len(rig.client.keys("engram:*")) >= 3
    remove(rig.client, KEYS)
    assert rig.client.keys("*") == [b"somebody-else"]


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:pa@ss@host:6380/0",
        "rediss://:pass@host:6380",
        "redis://host:6380/0?password=pass",
        "unix:///tmp/redis.sock?password=pass&db=1",
    ],
)
def test_no_part_of_a_password_is_shown(url: str) -> None:
    shown = redact(url)
    assert "pa" not in shown.replace("path", "")
    assert "host:6380" in shown or "/tmp/redis.sock" in shown


def test_what_cannot_be_packed_is_counted_and_the_writer_goes_on(rig: Rig, make_datum: Make) -> None:
    writer = rig.writer()
    writer.put(make_datum(data=np.array([object()])))
    writer.put(make_datum(world="lone surrogate \ud800"))
    writer.put(make_datum(action="left"))
    writer.put(make_datum())
    until(lambda: writer.counts().spooled == 0)
    writer.close()
    counts = writer.counts()
    assert counts.dropped[DropCause.REJECTED] >= 2
    assert counts.written >= 1
    assert adds_up(counts)


class OldServer(socketserver.BaseRequestHandler):
    """Answers as Redis 5 does: it knows INFO, and neither HELLO nor CLIENT SETINFO."""

    def handle(self) -> None:
        report = b"# Server\r\nredis_version:5.0.14\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"
        while request := self.request.recv(65536):
            for _ in range(request.count(b"*")):
                if b"INFO\r\n" in request and b"SETINFO" not in request:
                    self.request.sendall(b"$%d\r\n%s\r\n" % (len(report), report))
                else:
                    self.request.sendall(b"-ERR unknown command\r\n")


class TestServerCheck:
    def test_a_server_that_is_too_old(self) -> None:
        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), OldServer) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            with pytest.raises(ConfigError, match=r"is Redis 5.0.14, at least 6\.2 is needed"):
                check_server(f"redis://127.0.0.1:{server.server_address[1]}", budget=2**20, stream="s")
            server.shutdown()

    def test_a_good_server_passes(self, store: EmbeddedStore) -> None:
        check_server(store.url, budget=2**20, stream="s")

    def test_wrong_password(self, store: EmbeddedStore) -> None:
        url = store.url.replace("engram:", "engram:wrong")
        with pytest.raises(ConfigError, match="refuses the login") as caught:
            check_server(url, budget=2**20, stream="s")
        assert url.split(":")[2].split("@")[0] not in str(caught.value)

    def test_nobody_there(self) -> None:
        with pytest.raises(ConfigError, match="does not answer"):
            check_server("redis://127.0.0.1:1", budget=2**20, stream="s")

    def test_a_server_that_evicts(self, store: EmbeddedStore) -> None:
        client = connect(store.url)
        client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(ConfigError, match="noeviction"):
            check_server(store.url, budget=2**20, stream="s")
        client.close()

    def test_a_server_that_is_too_small(self, store: EmbeddedStore) -> None:
        with pytest.raises(ConfigError, match="maxmemory"):
            check_server(store.url, budget=2**40, stream="s")

    def test_a_server_that_never_trims(self, store: EmbeddedStore) -> None:
        client = connect(store.url)
        for name in ("bytes", "entries"):
            client.config_set(f"stream-node-max-{name}", "0")
        with pytest.raises(ConfigError, match="never trims"):
            check_server(store.url, budget=2**20, stream="s")
        client.close()


def test_a_redis_cluster_is_refused(tmp_path: Path) -> None:
    cluster = own_server(tmp_path / "server", "cluster-enabled yes")
    with cluster as url, pytest.raises(ConfigError, match="is a Redis Cluster"):
        check_server(url, budget=1, stream="s")
