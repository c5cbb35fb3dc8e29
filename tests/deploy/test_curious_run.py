"""Curiosity in a real run: actors, trainers and learner in processes of their own, over deaths, pauses and a resume."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from pamiq_core.console import SystemStatus
from pamiq_core.console.web_api import WebApiClient

from common import saved_files
from common.config import RunConfig
from common.config.curiosity import CuriosityConfig, DynamicsConfig, PolicyConfig
from common.curiosity.status import TrainersStatus
from deploy.rundir import read_rows
from tests.runs import LiveRun, live, small_run, wait_until

pytestmark = pytest.mark.timeout(400)


def curious_run(base: Path) -> RunConfig:
    run = small_run(base / "run", base / "cache")
    return replace(
        run,
        actors=replace(run.actors, agent="curious"),
        evaluator=replace(run.evaluator, enabled=False),
        curiosity=CuriosityConfig(
            rollout=8,
            dynamics=DynamicsConfig(dim=16),
            policy=PolicyConfig(dim=16, rollouts=4, minibatch=16),
        ),
    )


def trainers(run: LiveRun) -> TrainersStatus:
    return run.status.trainers or TrainersStatus()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRun]:
    with live(curious_run(tmp_path_factory.mktemp("curious"))) as living:
        wait_until(lambda: trainers(living).trainings >= 3, 180, "three trainings of the policy")
        yield living


def test_rollouts_add_up_and_metrics_tell(run: LiveRun) -> None:
    # The trainers' count comes after the actors': what was written in between can only be more.
    written = sum(run.ask(actor, "status").rollouts.written for actor in ("actor-0", "actor-1"))
    wait_until(lambda: trainers(run).rollouts >= written, 30, "all rollouts that were written are fed")
    assert trainers(run).missed == trainers(run).refused == 0
    status = run.ask("actor-0", "status")
    assert status.curiosity.steps > 8
    assert len(status.curiosity.errors) == len(status.curiosity.persistence) == 8
    assert 0 < status.curiosity.entropy < 4
    assert set(status.covered) <= set(run.config.world.worlds)
    wait_until(
        lambda: "engram_curiosity_policy_trainings_total" in (run.directory.path / "metrics.jsonl").read_text(),
        30,
        "rows of the trainers",
    )
    rows = read_rows(run.directory.path / "metrics.jsonl")
    assert any('engram_actor_foresight_error{ahead="8"}' in row for row in rows)


def test_tracks_are_written(run: LiveRun) -> None:
    lines = (run.directory.actors / "actor-0.track").read_text("utf-8").splitlines()
    generation, visit, world, seconds, x, y = json.loads(lines[0])
    assert (generation, visit) == (1, 0)
    assert 0 <= seconds < 0.5
    assert world in run.config.world.worlds
    assert isinstance(x, float)
    assert isinstance(y, float)


def test_killed_trainers_go_on_from_their_last_state(run: LiveRun) -> None:
    states = run.directory.path / "states" / "curiosity.state"
    wait_until(states.exists, 60, "a state on disk")
    saved = json.loads(saved_files.unpack(states.read_bytes())["trainers/policy/policy.json"])["trainings"]
    psutil.Process(run.ask("curiosity", "process")).kill()
    wait_until(lambda: run.status.restarts.get("curiosity", 0) == 1, 60, "a restart")
    wait_until(lambda: run.ask("curiosity", "status").trainings > saved, 120, "trainings beyond the saved ones")
    assert run.ask("curiosity", "status").missed == 0


def test_saved_in_a_pause_and_resumed_nothing_is_lost(run: LiveRun) -> None:
    port = int(run.status.control_url.rpartition(":")[2])
    client = WebApiClient("localhost", port)
    client.pause()
    wait_until(lambda: client.get_status() is SystemStatus.PAUSED, 60, "all stand still")
    mind = saved_files.unpack(run.ask("curiosity", "state"))
    actor = saved_files.unpack(run.ask("actor-0", "state"))
    assert trainers(run).paused
    final = run.stop()
    folder = run.directory.path / "states"
    after = saved_files.unpack((folder / "curiosity.state").read_bytes())
    assert {name: content for name, content in after.items() if name != "reader"} == {
        name: content for name, content in mind.items() if name != "reader"
    }
    assert saved_files.unpack((folder / "actor-0.state").read_bytes()) == actor
    assert final.trainers is not None

    with live(run.config, resumed=True) as resumed:
        before = final.trainers.trainings
        wait_until(lambda: trainers(resumed).trainings > before, 180, "trainings go on")
        curiosity = next(one.curiosity for one in final.actors if one.name == "actor-0")
        steps = curiosity.steps if curiosity else 0
        assert steps > 8
        assert resumed.ask("actor-0", "status").curiosity.steps > steps
        assert resumed.ask("actor-0", "status").visit.startswith("actor-0.2.")
        assert trainers(resumed).refused == 0
