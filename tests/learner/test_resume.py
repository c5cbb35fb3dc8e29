"""Learners that die while actors write on: what the next one knows, and that every frame counts exactly once."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.config import ReplayConfig, RunConfig
from common.exposure import Exposure
from common.status import LearnerStatus
from learner import checkpoint as checkpoints
from learner.learner import Learner
from tests.learner.source import RULE, SIDE, Launch, Make, Source, drained, numbers, settled, until

WHOLE = ReplayConfig(capacity=8192, min_fill=64, replay_ratio=2.0)
"""A ring that replaces nothing, so that it shows every frame ever admitted."""


@contextmanager
def writing(source: Source) -> Generator[None]:
    """Writes 500 frames a second, from another thread, as long as it lasts."""
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.02):
            source.write(10)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def await_admitted(learner: Learner, frames: int) -> None:
    until(lambda: bool(counts := learner.status().counts) and counts["actor-0"].admitted >= frames)


def accounted(status: LearnerStatus) -> int:
    """Entries that the learner accounts for, unread ones included."""
    counts = status.counts["actor-0"]
    read = counts.missed + counts.quarantined + counts.gated + counts.guard + counts.withheld + counts.admitted
    return counts.unread + read


def test_no_frame_is_lost_or_doubled_when_learners_die_while_actors_write(
    launch: Launch, source: Source, tmp_path: Path
) -> None:
    learner, _ = launch(replay=WHOLE)
    with writing(source):
        until(lambda: learner.status().step > 0)
        for _ in range(3):
            taken = learner.snapshot()
            admitted = taken.state["ingest"]["counts"]["actor-0"]["admitted"]
            assert sorted(numbers(taken.replay["frames"])) == exposed(source)[:admitted]
            await_admitted(learner, admitted + 100)
            learner.close()  # what it admitted since the snapshot dies with it
            loaded = checkpoints.load(checkpoints.save(taken, tmp_path / "checkpoints", keep=1))
            learner, _ = launch(checkpoint=loaded, replay=WHOLE)
            await_admitted(learner, admitted + 100)
    until(lambda: drained(learner, len(source.kinds)))
    written, status, final = source.writer.counts(), learner.status(), learner.snapshot()
    assert written.captured == len(source.kinds) == written.written + sum(written.dropped.values()) + written.spooled
    assert written.written == accounted(status)
    assert status.counts["actor-0"].missed == status.counts["actor-0"].duplicates == 0
    assert sorted(numbers(final.replay["frames"])) == exposed(source)
    assert sum(final.ledger["frames"]) == status.counts["actor-0"].admitted == len(exposed(source))
    assert sum(final.ledger["exposures"]) == final.state["images"] == final.state["limiter"]["sampled"]


def exposed(source: Source) -> list[int]:
    """Numbers of the frames that may be trained on, in the order of writing."""
    return [number for number, kind in enumerate(list(source.kinds)) if kind is Exposure.EXPOSED]


def test_what_was_forfeited_is_known_after_a_restart(launch: Launch, source: Source) -> None:
    replay = ReplayConfig(capacity=256, min_fill=64, replay_ratio=2.0, max_behind=1.0)
    learner, _ = launch(replay=replay)
    learner.pause()
    source.write(400)
    learner.resume()
    until(lambda: drained(learner, 400))
    until(lambda: settled(learner))
    status, taken = learner.status(), learner.snapshot()
    learner.close()
    admitted = status.counts["actor-0"].admitted
    assert status.forfeited > 0
    assert -16 <= 2.0 * (admitted - 64) - status.images - status.forfeited <= 8
    assert status.replay_ratio == status.images / admitted
    again, _ = launch(checkpoint=taken, replay=replay)
    assert again.status().forfeited == status.forfeited


def test_weights_by_staleness_are_known_after_a_restart(
    launch: Launch, config: RunConfig, source: Source, make_datum: Make
) -> None:
    replay = replace(config.learner.replay, capacity=512, staleness_half_life=10.0)
    learner, sink = launch(replay=replay)
    source.write(200)
    until(lambda: drained(learner, 200))
    until(lambda: bool(sink.offers))
    known = learner.status()
    born = sink.offers[0][0]
    ages = [0.0, 5.0, 10.0, 30.0]
    visit = "actor-0.1.0001"

    def write(age: float, moment: float) -> None:
        """Writes a frame that weights of this age acted on."""
        datum = make_datum(
            visit=visit,
            visit_time=moment,
            experience=RULE.experience(visit, moment),
            data=np.zeros((SIDE, SIDE, 3), np.uint8),
            weights_version=born.version,
            captured_ns=born.created_ns + int(age * 1e9),
        )
        source.writer.put(datum)

    for number, age in enumerate(ages):
        write(age, 2.0 + number / 10)
    admitted = known.counts["actor-0"].admitted + len(ages)
    until(lambda: learner.status().ring == admitted)
    status, taken = learner.status(), learner.snapshot()
    weights = np.concatenate([np.ones(admitted - len(ages)), 0.5 ** (np.array(ages) / 10)])
    assert taken.replay["weights"] == pytest.approx(weights)
    assert (status.staleness_latest_seconds, status.staleness_max_seconds) == (30.0, 30.0)
    assert status.staleness_mean_seconds == pytest.approx(np.mean(ages))
    assert status.staleness_seconds == pytest.approx(np.median(ages))
    assert status.staleness_max_versions >= status.staleness_latest_versions >= 0
    learner.close()
    again, _ = launch(checkpoint=taken, replay=replay)
    assert np.array_equal(again.snapshot().replay["weights"], taken.replay["weights"])
    write(20.0, 3.0)
    until(lambda: again.status().ring == admitted + 1)
    assert again.snapshot().replay["weights"][-1] == pytest.approx(0.25), "the age of versions made before is known"
