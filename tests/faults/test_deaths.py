"""Real processes killed during real runs: what goes on, and what was lost."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Redis, Ray and Arrow are untyped in parts.

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from common.config import Durability
from common.config.files import to_yaml
from common.stream import StreamKeys, connect, last_beats
from common.stream.journal import DropCause
from deploy.rundir import read_rows
from learner import checkpoint as checkpoints
from tests.runs import LiveRun, live, read_total, small_run, wait_until, writer_adds_up

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[LiveRun]:
    with live(small_run(tmp_path / "run", tmp_path / "cache")) as living:
        wait_until(lambda: living.status.learner.version >= 3, 120, "three weights versions")
        yield living


def kill(run: LiveRun, part: str) -> None:
    pid = run.ask(part, "process")
    assert pid in {process.pid for process in psutil.Process().children(recursive=True)}
    os.kill(pid, signal.SIGKILL)


def test_an_actor_is_started_anew_in_a_new_visit_and_the_gap_is_the_loss(run: LiveRun) -> None:
    before = run.ask("actor-0", "status")
    steps = run.status.learner.step
    dying = psutil.Process(run.ask("actor-0", "process"))
    engines = [child for child in dying.children(recursive=True) if child.name() == "vizdoom"]
    assert engines
    kill(run, "actor-0")
    wait_until(lambda: run.status.restarts.get("actor-0") == 1, 20, "the restart")
    wait_until(lambda: run.ask("actor-0", "status").frames > 20, 60, "frames of the new actor")
    after = run.ask("actor-0", "status")
    assert after.counts.captured > before.counts.captured
    assert after.visit.split(".")[1] == "2"
    wait_until(lambda: run.status.learner.step > steps + 10, 60, "training goes on")
    assert run.status.restarts == {"actor-0": 1}
    assert not psutil.wait_procs(engines, timeout=5)[1], "the dead actor's game lives on"
    final = run.stop()
    actor = next(status for status in final.actors if status.name == "actor-0")
    # The sensor notes a frame a moment before it is captured: the one under way at the death may lack.
    assert len(run.sensor_log("actor-0")) - actor.counts.captured in (0, 1)
    assert writer_adds_up(actor.counts)
    assert read_total(final.learner.counts["actor-0"]) == actor.counts.written
    assert actor.counts.dropped[DropCause.DIED] <= 5


def test_the_evaluator_is_started_anew_goes_on_and_nobody_else_notices(run: LiveRun) -> None:
    wait_until((run.directory.path / "evaluator.safetensors").exists, 180, "a state of the evaluator")
    followed = run.ask("evaluator", "status").experiences
    kill(run, "evaluator")
    steps = run.status.learner.step
    wait_until(lambda: run.status.restarts.get("evaluator") == 1, 20, "the restart")
    wait_until(lambda: run.ask("evaluator", "status").evaluations >= 1, 180, "an evaluation")
    assert run.status.learner.step > steps
    assert run.status.restarts == {"evaluator": 1}
    assert run.ask("evaluator", "status").experiences >= followed
    run.stop()
    lives = [row["lives"] for row in run.directory.read_evaluations() if row["row"] == "evaluation"]
    assert lives[-1] == 2


def test_the_learner_goes_on_from_its_checkpoint_while_actors_live_on(run: LiveRun) -> None:
    wait_until(lambda: checkpoints.latest(run.directory.checkpoints) is not None, 60, "a checkpoint")
    newest = checkpoints.latest(run.directory.checkpoints)
    assert newest is not None
    saved = checkpoints.load(newest)
    version = run.status.learner.version
    frames = run.ask("actor-0", "status").frames
    kill(run, "learner")
    wait_until(lambda: run.status.restarts.get("learner") == 1, 20, "the restart")
    wait_until(lambda: run.ask("learner", "status").version > version, 90, "a version above the last one known")
    after = run.ask("learner", "status")
    assert after.step >= saved.step
    assert run.ask("actor-0", "status").frames > frames + 20
    wait_until(lambda: run.ask("actor-0", "acting_digest")[0] > version, 30, "actors follow the new learner")
    final = run.stop()
    for actor in final.actors:
        assert read_total(final.learner.counts[actor.name]) == actor.counts.written
        assert final.learner.counts[actor.name].missed == 0


def test_the_registry_comes_back_and_is_filled_again(run: LiveRun) -> None:
    version = run.status.learner.version
    beats = run.ask("actor-0", "acting_digest")[0]
    ray.kill(ray.get_actor("registry"), no_restart=False)
    wait_until(lambda: run.ask("actor-0", "acting_digest")[0] > max(version, beats), 60, "newer weights act")
    assert run.status.restarts == {}


def test_frames_wait_while_the_server_stands_still(run: LiveRun) -> None:
    server = next(p for p in psutil.Process().children(recursive=True) if "valkey-server" in p.name())
    before = run.ask("actor-0", "status")
    server.suspend()
    time.sleep(8.0)
    during = run.ask("actor-0", "status")
    server.resume()
    assert during.frames - before.frames > 60
    assert during.counts.spooled > 30
    wait_until(lambda: run.ask("actor-0", "status").counts.spooled < 5, 10, "the spool is empty again")
    final = run.stop()
    for actor in final.actors:
        assert len(run.sensor_log(actor.name)) == actor.counts.captured == actor.counts.written
        assert read_total(final.learner.counts[actor.name]) == actor.counts.written
    assert final.restarts == {}


@pytest.mark.parametrize("durability", Durability)
def test_an_embedded_server_that_dies_comes_back_with_what_it_keeps(tmp_path: Path, durability: Durability) -> None:
    config = small_run(tmp_path / "run", tmp_path / "cache")
    config = replace(config, stream=replace(config.stream, durability=durability))
    with live(config) as run:
        wait_until(lambda: checkpoints.latest(run.directory.checkpoints) is not None, 120, "a checkpoint")
        run.ask("learner", "pause")
        admitted = run.ask("learner", "status").counts["actor-0"].admitted
        time.sleep(4.0)
        server = next(p for p in psutil.Process().children(recursive=True) if "valkey-server" in p.name())
        server.kill()
        run.ask("learner", "resume")
        wait_until(lambda: run.status.store.restarts == 1, 5, "the server is back")
        for actor in ("actor-0", "actor-1"):
            wait_until(lambda actor=actor: run.ask(actor, "status").counts.spooled < 5, 10, "the spool is empty again")
        wait_until(lambda: run.ask("learner", "status").counts["actor-0"].admitted > admitted + 30, 10, "new frames")
        final = run.stop()
    for actor in final.actors:
        assert len(run.sensor_log(actor.name)) == actor.counts.captured == actor.counts.written
        assert read_total(final.learner.counts[actor.name]) == actor.counts.written
    missed = sum(counts.missed for counts in final.learner.counts.values())
    print(f"{durability}: {missed} missed")
    assert final.learner.stream_resets == 1
    assert final.restarts == {}
    if durability is Durability.AOF:
        assert missed == 0


class Process:
    """`engram` as a user starts it."""

    def __init__(self, *words: str, folder: Path) -> None:
        self.log = folder / f"{words[0]}.log"
        with self.log.open("w") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "engram", *words],
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.popen.pid).children(recursive=True)


def learner_rows(path: Path) -> list[Mapping[str, Any]]:
    return [row for row in read_rows(path / "metrics.jsonl") if row["part"] == "learner"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_in_order(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "config.yaml").write_text(to_yaml(small_run(tmp_path / "run", tmp_path / "cache")), "utf-8")
    flags = ("--duration", "0", "--run-dir", "run", "--evaluator.no-enabled", "--learner.publish-every", "1s")
    process = Process("run", *flags, folder=tmp_path)
    wait_until(lambda: any(row["engram_learner_step"] for row in learner_rows(tmp_path / "run")), 120, "training")
    family = process.family()
    assert len(family) > 5
    os.killpg(process.popen.pid, number)
    assert process.popen.wait(90) == 0, process.log.read_text("utf-8")
    _, alive = psutil.wait_procs(family, timeout=5)
    assert not alive
    assert "adds up" in process.log.read_text("utf-8")
    events = [row["kind"] for row in read_rows(tmp_path / "run" / "events.jsonl")]
    assert events[-1] == "stopped"
    assert checkpoints.latest(tmp_path / "run" / "checkpoints") is not None


@pytest.mark.parametrize("durability", [Durability.MEMORY, Durability.AOF])
def test_a_killed_driver_takes_its_children_along_and_its_run_can_be_resumed(
    tmp_path: Path, durability: Durability
) -> None:
    flags = ("--duration", "0", "--run-dir", "run", "--evaluator.no-enabled", "--learner.checkpoint-every", "5s")
    process = Process("run", *flags, "--stream.durability", durability, folder=tmp_path)
    checkpoint_dir = tmp_path / "run" / "checkpoints"

    def trained() -> bool:
        assert process.popen.poll() is None, process.log.read_text("utf-8")
        newest = checkpoints.latest(checkpoint_dir)
        return newest is not None and json.loads((newest / "state.json").read_text("utf-8"))["step"] > 5

    wait_until(trained, 180, "a checkpoint with steps")
    family = process.family()
    assert len(family) > 8
    process.popen.send_signal(signal.SIGKILL)
    process.popen.wait()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive, "children outlived their driver by ten seconds"

    newest = checkpoints.latest(checkpoint_dir)
    assert newest is not None
    saved = checkpoints.load(newest)
    resumed = Process("resume", "run", "--duration", "20s", folder=tmp_path)
    assert resumed.popen.wait(180) == 0, resumed.log.read_text("utf-8")
    last = checkpoints.latest(checkpoint_dir)
    assert last is not None
    final = checkpoints.load(last)
    assert final.step > saved.step
    assert final.state["version"] > saved.state["version"]
    known = len(saved.ledger["experience"])
    assert final.ledger["experience"][:known] == saved.ledger["experience"]
    assert len(final.ledger["experience"]) > known
    assert all(now >= then for now, then in zip(final.ledger["exposures"], saved.ledger["exposures"], strict=False))
    assert sum(final.ledger["exposures"]) == final.state["images"]
    (began, went_on) = (row for row in read_rows(tmp_path / "run" / "events.jsonl") if "stream" in row)
    assert (began["kind"], went_on["kind"]) == ("started", "resumed")
    missed = {actor: place["missed"] for actor, place in final.state["ingest"]["positions"].items()}
    if durability is Durability.AOF:
        assert began["stream"] == went_on["stream"]
        assert missed == {"actor-0": 0, "actor-1": 0}
    else:
        assert began["stream"] != went_on["stream"]
    assert not (tmp_path / "run" / "store").exists()


def test_heartbeats_name_the_processes(run: LiveRun) -> None:
    client = connect(run.driver.redis_url)
    beats = last_beats(client, StreamKeys(run.driver.stream))
    client.close()
    assert {"actor-0", "actor-1", "learner", "evaluator"} <= beats.keys()
    assert beats["learner"]["pid"] == run.ask("learner", "process")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seconds", [0.3, 3.0, 6.0])
def test_a_signal_while_a_run_starts_ends_it_in_one_line(
    tmp_path: Path, number: signal.Signals, seconds: float
) -> None:
    process = Process("run", "--duration", "5", "--run-dir", "run", "--evaluator.no-enabled", folder=tmp_path)
    time.sleep(seconds)
    family = process.family() if process.popen.poll() is None else []
    os.killpg(process.popen.pid, number)
    code = process.popen.wait(90)
    said = process.log.read_text("utf-8")
    assert "Traceback" not in said
    assert code in (0, 1, 130, -signal.SIGTERM), said
    assert not psutil.wait_procs(family, timeout=10)[1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_rank_that_dies_or_hangs_takes_its_group_along_and_all_go_on_from_the_checkpoint(
    tmp_path: Path, number: signal.Signals
) -> None:
    config = small_run(tmp_path / "run", tmp_path / "cache")
    config = replace(
        config,
        learner=replace(config.learner, ranks=2),
        evaluator=replace(config.evaluator, enabled=False),
    )
    with live(config) as run:
        wait_until(lambda: checkpoints.latest(run.directory.checkpoints) is not None, 120, "a checkpoint")
        wait_until(lambda: run.status.learner.step > 20, 120, "training")
        newest = checkpoints.latest(run.directory.checkpoints)
        assert newest is not None
        saved, frames = checkpoints.load(newest), run.ask("actor-0", "status").frames
        version = run.status.learner.version
        processes = [psutil.Process(run.ask(part, "process")) for part in ("learner", "learner-1")]
        processes[1].send_signal(number)
        wait_until(lambda: run.status.restarts == {"learner": 1, "learner-1": 1}, 60, "the restart of both")
        wait_until(lambda: run.status.learner.version > version + 1, 200, "versions above the last one known")
        assert run.status.learner.step >= saved.step
        assert not psutil.wait_procs(processes, timeout=10)[1], "a rank of the old group lives on"
        assert run.ask("actor-0", "status").frames > frames + 20
        final = run.stop()
    assert final.restarts == {"learner": 1, "learner-1": 1}
    for actor in final.actors:
        assert read_total(final.learner.counts[actor.name]) == actor.counts.written
        assert final.learner.counts[actor.name].missed == 0
    last = checkpoints.latest(run.directory.checkpoints)
    assert last is not None
    ended = checkpoints.load(last)
    assert len({one.state["digest"] for one in (ended, *ended.others)}) == 1
    reasons = {
        row["part"]: row["reason"] for row in read_rows(run.directory.path / "events.jsonl") if row["kind"] == "restart"
    }
    blamed = "its process died" if number is signal.SIGKILL else "no heartbeat"
    assert blamed in reasons["learner"]
    assert blamed in reasons["learner-1"]
