"""The whole loop, real: Ray, an embedded server, Doom, a learner, an evaluator. One run serves all tests here."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Redis, Ray and Arrow are untyped in parts.

import json
import os
import random
import re
import time
import urllib.request
from collections.abc import Iterator
from statistics import median

import numpy as np
import psutil
import pyarrow.parquet
import pytest
from pamiq_core.console.web_api import WebApiClient

from actors.context import StepContext
from actors.inference import FollowingEncoder
from common.broadcast import RedisWeightSource, WeightKeys
from common.status import EvaluatorStatus
from common.stream import connect
from deploy.picture import draw
from deploy.rundir import read_rows
from deploy.summary import read_evaluations
from evaluator.keeping import unpack
from tests.runs import LiveRun, live, read_total, small_run, wait_until, writer_adds_up

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRun]:
    base = tmp_path_factory.mktemp("runs")
    with live(small_run(base / "run", base / "cache")) as living:
        wait_until(lambda: living.status.learner.version >= 3, 120, "three weights versions")
        yield living


def evaluator(run: LiveRun) -> EvaluatorStatus:
    status = run.status.evaluator
    assert status is not None
    return status


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def test_both_identities_hold_at_random_moments(run: LiveRun) -> None:
    for _ in range(10):
        time.sleep(random.uniform(0.05, 0.5))
        for actor in ("actor-0", "actor-1"):
            seen_before = len(run.sensor_log(actor))
            before = run.ask(actor, "status").counts
            read = run.ask("learner", "status").counts[actor]
            after = run.ask(actor, "status").counts
            seen_after = len(run.sensor_log(actor))
            assert writer_adds_up(before)
            assert writer_adds_up(after)
            assert seen_before - 1 <= before.captured <= after.captured <= seen_after
            assert before.written <= read_total(read) <= after.written


def test_actors_keep_their_pace(run: LiveRun) -> None:
    """A machine that runs tests is busy: the bounds here only catch what is broken."""
    for actor in run.status.actors:
        intervals = run.ask(actor.name, "intervals")
        assert median(intervals) == pytest.approx(0.1, abs=0.005)


def test_actors_go_before_the_learner_and_that_before_the_evaluator(run: LiveRun) -> None:
    parts = ("actor-0", "learner", "evaluator")
    assert [psutil.Process(run.ask(part, "process")).nice() for part in parts] == [os.nice(0), 10, 19]


def test_the_parameters_that_act_are_a_published_version(run: LiveRun) -> None:
    published = {}
    wait_until(lambda: run.ask("actor-0", "acting_digest")[0] > 0, 30, "an actor acts on published weights")
    for _ in range(20):
        found = run.ask("learner", "published")
        published |= found
        for actor in ("actor-0", "actor-1"):
            version, digest = run.ask(actor, "acting_digest")
            published |= run.ask("learner", "published")
            assert published[version] == digest
        time.sleep(0.2)
    assert len(published) > 3


def test_actors_outside_ray_find_the_same_weights_in_redis(run: LiveRun) -> None:
    client = connect(run.driver.redis_url)
    source = RedisWeightSource(client, WeightKeys(run.driver.stream))
    encoder = FollowingEncoder(
        run.config.learner.model, run.config.world.image_size, context=StepContext(), source=source, every=0.1, seed=0
    )
    frame = np.zeros((*run.config.world.image_size, 3), np.uint8)

    def acts_on() -> int:
        encoder.infer(frame)
        return encoder.version

    try:
        wait_until(lambda: acts_on() > 0, 30, "weights out of Redis")
        version, digest = encoder.acting_digest()
        wait_until(lambda: run.ask("learner", "published").get(version) == digest, 5, "what acts was published")
        wait_until(lambda: acts_on() > version, 30, "newer weights out of Redis")
        assert run.status.store.relayed >= version
    finally:
        encoder.close()
        client.close()


def test_weights_are_fresh(run: LiveRun) -> None:
    assert run.ask("learner", "status").staleness_versions <= 2


def test_every_process_is_found_and_can_be_scraped(run: LiveRun) -> None:
    def parts() -> dict[str, str]:
        groups = json.loads(get(run.status.metrics_url))
        return {group["labels"]["part"]: group["targets"][0] for group in groups}

    wait_until(lambda: len(parts()) == 5, 30, "five processes in the directory")
    marks = {
        "driver": "engram_driver_store_up 1.0",
        "learner": "engram_learner_step ",
        "evaluator": "engram_evaluator_evaluations_total",
        "actor-0": "engram_actor_captured_frames_total",
        "actor-1": "engram_actor_interval_seconds_bucket",
    }
    for part, target in parts().items():
        assert target.startswith("127.0.0.1:")
        assert marks[part] in get(f"http://{target}/metrics")


def test_the_evaluator_measures_next_to_its_baselines(run: LiveRun) -> None:
    wait_until(lambda: evaluator(run).evaluations >= 2, 180, "two evaluations")
    status = evaluator(run)
    assert {"world", "depth"} <= status.probes.keys()
    for task in ("world", "depth"):
        assert {"trained", "random", "pixels"} <= status.probes[task].keys()
    assert status.health["rankme"] > 1
    assert {"exposed", "placebo"} <= status.losses.keys()


def test_the_evaluator_can_be_switched_off_and_on(run: LiveRun) -> None:
    run.ask("evaluator", "enable", False)
    time.sleep(6.0)
    done = run.ask("evaluator", "status").evaluations
    time.sleep(6.0)
    assert run.ask("evaluator", "status").evaluations == done
    run.ask("evaluator", "enable", True)
    wait_until(lambda: run.ask("evaluator", "status").evaluations > done, 60, "an evaluation")


def visits_of(visit: str) -> int:
    """How many visits an actor has begun, by the id of its newest."""
    return int(visit.rpartition(".")[2] or -1) + 1


def test_actors_go_through_their_worlds(run: LiveRun) -> None:
    wait_until(lambda: any(visits_of(actor.visit) > 2 for actor in run.status.actors), 60, "a third visit")
    assert {actor.world for actor in run.status.actors} <= set(run.config.world.worlds)


def test_a_pause_stops_frames_and_clock(run: LiveRun) -> None:
    console = WebApiClient("127.0.0.1", int(run.status.control_url.rpartition(":")[2]))
    console.pause()
    wait_until(lambda: all(actor.paused for actor in run.status.actors), 10, "all stand still")
    before = run.ask("actor-1", "status")
    time.sleep(2.0)
    during = run.ask("actor-1", "status")
    assert (during.frames, during.system_time) == (before.frames, before.system_time)
    console.resume()
    wait_until(lambda: run.ask("actor-1", "status").frames > before.frames, 10, "frames again")
    after = run.ask("actor-1", "status")
    assert after.system_time - before.system_time < 1.5


def test_a_stopped_run_leaves_its_records_and_nothing_else(run: LiveRun) -> None:
    """Last on purpose: stops the run that the others share."""
    wait_until(lambda: evaluator(run).evaluations >= 1, 180, "an evaluation")
    family = run.family()
    assert len(family) > 8
    url, path = run.status.metrics_url, run.directory.path
    final = run.stop()
    for actor in final.actors:
        seen = len(run.sensor_log(actor.name))
        read = final.learner.counts[actor.name]
        assert actor.counts.captured == seen
        assert writer_adds_up(actor.counts)
        assert actor.counts.spooled == 0
        assert read.unread == 0
        assert read_total(read) == actor.counts.written
    assert not psutil.wait_procs(family, timeout=5)[1]
    with pytest.raises(OSError, match="refused"):
        get(url)
    events = [row["kind"] for row in read_rows(path / "events.jsonl")]
    assert events[0] == "started"
    assert events[-1] == "stopped"
    assert "checkpoint" in events
    assert "restart" not in events
    assert {row["part"] for row in read_rows(path / "metrics.jsonl")} >= {"actor-0", "actor-1", "learner", "driver"}
    state, arrays = unpack((path / "evaluator.safetensors").read_bytes())
    assert state["lives"] == 1
    assert len(arrays["frames"]) == len(state["archive"]["experiences"]) > 0
    rows = [row for row in read_rows(path / "evaluations.jsonl") if row["row"] == "experience"]
    assert any("value" in row["measures"]["bits"] for row in rows) == any(row["negatives"] for row in rows)
    assert all("value" in row["measures"]["reference"] for row in rows)
    ledger = pyarrow.parquet.read_table(path / "ledger.parquet").to_pydict()
    assert sum(ledger["frames"]) == sum(counts.admitted for counts in final.learner.counts.values())
    assert sum(ledger["exposures"]) == final.learner.images
    evaluations = read_evaluations(list(read_rows(path / "evaluations.jsonl")))
    picture = draw(evaluations, path / "report" / "summary.png")
    assert picture.stat().st_size > 10_000
    text = "".join(file.read_text("utf-8") for file in path.glob("*.*l"))
    assert not re.search(r"redis://\S*:\S*@", text)
