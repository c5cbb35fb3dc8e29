"""Every panel of every dashboard, asked of a real Prometheus that scrapes a real run. One run serves all tests here."""

import math
import os
import signal
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from deploy.rundir import read_rows
from tests.deploy.watching.boards import EVERYTHING, Question, questions
from tests.deploy.watching.monitor import INTERVAL, RealPrometheus, needs_prometheus, prometheus
from tests.runs import LiveRun, live, small_run, wait_until

pytestmark = [needs_prometheus, pytest.mark.timeout(1200)]

RATE_INTERVAL = f"{4 * INTERVAL:g}s"
"""What Grafana puts for `$__rate_interval`: four scrapes at least."""
EVALUATIONS = 4
UNMEASURED = {
    "Median times of memory": "no experience of a minute is memorised for certain",
    "Contrasts with 95 % interval": "the threshold asks for more experiences than a minute has",
    "Continual learning of places": "a world has to be left and entered again",
    "False memories, margin, saving": "they compare experiences that were memorised",
}
"""Panels of memory that a short run rightly leaves empty; `test_synthetic.py` shows them full."""

BUSY = {"EngramFramesLate", "EngramEvaluatorBehind"}
"""Alerts that a machine rightly raises that is busy with other tests."""

type Living = tuple[LiveRun, RealPrometheus]


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    base = tmp_path_factory.mktemp("watched")
    config = small_run(base / "watched", base / "cache")
    # A machine that runs tests is busy, and this run is nothing without evaluations; bits ask for 64 frames of a world.
    # What is stopped on purpose stays stopped until alarm is raised: `silence` is when the driver starts it anew.
    config = replace(config, silence=120.0, evaluator=replace(config.evaluator, nice=0, trajectories=8))
    with live(config) as run:
        wait_until(lambda: bool(run.status.metrics_url), 60, "the driver lists its parts")
        with prometheus(base / "prometheus", run.status.metrics_url) as server:
            wait_until(lambda: evaluations(run) >= EVALUATIONS, 600, "evaluations")
            wait_until(lambda: bool(run.status.study and run.status.study.outcomes), 400, "a study of them")
            yield run, server


def evaluations(run: LiveRun) -> int:
    return run.status.evaluator.evaluations if run.status.evaluator else 0


def test_every_process_is_found_and_answers(living: Living) -> None:
    run, server = living
    parts = ["actor-0", "actor-1", "driver", "evaluator", "learner"]
    found = {dict(labels)["part"]: labels for labels in server.vector('up{job="engram"} == 1')}
    assert sorted(found) == parts
    for labels in found.values():
        assert dict(labels)["run"] == run.directory.path.name
        assert dict(labels)["model"] == "vit-48x2"
        assert dict(labels)["host"]


@pytest.mark.parametrize("question", list(questions()), ids=lambda q: f"{q.board}: {q.panel}")
def test_a_panel_shows_data(living: Living, question: Question) -> None:
    _, server = living
    asked = question.asked(EVERYTHING, rate_interval=RATE_INTERVAL)

    def shown() -> bool:
        return any(math.isfinite(value) for value in server.vector(asked).values())

    if question.panel in UNMEASURED:
        server.vector(asked)
        pytest.skip(UNMEASURED[question.panel])
    wait_until(shown, 30, f"{asked} gives data")
    other = question.asked({**EVERYTHING, "run": "another"}, rate_interval=RATE_INTERVAL)
    assert server.vector(other) == {}, "the variable run chooses"


def test_variables_choose_one_actor_and_one_world(living: Living) -> None:
    _, server = living
    (question,) = {q.expr: q for q in questions() if q.panel == "Worlds of the actors"}.values()
    now = server.vector("engram_actor_world_info")
    one = dict(next(iter(now)))
    chosen = {"run": one["run"], "model": one["model"], "actor": one["part"], "world": one["world"]}
    found = server.vector(question.asked(chosen, rate_interval=RATE_INTERVAL))
    assert [(dict(labels)["part"], dict(labels)["world"]) for labels in found] == [(one["part"], one["world"])]


def test_rules_are_evaluated_and_a_healthy_run_raises_no_alarm(living: Living) -> None:
    _, server = living
    assert server.rule_problems() == []
    assert server.vector("run:engram_learner_images:rate1m")
    assert set(server.firing()) <= BUSY


