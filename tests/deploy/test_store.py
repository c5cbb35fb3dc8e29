"""The embedded server and the stream server around it: what outlives a death, and what is left behind."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Redis is untyped in parts.

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.config import Durability, RunConfig
from common.errors import ConfigError, RunError
from common.stream import StreamKeys, connect
from deploy.rundir import RunDirectory
from deploy.store import EmbeddedStore, save_snapshot
from deploy.stream_server import StreamServer
from tests.runs import small_run

KEPT = {
    Durability.MEMORY: [None, None],
    Durability.SNAPSHOT: [b"1", None],
    Durability.AOF: [b"1", b"2"],
}
"""What is there after a death, of a value before and one after the snapshot."""


def values(url: str) -> list[bytes | None]:
    client = connect(url)
    found: Any = client.mget("before", "after")
    client.close()
    return found


@pytest.mark.parametrize("durability", Durability)
def test_what_outlives_the_death_of_a_server(tmp_path: Path, durability: Durability) -> None:
    folder = tmp_path / "store"
    store = EmbeddedStore(2**20, durability=durability, folder=folder)
    client = connect(store.url)
    client.set("before", 1)
    if durability is Durability.SNAPSHOT:
        assert save_snapshot(store.url) is None
        while client.info("persistence")["rdb_bgsave_in_progress"]:
            pass
    client.set("after", 2)
    if durability is Durability.AOF:  # while one flush is under way, the next write waits for up to two seconds
        synced: Any = client.execute_command("WAITAOF", 1, 0, 10_000)
        assert synced[0] == 1
    assert not store.revive()
    os.kill(store.process, signal.SIGKILL)
    while not store.revive():
        pass
    assert values(store.url) == KEPT[durability]
    store.stop(keep=True)
    successor = EmbeddedStore(2**20, durability=durability, folder=folder)
    assert successor.url != store.url
    assert values(successor.url) == KEPT[durability]
    successor.stop()
    assert not folder.exists()


def test_a_stopped_server_is_not_taken_for_dead(store: EmbeddedStore) -> None:
    process = store.process
    os.kill(process, signal.SIGSTOP)
    assert not store.revive()
    os.kill(process, signal.SIGCONT)
    assert store.process == process


def test_a_server_that_may_not_save_says_why(store: EmbeddedStore) -> None:
    client = connect(store.url)
    client.execute_command("ACL", "SETUSER", "engram", "-bgsave")
    reason = save_snapshot(store.url)
    assert reason is not None
    assert "bgsave" in reason


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[RunDirectory]:
    made = RunDirectory(tmp_path / "run")
    yield made
    made.close()


def config(tmp_path: Path, durability: Durability, url: str = "") -> RunConfig:
    run = small_run(tmp_path / "run", tmp_path / "cache")
    return replace(run, redis_url=url, stream=replace(run.stream, durability=durability))


def serve(run: RunConfig, directory: RunDirectory) -> StreamServer:
    server = StreamServer(run, directory, say=directory.event)
    directory.event("started", stream=server.stream)
    return server


def write(server: StreamServer) -> None:
    """Leaves what an actor leaves."""
    client, keys = connect(server.url), StreamKeys(server.stream)
    client.sadd(keys.actors, "actor-0")
    client.xadd(keys.frames("actor-0"), {"v": 1}, id="1-0")
    client.hset(keys.heartbeats, "actor-0", b"\x80")
    client.close()


@pytest.mark.parametrize("own", [False, True])
def test_an_interrupted_run_finds_its_stream_again_and_a_finished_one_leaves_nothing(
    tmp_path: Path, directory: RunDirectory, store: EmbeddedStore, own: bool
) -> None:
    if own:
        connect(store.url).config_set("appendonly", "yes")
        connect(store.url).config_set("maxmemory", 2**28)
    run = config(tmp_path, Durability.AOF, store.url if own else "")
    first = serve(run, directory)
    write(first)
    assert first.look().entries["actor-0"] == 1
    first.close(done=False)
    second = serve(run, directory)
    assert second.stream == first.stream
    assert second.look().entries["actor-0"] == 1
    assert second.beats() == {}, "heartbeats of processes that are gone"
    second.close(done=True)
    assert not (tmp_path / "run" / "store").exists()
    if own:
        time.sleep(1.1)  # the start-up check's own key lives for a second
        assert connect(store.url).keys("*") == []
    third = serve(run, directory)
    assert third.stream != first.stream
    third.close(done=True)


def test_a_server_that_keeps_nothing_is_refused_where_a_file_is_wanted(
    tmp_path: Path, directory: RunDirectory, store: EmbeddedStore
) -> None:
    connect(store.url).config_set("maxmemory", 2**28)
    with pytest.raises(ConfigError, match=r"keeps no append-only file.*set appendonly to yes"):
        serve(config(tmp_path, Durability.AOF, store.url), directory)
    connect(store.url).config_set("appendonly", "yes")
    connect(store.url).config_set("appendfsync", "no")
    with pytest.raises(ConfigError, match="leaves syncing its file to chance"):
        serve(config(tmp_path, Durability.AOF, store.url), directory)


def test_a_server_that_dies_again_and_again_ends_the_run(tmp_path: Path, directory: RunDirectory) -> None:
    server = serve(replace(config(tmp_path, Durability.MEMORY), restarts=1), directory)
    assert server.temporary is not None
    try:
        os.kill(server.temporary.process, signal.SIGKILL)
        while server.look().restarts == 0:
            pass
        assert [row["part"] for row in directory.read_events() if row["kind"] == "restart"] == ["store"]
        os.kill(server.temporary.process, signal.SIGKILL)
        time.sleep(0.5)
        with pytest.raises(RunError, match="the embedded server died 2 times"):
            server.look()
    finally:
        server.close(done=False)
