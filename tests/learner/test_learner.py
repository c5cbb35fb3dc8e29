"""The learner as a plain object on a real stream: accounting, publication, checkpoint, resume."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.config import LearnerConfig, ModelConfig, OptimConfig, ReplayConfig, RunConfig, StreamConfig, WorldConfig
from common.errors import CheckpointError
from common.exposure import Exposure, ExposureRule
from common.messages import Datum, VersionInfo
from common.stream import CaptureJournal, StreamKeys, StreamWriter, connect
from common.weights import PayloadKind, digest, unpack
from deploy.store import EmbeddedStore
from learner import checkpoint as checkpoints
from learner.checkpoint import Checkpoint
from learner.learner import Learner

type Make = Callable[..., Datum]
STREAM = "test"
RULE = ExposureRule(salt="seed-0", block=10.0)
SIDE = 24


class Sink:
    """Keeps everything that is offered."""

    def __init__(self) -> None:
        self.offers: list[tuple[VersionInfo, Mapping[PayloadKind, bytes]]] = []

    def offer(self, info: VersionInfo, payloads: Mapping[PayloadKind, bytes]) -> None:
        self.offers.append((info, payloads))


def until(condition: Callable[[], bool], timeout: float = 20.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)


class Source:
    """Writes frames as an actor would: ten a second of visit time, as fast as possible."""

    def __init__(self, url: str, folder: Path, make_datum: Make) -> None:
        self._make = make_datum
        self._generator = np.random.default_rng(3)
        self.kinds: list[Exposure] = []
        self.writer = StreamWriter(
            lambda: connect(url),
            keys=StreamKeys(STREAM),
            actor="actor-0",
            journal=CaptureJournal(folder / "actor-0.journal"),
            length=5000,
            spool=5000,
        )

    def write(self, frames: int) -> None:
        for _ in range(frames):
            moment = len(self.kinds) / 10
            visit = "actor-0.1.0000"
            self.kinds.append(RULE.classify(visit, moment))
            frame = self._generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            experience = RULE.experience(visit, moment)
            self.writer.put(self._make(visit_time=moment, visit=visit, experience=experience, data=frame))
        until(lambda: self.writer.counts().spooled == 0)


@pytest.fixture
def config(store: EmbeddedStore) -> RunConfig:
    model = ModelConfig(patch_size=4, dim=24, depth=1, heads=2, predictor_dim=12, predictor_depth=1, predictor_heads=2)
    return RunConfig(
        redis_url=store.url,
        world=WorldConfig(image_size=(SIDE, SIDE)),
        stream=StreamConfig(budget=16 * 2**20),
        learner=LearnerConfig(
            model=model,
            optim=OptimConfig(batch_size=8, warmup_steps=4),
            replay=ReplayConfig(capacity=256, min_fill=64, replay_ratio=2.0),
            publish_every=0.05,
            slice=0.1,
        ),
    )


@pytest.fixture
def source(store: EmbeddedStore, tmp_path: Path, make_datum: Make) -> Iterator[Source]:
    made = Source(store.url, tmp_path, make_datum)
    yield made
    made.writer.close()


type Launch = Callable[..., tuple[Learner, Sink]]


@pytest.fixture
def launch(config: RunConfig) -> Iterator[Launch]:
    """Starts learners, and closes them however the test ends."""
    made: list[Learner] = []

    def start(checkpoint: Checkpoint | None = None, version: int = 0) -> tuple[Learner, Sink]:
        sink = Sink()
        learner = Learner(config, stream=STREAM, sink=sink, checkpoint=checkpoint, version=version)
        made.append(learner)
        learner.start()
        return learner, sink

    yield start
    for learner in made:
        learner.close()


def settled(learner: Learner) -> bool:
    """The limiter stops it, and all its steps are booked."""
    status = learner.status()
    return status.waiting == "ratio" and status.images == status.step * 8


def drained(learner: Learner, frames: int) -> bool:
    counts = learner.status().counts.get("actor-0")
    return counts is not None and counts.guard + counts.withheld + counts.admitted == frames and counts.unread == 0


def test_every_written_frame_is_accounted_for_and_the_ratio_is_kept(launch: Launch, source: Source) -> None:
    learner, _ = launch()
    source.write(600)
    until(lambda: drained(learner, 600))
    counts = learner.status().counts["actor-0"]
    assert counts.admitted == source.kinds.count(Exposure.EXPOSED)
    assert counts.withheld == source.kinds.count(Exposure.WITHHELD)
    assert counts.guard == source.kinds.count(Exposure.GUARD)
    until(lambda: settled(learner))
    status, taken = learner.status(), learner.snapshot()
    learner.close()
    assert status.ring == 256
    assert status.images == status.step * 8
    assert abs(status.images - 2.0 * (counts.admitted - 64)) <= 2 * 8
    withheld = {f"actor-0.1.0000/{n:04d}" for n in range(60) if RULE.withheld("actor-0.1.0000", n)}
    assert not withheld & set(taken.ledger["experience"])


def test_published_weights_carry_the_hash_of_what_they_hold(launch: Launch, source: Source) -> None:
    learner, sink = launch()
    while len(sink.offers) < 3:
        source.write(100)
    learner.close()
    versions = [info.version for info, _ in sink.offers]
    assert versions == list(range(1, len(versions) + 1))
    for info, payloads in sink.offers:
        assert info.published
        assert info.health["loss"] > 0
        assert digest(unpack(payloads[PayloadKind.ENCODER])) == info.digest
    first, last = unpack(sink.offers[0][1][PayloadKind.FULL]), unpack(sink.offers[-1][1][PayloadKind.FULL])
    assert first.keys() == last.keys()
    assert any(not first[name].equal(last[name]) for name in first)


def test_a_learner_resumes_where_its_checkpoint_was_taken(launch: Launch, source: Source, tmp_path: Path) -> None:
    learner, sink = launch()
    source.write(400)
    until(lambda: drained(learner, 400))
    until(lambda: settled(learner))
    taken = learner.snapshot()
    before = learner.status()
    learner.close()
    source.write(300)
    loaded = checkpoints.load(checkpoints.save(taken, tmp_path / "checkpoints", keep=1))
    again, resink = launch(checkpoint=loaded, version=before.version + 5)
    until(lambda: drained(again, 700))
    until(lambda: settled(again))
    after = again.status()
    final = again.snapshot()
    again.close()
    assert after.step > before.step
    assert after.counts["actor-0"].admitted == source.kinds.count(Exposure.EXPOSED)
    assert after.counts["actor-0"].missed == 0
    assert resink.offers[0][0].version == before.version + 6
    assert sum(final.ledger["frames"]) == source.kinds.count(Exposure.EXPOSED)
    assert sum(final.ledger["exposures"]) == final.state["images"]
    assert final.ledger["experience"][: len(taken.ledger["experience"])] == taken.ledger["experience"]
    assert sink.offers


def test_a_snapshot_taken_while_training_is_consistent(launch: Launch, source: Source) -> None:
    learner, _ = launch()
    for _ in range(5):
        source.write(100)
        taken = learner.snapshot()
        counts = taken.state["ingest"]["counts"].get("actor-0", {})
        assert sum(taken.ledger["frames"]) == counts.get("admitted", 0) == taken.state["replay"]["added"]
        assert sum(taken.ledger["exposures"]) == taken.state["limiter"]["sampled"] == taken.state["images"]
    learner.close()


def test_frames_of_another_size_are_gated(launch: Launch, source: Source, make_datum: Make) -> None:
    learner, _ = launch()
    for _ in range(5):
        source.writer.put(make_datum())
    until(lambda: bool(learner.status().counts) and learner.status().counts["actor-0"].gated == 5)
    assert learner.status().ring == 0
    learner.close()


def test_a_pause_stops_training_and_nothing_is_lost(launch: Launch, source: Source) -> None:
    learner, _ = launch()
    source.write(200)
    until(lambda: learner.status().step > 0)
    learner.pause()
    until(lambda: learner.status().waiting == "paused")
    time.sleep(0.2)
    step = learner.status().step
    source.write(200)
    time.sleep(0.3)
    assert learner.status().step == step
    learner.resume()
    until(lambda: drained(learner, 400))
    until(lambda: learner.status().step > step)
    learner.close()


def test_a_checkpoint_of_another_network_is_refused(launch: Launch, config: RunConfig) -> None:
    learner, _ = launch()
    taken = learner.snapshot()
    learner.close()
    wider = replace(config.learner, model=replace(config.learner.model, dim=48))
    with pytest.raises(CheckpointError, match=r"learner\.model"):
        Learner(replace(config, learner=wider), stream=STREAM, sink=Sink(), checkpoint=taken)


def test_sixteen_actors_with_a_backlog_are_read_to_the_last_frame(
    launch: Launch, store: EmbeddedStore, tmp_path: Path, make_datum: Make
) -> None:
    generator = np.random.default_rng(0)
    admitted = 0
    for number in range(16):
        actor, visit = f"actor-{number}", f"actor-{number}.1.0000"
        writer = StreamWriter(
            lambda: connect(store.url),
            keys=StreamKeys(STREAM),
            actor=actor,
            journal=CaptureJournal(tmp_path / f"{actor}.journal"),
            length=5000,
            spool=5000,
        )
        for index in range(100):
            moment = index / 10
            admitted += RULE.classify(visit, moment) is Exposure.EXPOSED
            frame = generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            experience = RULE.experience(visit, moment)
            datum = make_datum(actor=actor, visit=visit, visit_time=moment, experience=experience, data=frame)
            writer.put(datum)
        writer.close()
        assert writer.counts().written == 100
    learner, _ = launch()
    until(lambda: sum(counts.admitted for counts in learner.status().counts.values()) == admitted)
    until(lambda: sum(learner.snapshot().ledger["frames"]) == admitted)
    assert all(counts.unread == 0 for counts in learner.status().counts.values())


def test_an_entry_that_names_another_experience_is_gated(launch: Launch, source: Source, make_datum: Make) -> None:
    learner, _ = launch()
    frame = np.zeros((SIDE, SIDE, 3), np.uint8)
    source.writer.put(make_datum(visit_time=55.0, experience="actor-0.1.0000/0000", data=frame))
    until(lambda: bool(learner.status().counts) and learner.status().counts["actor-0"].gated == 1)


def test_a_learner_on_a_new_stream_reads_it_from_its_start(
    config: RunConfig, launch: Launch, source: Source, tmp_path: Path, make_datum: Make
) -> None:
    """The actor's journal was lost with its host: its numbers begin anew, below the checkpoint's position."""
    learner, _ = launch()
    source.write(200)
    until(lambda: drained(learner, 200))
    taken = learner.snapshot()
    learner.close()
    sink = Sink()
    again = Learner(config, stream="another", sink=sink, checkpoint=taken)
    again.start()
    writer = StreamWriter(
        lambda: connect(config.redis_url),
        keys=StreamKeys("another"),
        actor="actor-1",
        journal=CaptureJournal(tmp_path / "actor-1.journal"),
        length=5000,
        spool=5000,
    )
    writer.put(make_datum(actor="actor-1", data=np.zeros((SIDE, SIDE, 3), np.uint8)))
    writer.close()
    until(lambda: "actor-1" in again.status().counts and again.status().counts["actor-1"].admitted == 1)
    assert taken.state["ingest"]["positions"]["actor-0"]["seq"] == 200
    assert again.snapshot().state["ingest"]["positions"]["actor-0"]["seq"] == 0
    again.close()


def test_frames_that_old_weights_acted_on_are_gated(config: RunConfig, source: Source, make_datum: Make) -> None:
    replay = replace(config.learner.replay, max_staleness=5.0)
    config = replace(config, learner=replace(config.learner, replay=replay))
    learner = Learner(config, stream=STREAM, sink=Sink(), checkpoint=None, version=0)
    learner.start()
    try:
        source.write(200)
        until(lambda: len(learner.published()) > 0)
        until(lambda: drained(learner, 200))
        version, now = min(learner.published()), time.time_ns()
        before = learner.status().counts["actor-0"]
        visit = "actor-0.1.0001"
        for age in (1, 60):
            for number in range(20):
                moment = 2.0 + number / 10
                source.writer.put(
                    make_datum(
                        visit=visit,
                        visit_time=moment,
                        experience=RULE.experience(visit, moment),
                        data=np.zeros((SIDE, SIDE, 3), np.uint8),
                        weights_version=version,
                        captured_ns=now + age * 10**9,
                    )
                )
        until(lambda: learner.status().counts["actor-0"].gated > before.gated and not unread(learner))
        assert learner.status().counts["actor-0"].gated - before.gated == 20
    finally:
        learner.close()


def unread(learner: Learner) -> int:
    return learner.status().counts["actor-0"].unread


def test_a_slice_waits_for_new_frames(config: RunConfig, source: Source) -> None:
    replay = replace(config.learner.replay, min_new=100)
    config = replace(config, learner=replace(config.learner, replay=replay, slice=0.001))
    learner = Learner(config, stream=STREAM, sink=Sink(), checkpoint=None, version=0)
    learner.start()
    try:
        source.write(120)
        until(lambda: learner.status().step > 0)
        until(lambda: learner.status().waiting == "new")
        steps = learner.status().step
        time.sleep(0.3)
        assert learner.status().step == steps
        source.write(200)
        until(lambda: learner.status().step > steps)
    finally:
        learner.close()