RISING = (
    ("actor-0", "engram_actor_captured_frames_total"),
    ("actor-1", "engram_actor_written_frames_total"),
    ("actor-0", "engram_actor_session_frames_total"),
    ("learner", 'engram_learner_read_entries_total{actor="actor-0",fate="admitted"}'),
    ("learner", 'engram_learner_read_entries_total{actor="actor-1",fate="withheld"}'),
    ("learner", "engram_learner_images_total"),
    ("learner", "engram_learner_step"),
    ("learner", "engram_learner_weights_version"),
    ("learner", "engram_learner_ledger_experiences"),
    ("evaluator", "engram_evaluator_evaluations_total"),
    ("evaluator", "engram_evaluator_weights_version"),
    ("driver", "engram_driver_elapsed_seconds"),
    ("driver", 'engram_driver_store_entries{actor="actor-0"}'),
)
"""What never falls in a run that nothing happens to."""
SLOW = ("evaluator", "experiences", "withheld")
"""What rises too seldom to be seen between any three rows: evaluations, and what comes in whole experiences."""
FIXED = (
    ("learner", "engram_learner_parameters"),
    ("learner", "engram_learner_ring_capacity_frames"),
    ("evaluator", "engram_evaluator_interval_seconds"),
    ("driver", "engram_driver_store_budget_bytes"),
    ("driver", "engram_driver_store_limit_bytes"),
)


def test_prometheus_and_the_run_directory_say_the_same(living: Living) -> None:
    """At a row's moment, what Prometheus has lies between the rows before and after it."""
    run, server = living
    wanted = evaluations(run) + 1
    wait_until(lambda: evaluations(run) >= wanted, 60, "one more evaluation")
    time.sleep(12)  # rows come every five seconds: at least one after the middle ones
    rows = list(read_rows(run.directory.path / "metrics.jsonl"))
    for part, key in (*RISING, *FIXED):
        history = [
            (float(row["t"]), float(row[key])) for row in rows if row["part"] == part and row.get(key) is not None
        ]
        name, _, labels = key.rstrip("}").partition("{")
        selector = f'{name}{{part="{part}"{"," if labels else ""}{labels}}}'
        (before, (t, value), after) = history[-4:-1]
        (found,) = server.vector(selector, t).values()
        assert before[1] <= found <= after[1], f"{selector}: {found}, rows {before[1]}, {value}, {after[1]}"
        assert before[1] < after[1] or (part, key) in FIXED or any(slow in key for slow in SLOW), key


@contextmanager
def stopped(process: psutil.Process) -> Generator[None]:
    """A process that stands still for as long as the block."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def test_processes_that_hang_or_die_raise_alarm(living: Living, tmp_path: Path) -> None:
    """Rules of a second Prometheus are five times faster, so that three deaths are still three in its ten minutes."""
    run, _ = living
    (store,) = [child for child in run.family() if child.name() in ("valkey-server", "redis-server")]
    with prometheus(tmp_path / "prometheus", run.status.metrics_url, factor=5.0) as server:
        wait_until(lambda: len(server.vector('up{job="engram"} == 1')) == 5, 60, "all are scraped")
        wait_until(lambda: not set(server.firing()) - BUSY, 60, "all is well")
        for part, alert in (("learner", "EngramLearnerStalled"), ("actor-0", "EngramActorSilent")):
            with stopped(psutil.Process(run.ask(part, "process"))):
                wait_until(lambda alert=alert: alert in server.firing(), 60, alert)
                assert part in server.firing()[alert][0]["annotations"]["summary"]
            wait_until(lambda alert=alert: alert not in server.firing(), 90, f"{alert} ends")
        with stopped(store):
            wait_until(lambda: "EngramStoreDown" in server.firing(), 60, "EngramStoreDown")
        for times in (1, 2, 3):
            os.kill(run.ask("actor-1", "process"), signal.SIGKILL)
            wait_until(lambda times=times: run.status.restarts.get("actor-1") == times, 60, f"restart {times}")
        wait_until(lambda: "EngramRestartLoop" in server.firing(), 60, "EngramRestartLoop")
        assert "actor-1 was restarted 3" in server.firing()["EngramRestartLoop"][0]["annotations"]["summary"]
