"""A recorded actor played without Ray, against a real server."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actors.playback import Playback
from common.config import ActorConfig, EvaluatorConfig, PlaybackConfig, RunConfig, StreamConfig
from common.errors import RecordingError
from common.messages import Datum
from common.recording import Manifest, RecordingWriter
from common.stream import StreamKeys, StreamReader, connect
from deploy.store import EmbeddedStore

type Make = Callable[..., Datum]

KEYS = StreamKeys("s")


@pytest.fixture
def recorded(tmp_path: Path, make_datum: Make) -> Path:
    with RecordingWriter(tmp_path / "a.rec", of=Manifest.new("tour")) as writer:
        for number in range(60):
            actor = ("left", "right")[number % 2]
            time_s = number // 2 / 10
            writer.write(make_datum(actor=actor, seq=number, system_time=100 + time_s, visit_time=time_s, visit=actor))
            if number % 20 == 19:
                writer.flush()
    return tmp_path / "a.rec"


def config(store: EmbeddedStore, path: Path, speed: float = 0.0) -> RunConfig:
    run = RunConfig(redis_url=store.url, actors=ActorConfig(count=2), evaluator=EvaluatorConfig(enabled=False))
    return replace(run, playback=PlaybackConfig(recording=str(path), speed=speed))


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def read(store: EmbeddedStore, name: str = "learner") -> list[Datum]:
    with connect(store.url) as client:
        reader = StreamReader(client, keys=KEYS)
        reader.refresh()
        found: list[Datum] = []
        while data := reader.read():
            found += data
        reader.tell(name)
    return found


def test_it_waits_for_the_readers_and_ends_when_they_have_read(
    tmp_path: Path, store: EmbeddedStore, recorded: Path
) -> None:
    run = config(store, recorded)
    run = replace(run, stream=StreamConfig(budget=2 * 64 * 96 * 96 * 3))
    playback = Playback(run, index=1, stream="s", folder=tmp_path)
    playback.start()
    until(lambda: playback.status().counts.written >= 16)
    time.sleep(0.3)
    assert playback.status().counts.written == 16, "it waits for a reader that has not begun"
    found = read(store)
    until(lambda: playback.status().counts.written > len(found))
    while len(found) < 30:
        found = read(store)
        time.sleep(0.05)
    until(lambda: playback.status().ended)
    assert [datum.seq for datum in found] == list(range(1, 31))
    assert {(datum.actor, datum.visit, datum.weights_version) for datum in found} == {("actor-1", "right", 0)}
    assert [round(datum.system_time - 100, 1) for datum in found] == [number / 10 for number in range(30)]
    assert [datum.experience for datum in found] == ["right/0000"] * 30
    assert playback.close().counts.written == 30


def test_at_a_speed_it_keeps_the_pace_of_the_recording(tmp_path: Path, store: EmbeddedStore, recorded: Path) -> None:
    playback = Playback(config(store, recorded, speed=2.0), index=0, stream="s", folder=tmp_path)
    began = time.monotonic()
    playback.start()
    until(lambda: playback.status().ended)
    assert time.monotonic() - began >= 2.9 / 2
    found = read(store)
    gaps = np.diff([datum.captured_ns for datum in found]) / 1e9
    assert len(found) == 30
    assert np.median(gaps) == pytest.approx(0.05, abs=0.02)
    playback.close()


def test_one_that_died_goes_on_where_it_was(tmp_path: Path, store: EmbeddedStore, recorded: Path) -> None:
    run = config(store, recorded, speed=20.0)
    first = Playback(run, index=0, stream="s", folder=tmp_path)
    first.pause()
    first.start()
    time.sleep(0.3)
    assert first.status().frames == 0
    first.resume()
    until(lambda: first.status().frames >= 5)
    first.close()
    second = Playback(run, index=0, stream="s", folder=tmp_path)
    second.start()
    until(lambda: second.status().ended)
    second.close()
    assert [round(datum.system_time - 100, 1) for datum in read(store)] == [number / 10 for number in range(30)]


def test_a_damaged_segment_is_left_out_and_counted(tmp_path: Path, store: EmbeddedStore, recorded: Path) -> None:
    (recorded / "000001-0.mkv").write_bytes(b"")
    playback = Playback(config(store, recorded, speed=100.0), index=0, stream="s", folder=tmp_path)
    playback.start()
    until(lambda: playback.status().ended)
    assert playback.close().damaged == 10
    assert [round(datum.system_time - 100, 1) for datum in read(store)] == [
        number / 10 for number in (*range(10), *range(20, 30))
    ]


def test_more_actors_than_were_recorded_are_refused(tmp_path: Path, store: EmbeddedStore, recorded: Path) -> None:
    with pytest.raises(RecordingError, match=r"has 2 actors: set actors\.count to 2"):
        Playback(config(store, recorded), index=2, stream="s", folder=tmp_path)
