"""A real cohort of three tiny learners: what they admit, what a death of one does to the others, what Prometheus sees.

One run serves all tests here.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray is untyped in parts.

import os
import shutil
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from common.config import RunConfig
from common.config.files import from_yaml
from common.status import LearnerStatus, RunStatus
from deploy.cohort.plan import Enrolment, Plan, folder_of
from deploy.cohort.proof import agreement
from deploy.rundir import read_rows
from learner import archive
from learner import checkpoint as checkpoints
from tests.audit import audit
from tests.deploy.watching.boards import EVERYTHING, questions
from tests.deploy.watching.monitor import RealPrometheus, needs_prometheus, prometheus
from tests.runs import LiveRun, live, read_total, small_run, wait_until

pytestmark = pytest.mark.timeout(500)

FILE = """
v: 1
acting: small
members:
  large: {learner.model.dim: 96}
  small: {}
  other: {learner.replay.keep: reservoir, seed: 3}
"""
UNMEASURED = {
    "Place accuracy over an untrained encoder",
    "Depth over an untrained encoder",
    "Effective dimensions (RankMe)",
    "Memory of moments",
    "Memory of places",
    "Experiences memorised, forgotten",
}
"""Panels of evaluations, which a run so short may not have."""


@dataclass
class Lived:
    """What is left of the run.

    Attributes:
        run: Its configuration.
        enrolment: Who learned.
        final: Its last status.
        before: Steps by member just before the death.
        while_dead: Steps by member when the dead one had come back.
        seen: By panel of the cohort's dashboard, the values of `model` that Prometheus had.
        parts: Targets that Prometheus found: part and model.
        niceness: By member, that of its learner and of its evaluator.
    """

    run: RunConfig
    enrolment: Enrolment
    final: RunStatus = field(default_factory=RunStatus)
    before: dict[str, int] = field(default_factory=dict[str, int])
    while_dead: dict[str, int] = field(default_factory=dict[str, int])
    seen: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    parts: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    niceness: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])

    @property
    def folders(self) -> dict[str, Path]:
        """Run directories by member."""
        return {"small": self.run.path, **{name: folder_of(self.run, name) for name in ("large", "other")}}


def learners(status: RunStatus) -> dict[str, LearnerStatus]:
    return {status.member: status.learner, **{member.name: member.learner for member in status.members}}


def steps(run: LiveRun) -> dict[str, int]:
    return {name: learner.step for name, learner in learners(run.status).items()}


def answered_steps(run: LiveRun, part: str) -> int:
    """Steps that a learner tells of itself; 0 where it does not answer soon."""
    asked: Any = run.driver.handle(part).status.remote()
    if not ray.wait([asked], timeout=5)[0]:
        return 0
    status: Any = ray.get(asked)
    return status.step


def niceness(run: LiveRun, part: str) -> int:
    return psutil.Process(run.ask(part, "process")).nice()


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    base = tmp_path_factory.mktemp("cohort")
    config = small_run(base / "run", base / "cache")
    config = replace(config, control=replace(config.control, enabled=False))
    (base / "cohort.yaml").write_text(FILE)
    enrolment = Plan.load(base / "cohort.yaml").enrol(config)
    told = Lived(run=enrolment.run, enrolment=enrolment)
    with ExitStack() as stack:
        run = stack.enter_context(live(enrolment.run, enrolment=enrolment))
        wait_until(lambda: all(step > 5 for step in steps(run).values()), 200, "five steps of each")
        told.niceness = {
            name: (niceness(run, f"learner.{name}"), niceness(run, f"evaluator.{name}")) for name in told.folders
        }
        told.before = steps(run)
        os.kill(run.ask("learner.large", "process"), signal.SIGKILL)
        wait_until(lambda: {one.name: one.restarts for one in run.status.members}["large"] == 1, 60, "a new start")
        wait_until(lambda: answered_steps(run, "learner.large") > told.before["large"], 200, "it trains again")
        told.while_dead = steps(run)
        if shutil.which("prometheus"):
            with prometheus(base / "prometheus", run.status.metrics_url) as server:
                wait_until(lambda: len(server.vector('up{job="engram"} == 1')) == 11, 60, "all targets answer")
                time.sleep(5)
                _ask(server, told)
        told.final = run.stop()
    return told


def _ask(server: RealPrometheus, told: Lived) -> None:
    told.parts = {(dict(labels)["part"], dict(labels)["model"]) for labels in server.vector('up{job="engram"} == 1')}
    for question in questions():
        if question.board == "cohort":
            found = server.vector(question.asked(EVERYTHING, rate_interval="10s"))
            models = {dict(labels).get("model", "") for labels in found}
            told.seen[question.panel] = told.seen.get(question.panel, set()) | models


def test_all_members_admit_the_same_frames_though_one_was_killed(lived: Lived) -> None:
    """By the ledgers of the last checkpoints, frame for frame."""
    ledgers: dict[str, dict[str, int]] = {}
    for name, folder in lived.folders.items():
        path = checkpoints.latest(folder / "checkpoints")
        assert path is not None
        whole = archive.read_whole(path, checkpoints.load(path).whole_ledger())
        ledgers[name] = dict(zip(whole["experience"], whole["frames"], strict=True))
    assert len(ledgers["small"]) > 5
    assert ledgers["large"] == ledgers["small"] == ledgers["other"]
    found = agreement(lived.folders)
    assert not found.apart
    assert found.words({}).startswith(f"3 members admitted the same {len(ledgers['small'])} experiences, ")


def test_every_member_accounts_for_every_frame(lived: Lived) -> None:
    written = {actor.name: actor.counts.written for actor in lived.final.actors}
    assert sum(written.values()) > 100
    for name, learner in learners(lived.final).items():
        assert {actor: read_total(counts) for actor, counts in learner.counts.items()} == written, name
        assert not any(counts.unread or counts.missed for counts in learner.counts.values()), name
    for name, folder in lived.folders.items():
        rows = [row for row in read_rows(folder / "metrics.jsonl") if row["part"] == "learner"]
        assert rows[-1]["engram_learner_step"] == learners(lived.final)[name].step
    assert all(found.adds_up for found in audit(lived.run.path).values())


def test_a_member_that_is_killed_comes_back_and_the_others_go_on(lived: Lived) -> None:
    assert {one.name: one.restarts for one in lived.final.members} == {"large": 1, "other": 0}
    for name in ("small", "other"):
        assert lived.while_dead[name] > lived.before[name]
    assert lived.final.restarts == {}
    restarts = {
        name: [row["part"] for row in read_rows(folder / "events.jsonl") if row["kind"] == "restart"]
        for name, folder in lived.folders.items()
    }
    assert restarts == {"small": [], "large": ["learner"], "other": []}


def test_each_member_s_folder_is_that_of_a_run(lived: Lived) -> None:
    for name, folder in lived.folders.items():
        config = from_yaml(folder / "config.yaml")
        assert config.learner.model.dim == (96 if name == "large" else 48)
        kinds = [row["kind"] for row in read_rows(folder / "events.jsonl")]
        assert {"started", "all_actors_live", "checkpoint"} <= set(kinds)
        assert kinds[-1] == "stopped"


def test_only_the_member_that_acts_knows_how_old_the_weights_are(lived: Lived) -> None:
    told = {name: learner.staleness_seconds for name, learner in learners(lived.final).items()}
    assert told["small"] > 0
    assert told["large"] != told["large"]
    assert any(actor.weights_version > 0 for actor in lived.final.actors)


def test_learners_and_evaluators_give_way_to_actors(lived: Lived) -> None:
    assert set(lived.niceness.values()) == {(10, 19)}


@needs_prometheus
def test_prometheus_sees_each_member_under_its_name(lived: Lived) -> None:
    members = set(lived.folders)
    of_each = {(part, name) for part in ("learner", "evaluator") for name in members}
    of_run = {("driver", "small"), ("actor-0", "small"), ("actor-1", "small"), ("member", "large"), ("member", "other")}
    assert lived.parts == of_each | of_run
    assert lived.seen.pop("Worlds of the actors") == {"small"}
    assert lived.seen.pop("Staleness") == members
    for panel, models in lived.seen.items():
        assert models == members or (panel in UNMEASURED and models < members), panel
