"""The catalogue, what a status turns into, and what a scrape shows."""

import json
import math
import time
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from common.catalogue import Kind, Metric, Role
from common.curiosity.status import CuriosityStatus, TrainersStatus
from common.metrics import Metrics, Sample, rows, samples
from common.status import (
    ActorStatus,
    Bounded,
    EvaluatorStatus,
    LearnerStatus,
    ReaderCounts,
    RunStatus,
    StoreStatus,
    StudyStatus,
    WriterCounts,
)
from common.stream.journal import DropCause

ACTOR = ActorStatus(
    name="actor-0",
    world='odd "world"\\',
    frames=90,
    fps=9.8,
    late=2,
    counts=WriterCounts(captured=100, written=93, dropped={"spool_full": 5}, spooled=2),
    weights_version=3,
    covered={"freedoom2:map01": 12},
    curiosity=CuriosityStatus(steps=9, reward=0.5, errors=(0.4, 0.8), persistence=(0.5, 1.0)),
    rollouts=WriterCounts(captured=3, written=2, dropped={"spool_full": 1}),
)
TRAINERS = TrainersStatus(rollouts=2, trainings=1, surprises=(0.7, 0.9), policy={"kl": 0.01})
LEARNER = LearnerStatus(
    step=10,
    images=320,
    waiting="ratio",
    forfeited=12.5,
    staleness_versions=2.0,
    staleness_max_seconds=7.5,
    versions_acknowledged=4,
    versions_abandoned=1,
    counts={"actor-0": ReaderCounts(unread=3, withheld=20, guard=10, admitted=59, missed=1)},
    health={"grad_norm": 0.5},
)
EVALUATOR = EvaluatorStatus(
    version=2,
    probes={"world": {"trained": 0.6, "pixels": 0.5}},
    losses={"placebo": 0.4},
    memory={"exposed": {"bits": 1.5, "nmse": 0.6}},
    cost={"bits": 0.25},
    health={"rankme": 31.0},
    measured=12,
    postponed=3,
    thinned=7,
)
RUN = RunStatus(
    phase="running",
    actors=(ACTOR,),
    learner=LEARNER,
    evaluator=EVALUATOR,
    trainers=TRAINERS,
    study=StudyStatus(
        measure="bits",
        threshold=0.9,
        times={"t_mem": Bounded(value=65.0, low=55.0, high=75.0)},
        outcomes={"t_mem": {"event": 7, "censored": 2, "collapse": 0}},
        contrasts={"episodic": Bounded(value=0.6)},
        ratios={"margin": Bounded(value=2.5)},
        continual={"acc": Bounded(value=0.6, low=0.5, high=0.7)},
    ),
    store=StoreStatus(up=True, entries={"actor-0": 93}, memory=5_000_000),
    restarts={"learner": 1},
    parts=("actor-0", "learner"),
    disk_free=10**9,
)
STATUS = {
    Role.ACTOR: ACTOR,
    Role.LEARNER: LEARNER,
    Role.EVALUATOR: EVALUATOR,
    Role.CURIOSITY: TRAINERS,
    Role.DRIVER: RUN,
}


