"""The learner as a plain object on a real stream: accounting, publication, checkpoint, resume."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.config import Keep, ReplayConfig, RunConfig
from common.errors import CheckpointError
from common.exposure import Exposure
from common.ledger import LEDGER, ExposureTable, LedgerNews
from common.status import ReaderCounts
from common.stream import CaptureJournal, StreamKeys, StreamWriter, connect
from common.weights import PayloadKind, digest, unpack
from deploy.store import EmbeddedStore
from learner import archive
from learner import checkpoint as checkpoints
from learner.learner import Learner
from learner.ledger import LINGER
from tests.learner.source import RULE, SIDE, STREAM, Launch, Make, Sink, Source, drained, settled, until


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


def test_a_frame_that_the_buffer_leaves_out_is_admitted(launch: Launch, source: Source) -> None:
    replay = ReplayConfig(capacity=64, min_fill=64, replay_ratio=2.0, keep=Keep.RESERVOIR)
    learner, _ = launch(replay=replay)
    source.write(600)
    until(lambda: drained(learner, 600))
    until(lambda: settled(learner))
    status, taken = learner.status(), learner.snapshot()
    learner.close()
    counts, exposed = status.counts["actor-0"], source.kinds.count(Exposure.EXPOSED)
    assert counts.unread + counts.missed + counts.gated + counts.guard + counts.withheld + counts.admitted == 600
    assert counts.admitted == exposed == sum(taken.ledger["frames"]) == taken.state["limiter"]["inserted"]
    assert 0 < status.left_out == taken.state["replay"]["left_out"] < exposed - 64
    again, _ = launch(checkpoint=taken, replay=replay)
    assert again.status().left_out == status.left_out


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


@pytest.mark.parametrize("superseded", [True, False])
def test_frames_of_actors_too_far_behind_are_gated(
    config: RunConfig, source: Source, make_datum: Make, superseded: bool
) -> None:
    """Frames are left out where newer weights had been there for longer than allowed; however old, the newest act."""
    replay = replace(config.learner.replay, max_staleness=100.0)
    config = replace(config, learner=replace(config.learner, replay=replay))
    learner = Learner(config, stream=STREAM, sink=Sink(), checkpoint=None, version=0)
    learner.start()
    try:
        while len(learner.published()) < 2:
            source.write(100)
            time.sleep(0.1)
        until(lambda: settled(learner) and learner.status().counts["actor-0"].unread == 0)
        published, now = sorted(learner.published()), time.time_ns()
        before = learner.status().counts["actor-0"]
        visit = "actor-0.1.0001"
        for age in (1, 1000):
            for number in range(20):
                moment = 2.0 + number / 10
                source.writer.put(
                    make_datum(
                        visit=visit,
                        visit_time=moment,
                        experience=RULE.experience(visit, moment),
                        data=np.zeros((24, 24, 3), np.uint8),
                        weights_version=published[0 if superseded else -1],
                        captured_ns=now + age * 10**9,
                    )
                )
        until(lambda: total(learner) == total_of(before) + 40 and learner.status().counts["actor-0"].unread == 0)
        assert learner.status().counts["actor-0"].gated - before.gated == (20 if superseded else 0)
    finally:
        learner.close()


def total_of(counts: ReaderCounts) -> int:
    return counts.gated + counts.guard + counts.withheld + counts.admitted


def total(learner: Learner) -> int:
    return total_of(learner.status().counts["actor-0"])


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


def test_rows_of_the_ledger_leave_memory_once_they_are_on_disk(launch: Launch, source: Source, tmp_path: Path) -> None:
    """What the frames in the ring, the checkpoint's parts and the evaluator's table say agree with what was written."""
    replay = ReplayConfig(capacity=100, min_fill=64, replay_ratio=2.0)
    learner, sink = launch(replay=replay, publish_every=0.001, slice=0.001)
    table, taken = ExposureTable(), learner.snapshot(0)
    path = checkpoints.save(taken, tmp_path, keep=2)
    for _ in range(8):
        source.write(300)
        until(lambda: drained(learner, len(source.kinds)))
        until(lambda: settled(learner))
        taken = learner.snapshot(taken.state["number"])
        path = checkpoints.save(taken, tmp_path, keep=2)
    whole = archive.read_whole(path, taken.ledger)
    assert sum(whole["frames"]) == source.kinds.count(Exposure.EXPOSED)
    assert sum(whole["exposures"]) == taken.state["images"]
    assert len(set(whole["experience"])) == len(whole["experience"]) == learner.status().experiences
    learner.snapshot(taken.state["number"])
    assert len(learner.snapshot().ledger["experience"]) < len(whole["experience"]) / 2
    for info, payloads in sink.offers[:: LINGER // 2]:
        table.take(info.version, LedgerNews.unpack(unpack(payloads[PayloadKind.FULL])[LEDGER]))
    info, payloads = sink.offers[-1]
    table.take(info.version, LedgerNews.unpack(unpack(payloads[PayloadKind.FULL])[LEDGER]))
    assert table.gaps == 0
    told = [table.get(name) for name in whole["experience"]]
    assert [row and row.exposures for row in told] == whole["exposures"]
    assert [row and row.last_step for row in told] == whole["last_step"]
    learner.close()
    again, _ = launch(checkpoint=checkpoints.load(path), replay=replay)
    assert again.status().experiences == len(whole["experience"])
    last = again.snapshot()
    assert archive.read_whole(checkpoints.save(last, tmp_path, keep=2), last.ledger) == whole