def scraped(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    metrics = Metrics(Role.ACTOR)
    yield metrics
    metrics.close()


def test_names_follow_the_conventions() -> None:
    names = [metric.value.name for metric in Metric]
    assert len(set(names)) == len(names)
    for metric in Metric:
        spec = metric.value
        assert spec.name.startswith(f"engram_{spec.role}_")
        assert spec.name.endswith("_total") == (spec.kind is Kind.COUNTER)
        assert spec.help.endswith(".")
        assert bool(spec.buckets) == (spec.kind is Kind.HISTOGRAM)
        assert list(spec.buckets) == sorted(spec.buckets)
        assert not {"run", "part"} & set(spec.labels), "target labels of the driver's /sd"


@pytest.mark.parametrize("role", Role)
def test_a_full_status_gives_every_counter_and_gauge_of_its_role(role: Role) -> None:
    given = {sample.metric for sample in samples(STATUS[role])}
    assert given == {m for m in Metric if m.value.role is role and m.value.kind is not Kind.HISTOGRAM}


def test_the_accounting_can_be_redone_from_the_samples_alone() -> None:
    value = {sample.key: sample.value for sample in samples(ACTOR)}
    dropped = sum(number for key, number in value.items() if key.startswith("engram_actor_dropped_frames_total"))
    written = value["engram_actor_written_frames_total"]
    assert value["engram_actor_captured_frames_total"] == written + dropped + value["engram_actor_spooled_frames"]
    read = sum(s.value for s in samples(LEARNER) if s.metric in (Metric.LEARNER_READ, Metric.LEARNER_UNREAD))
    assert read == written


def test_what_a_learner_says_of_itself_arrives_under_its_name() -> None:
    value = {sample.key: sample.value for sample in samples(LEARNER)}
    assert value["engram_learner_forfeited_samples_total"] == 12.5
    assert value["engram_learner_staleness_median_versions"] == 2.0
    assert value["engram_learner_staleness_max_seconds"] == 7.5
    assert value["engram_learner_versions_acknowledged_total"] == 4
    assert value["engram_learner_versions_abandoned_total"] == 1


def test_memory_is_shown_by_kind_and_measure_and_never_by_experience() -> None:
    value = {sample.key: sample.value for sample in samples(EVALUATOR)}
    assert value['engram_evaluator_memory{kind="exposed",measure="bits"}'] == 1.5
    assert value['engram_evaluator_evaluation_cpu_seconds{component="bits"}'] == 0.25
    assert value["engram_evaluator_postponed_experiences"] == 3
    evaluator = Metrics(Role.EVALUATOR)
    for bits, kind in ((-0.3, "exposed"), (1.2, "exposed"), (0.05, "placebo")):
        evaluator.observe(Metric.EVALUATOR_BITS, bits, kind)
    found = scraped(evaluator.exposition().decode())
    assert found["engram_evaluator_memory_bits_count", (("kind", "exposed"),)] == 2
    assert found["engram_evaluator_memory_bits_bucket", (("kind", "exposed"), ("le", "0.0"))] == 1
    allowed = {"kind", "measure", "component", "probe", "encoder"}
    assert {label for m in Metric if m.value.role is Role.EVALUATOR for label in m.value.labels} == allowed


def test_causes_that_never_came_are_zero_and_new_ones_are_shown() -> None:
    status = ActorStatus(name="a", counts=WriterCounts(dropped={"meteor": 1}))
    dropped = {s.labels[0]: s.value for s in samples(status) if s.metric is Metric.ACTOR_DROPPED}
    assert dropped == {**dict.fromkeys(DropCause, 0), "meteor": 1}


def test_parts_that_never_restarted_are_zero() -> None:
    value = {sample.key: sample.value for sample in samples(RUN)}
    assert value['engram_driver_restarts_total{process="actor-0"}'] == 0
    assert value['engram_driver_restarts_total{process="learner"}'] == 1
    assert value['engram_driver_unreachable_parts_total{process="learner"}'] == 0
    assert value["engram_driver_disk_free_bytes"] == 10**9


def test_of_another_process_only_the_status_is_shown() -> None:
    other = Metrics(Role.ACTOR, own=False)
    other.follow(lambda: ACTOR)
    names = {name for name, _ in scraped(other.exposition().decode())}
    assert "engram_actor_captured_frames_total" in names
    assert not {name for name in names if name.startswith("process_") or name.endswith("_bucket")}


def test_wrong_labels_fail_loudly() -> None:
    with pytest.raises(AssertionError, match="engram_actor_dropped_frames_total wants other labels"):
        Sample(Metric.ACTOR_DROPPED, 1)


def test_observing_what_is_no_histogram_of_the_role_fails_loudly(metrics: Metrics) -> None:
    for metric in (Metric.ACTOR_CAPTURED, Metric.LEARNER_STALENESS_SECONDS):
        with pytest.raises(KeyError):
            metrics.observe(metric, 1.0)


def test_rows_name_parts_and_hold_strict_json() -> None:
    found = list(rows(RUN, t=12.5))
    assert [row["part"] for row in found] == ["driver", "actor-0", "learner", "evaluator", "curiosity"]
    assert all(row["t"] == 12.5 for row in found)
    assert found[2]["engram_learner_loss"] is None
    assert found[2]['engram_learner_read_entries_total{actor="actor-0",fate="withheld"}'] == 20
    assert found[1]['engram_actor_world_info{world="odd \\"world\\"\\\\"}'] == 1
    json.dumps(found, allow_nan=False)


def test_the_endpoint_shows_the_newest_status_and_the_histograms(metrics: Metrics) -> None:
    status = ActorStatus(name="actor-0")
    metrics.follow(lambda: status)
    port = metrics.serve()
    status = ACTOR
    for seconds in (0.004, 0.04, 3.0):
        metrics.observe(Metric.ACTOR_STEP_SECONDS, seconds)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        found = scraped(answer.read().decode())
    assert found["engram_actor_captured_frames_total", ()] == 100
    assert found["engram_actor_dropped_frames_total", (("cause", "spool_full"),)] == 5
    assert found["engram_actor_step_seconds_bucket", (("le", "0.005"),)] == 1
    assert found["engram_actor_step_seconds_bucket", (("le", "+Inf"),)] == 3
    assert math.isclose(found["engram_actor_step_seconds_sum", ()], 3.044)
    assert found["engram_actor_world_info", (("world", ACTOR.world),)] == 1
    assert "process_cpu_seconds_total" in {name for name, _ in found}


def test_closing_frees_the_port(metrics: Metrics) -> None:
    port = metrics.serve()
    metrics.close()
    assert metrics.serve(port=port) == port


def test_observing_is_cheap_enough_for_the_frame_loop(metrics: Metrics) -> None:
    rounds: list[float] = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(2000):
            metrics.observe(Metric.ACTOR_INTERVAL_SECONDS, 0.1)
        rounds.append((time.perf_counter() - start) / 2000)
    assert min(rounds) < 1e-4  # a thousandth of a frame, on the busiest machine
