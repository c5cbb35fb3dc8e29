import json
from collections import Counter
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from common.config.learner import LearnerConfig
from common.config.run import EvaluatorConfig, RunConfig, WorldConfig
from common.errors import CheckpointError
from common.ijepa.model import IJepa
from common.ledger import COLUMNS, LedgerNews
from common.messages import VersionInfo
from evaluator.encoders import Pixels, batch_size, encode
from evaluator.evaluation import SCHEMA, EncoderName, Evaluation
from evaluator.evaluator import Evaluator
from evaluator.experience import Kind
from evaluator.health import Health
from evaluator.keeping import pack, unpack
from evaluator.memory.measures import Halved, Measure
from evaluator.probes import Task
from evaluator.scores import NotMeasurable, Score
from tests.evaluator.lives import Life
from tests.evaluator.test_experiences import MODEL
from tests.evaluator.walks import SIZE, probe_set, spec

RUN = RunConfig(
    world=WorldConfig(worlds=("w0", "w1", "w2"), placebo_worlds=("p0",), image_size=SIZE),
    learner=LearnerConfig(model=MODEL),
    evaluator=EvaluatorConfig(experiences=60, share=8.0),
    seed=3,
)

NO_ROWS = {name: np.empty(0, np.int64) for name in COLUMNS}


def info(version: int, at: float, **health: float) -> VersionInfo:
    created = int((1000 + at) * 1e9)
    return VersionInfo(version=version, step=10 * version, created_ns=created, system_time=at, digest="", health=health)


def model(seed: int = 4) -> IJepa:
    return IJepa(MODEL, SIZE, seed=seed)


def evaluator(seconds: float = 241.0) -> Evaluator:
    made = Evaluator(RUN, probe_set(spec()))
    for datum, kind in Life().live(seconds):
        made.observe(datum, kind)
    return made


@pytest.fixture(scope="module")
def found() -> Evaluation:
    return evaluator().evaluate(info(1, 241.0, loss=0.3), model())


def test_all_encoders_stand_side_by_side(found: Evaluation) -> None:
    for scores in found.probes.values():
        assert list(scores) == [EncoderName.TRAINED, EncoderName.RANDOM, EncoderName.PIXELS]
        assert all(isinstance(score, Score) for score in scores.values())
    assert list(found.probes) == list(Task)
    assert list(found.knn) == [Task.WORLD, Task.PLACE]


def test_random_baseline_is_the_runs_own_beginning() -> None:
    same = evaluator(1.0).evaluate(info(1, 0.0), model(seed=RUN.seed))
    for scores in same.probes.values():
        assert scores[EncoderName.TRAINED] == scores[EncoderName.RANDOM]
    depth = same.probes[Task.DEPTH]
    assert depth[EncoderName.PIXELS] != depth[EncoderName.RANDOM]
    for gain in same.gains.values():
        assert isinstance(gain, Score)
        assert (gain.value, gain.low, gain.high) == (0, 0, 0)


def test_means_are_those_of_all_kinds_at_one_version(found: Evaluation) -> None:
    for kind in Kind:
        for measure in Measure:
            each = [item.measures[measure] for item in found.memory.experiences if item.experience.kind is kind]
            numbers = [one.value for one in each if isinstance(one, Halved)]
            mean = found.means[kind][measure]
            assert isinstance(mean, Score), (kind, measure, mean)
            assert mean.value == pytest.approx(np.mean(numbers))
            assert mean.low is not None
            assert mean.frames == len(numbers) == len(each)
    exposed = found.means[Kind.EXPOSED][Measure.BITS]
    assert isinstance(exposed, Score)
    assert exposed.clusters == 4


def test_experiences_later_than_the_version_are_no_evidence() -> None:
    early = evaluator().evaluate(info(1, 100.0), model())
    ends = [item.experience.end for item in early.memory.experiences if item.experience.kind is Kind.EXPOSED]
    exposed = early.means[Kind.EXPOSED][Measure.LOSS]
    assert isinstance(exposed, Score)
    assert exposed.frames == sum(end <= 100 for end in ends) < len(ends)
    ages = [row["age"] for row in early.rows() if row["row"] == "experience" and row["age"] is not None]
    assert min(ages) < 0 < max(ages)
    before = evaluator().evaluate(info(1, -1.0), model())
    assert isinstance(before.means[Kind.EXPOSED][Measure.LOSS], NotMeasurable)
    assert isinstance(before.means[Kind.PLACEBO][Measure.LOSS], Score)


def test_every_experience_row_can_be_read_alone(found: Evaluation) -> None:
    for row in found.rows()[1:]:
        assert (row["version"], row["step"], row["system_time"], row["created_ns"]) == (1, 10, 241.0, 1241 * 10**9)
        assert row["measures"].keys() == {"loss", "nmse", "bits", "reference"}
        assert row["loss"] == row["measures"]["loss"]["value"]
        for measured in row["measures"].values():
            assert measured.keys() == {"value", "halves"}
            assert len(measured["halves"]) == 2
        assert row["measures"]["bits"]["value"] <= 8
        assert row["negatives"] == 160
        assert row["near_ceiling"] is False
    worlds = found.rows()[0]["worlds"]
    assert worlds.keys() == {"w0", "w1", "w2", "p0"}
    assert all(of_world.keys() == {"loss", "nmse", "bits"} for of_world in worlds.values())


def test_cost_is_told_by_part_and_adds_up(found: Evaluation) -> None:
    assert {"probes", "baselines", "calibration", "forward", "bits", "nmse", "reference", "loss"} <= found.cost.keys()
    assert sum(found.cost.values()) == pytest.approx(found.cpu_seconds, rel=0.02, abs=0.01)


def test_a_visit_is_measured_whole_or_not_at_all_and_placebos_always() -> None:
    made, life = Evaluator(RUN, probe_set(spec(worlds=1, trajectories=4, frames=12))), Life(fps=2)
    seen: list[set[str]] = []
    for version, seconds in enumerate([601.0] + [30.0] * 7, 1):
        for datum, kind in life.live(seconds):
            made.observe(datum, kind)
        rows = made.evaluate(info(version, life.steps / life.fps), model()).rows()
        names = [row["experience"] for row in rows[1:] if row["kind"] != "placebo"]
        assert len(rows) - 1 - len(names) == rows[0]["experiences"]["placebo"] > 0
        of_visit = Counter(name.rpartition("/")[0] for name in names)
        followed = Counter(item["visit"] for item in followed_by(made))
        assert all(followed[visit] == count for visit, count in of_visit.items())
        seen.append(set(of_visit))
    assert seen[0] == {f"actor-0/{number}" for number in range(10)}
    old, young = (sum(f"actor-0/{number}" in visits for visits in seen) for number in (0, 8))
    assert old < young < len(seen)


def followed_by(made: Evaluator) -> list[dict[str, Any]]:
    """Live experiences that it follows, out of the state that it would leave behind."""
    state, _ = unpack(made.save())
    return state["archive"]["experiences"]


def test_an_evaluator_that_is_started_anew_goes_on() -> None:
    before = evaluator()
    name = next(item["name"] for item in followed_by(before) if item["kind"] == Kind.EXPOSED)
    columns = {column: np.array([number]) for number, column in enumerate(COLUMNS, 10)}
    before.exposures.take(1, LedgerNews(experiences=(name,), columns=columns))
    first = before.evaluate(info(1, 241.0), model())
    after = Evaluator(RUN, probe_set(spec()))
    after.restore(before.save())
    for datum, kind in Life().live(241.0):  # the stream is read from its oldest entry
        after.observe(datum, kind)
    second = after.evaluate(info(5, 2000.0), model())
    assert (second.lives, second.skipped) == (2, 3)
    assert second.counts == first.counts
    scores = {item.experience.name: item.measures for item in first.memory.experiences}
    assert {item.experience.name: item.measures for item in second.memory.experiences} == scores
    row = next(row for row in second.rows() if row.get("experience") == name)
    assert (row["ledger"], row["exposures"]) == ("known", 10 + COLUMNS.index("exposures"))
    soon = Evaluator(RUN, probe_set(spec()))
    soon.restore(before.save())
    kinds = {item.experience.kind for item in soon.evaluate(info(2, 242.0), model()).memory.experiences}
    assert kinds == {Kind.PLACEBO}


def test_a_state_that_does_not_fit_is_refused() -> None:
    content = evaluator(60.0).save()
    other = replace(RUN, evaluator=replace(RUN.evaluator, frames_per_experience=4))
    with pytest.raises(CheckpointError, match="holds frames"):
        Evaluator(other, None).restore(content)
    state, arrays = unpack(content)
    del state["archive"]["last_seq"]
    with pytest.raises(CheckpointError, match="does not fit"):
        Evaluator(RUN, None).restore(pack(state, arrays))


def test_a_late_evaluator_says_what_it_cannot_know() -> None:
    made = evaluator()
    made.exposures.take(40, LedgerNews(since=30, columns=NO_ROWS), created_ns=int(1100e9))
    rows = made.evaluate(info(40, 241.0), model()).rows()
    assert rows[0]["ledger_gaps"] == 1
    told: dict[str, list[dict[str, Any]]] = {"unknown": [], "none": []}
    for row in rows[1:]:
        told[row["ledger"]].append(row)
        assert row["exposures"] is None
    assert told["unknown"]
    assert all(row["kind"] == "exposed" and row["end"] <= 100 for row in told["unknown"])
    assert all(row["kind"] != "exposed" or row["end"] > 100 for row in told["none"])


def test_rows_are_strict_json(found: Evaluation) -> None:
    rows = found.rows()
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert [row["row"] for row in rows] == ["evaluation"] + ["experience"] * len(found.memory.experiences)
    assert all((row["schema"], row["version"], row["step"]) == (SCHEMA, 1, 10) for row in rows)
    summary = rows[0]
    assert set(summary["probes"]) == {"world", "place", "heading", "depth"}
    assert set(summary["probes"]["world"]["trained"]) == {"value", "low", "high", "frames", "clusters"}
    assert set(summary["losses"]) == {"exposed", "withheld", "placebo"}
    assert set(summary["health"]) == {"trained", "random"}


def test_nothing_not_finite_reaches_a_row() -> None:
    broken = model()
    with torch.no_grad():
        for weights in broken.parameters():
            weights.fill_(float("nan"))
    evaluation = evaluator().evaluate(info(1, 241.0, loss=float("nan")), broken)
    rows: list[dict[str, Any]] = json.loads(json.dumps(evaluation.rows(), allow_nan=False))
    assert "not finite" in rows[0]["probes"]["world"]["trained"]["not_measurable"]
    assert rows[0]["probes"]["world"]["pixels"]["value"] > 0
    assert "not_measurable" in rows[0]["losses"]["exposed"]
    assert rows[0]["learner_health"] == {"loss": None}
    assert {row["loss"] for row in rows[1:]} == {None}
    assert all(measured.keys() == {"not_measurable"} for row in rows[1:] for measured in row["measures"].values())


def test_collapsed_weights_are_said_to_be_collapsed() -> None:
    collapsed = model()
    with torch.no_grad():
        collapsed.target_encoder.norm.weight.zero_()
    made = evaluator(1.0)
    evaluation = made.evaluate(info(1, 0.0), collapsed)
    assert evaluation.probes[Task.WORLD][EncoderName.TRAINED] == NotMeasurable(
        "the features do not vary over the training frames"
    )
    assert made.status().health["feature_std"] == 0
    assert made.status().probes["world"].keys() == {"random", "pixels"}


def test_is_the_same_each_time(found: Evaluation) -> None:
    again = evaluator().evaluate(info(1, 241.0, loss=0.3), model())
    assert again.probes == found.probes
    assert again.knn == found.knn
    assert again.means == found.means
    assert again.memory.worlds == found.memory.worlds


def test_status_tells_of_the_last_version() -> None:
    made = evaluator()
    assert made.status().version == 0
    made.evaluate(info(2, 241.0), model())
    made.evaluate(info(6, 400.0), model(5))
    status = made.status()
    assert (status.version, status.step, status.evaluations, status.skipped) == (6, 60, 2, 3)
    assert status.losses.keys() == {"exposed", "withheld", "placebo"}
    assert status.probes["depth"].keys() == {"trained", "random", "pixels"}
    assert status.memory.keys() == {"exposed", "withheld", "placebo"}
    assert status.memory["exposed"].keys() == {"loss", "nmse", "bits", "reference"}
    assert status.measured == status.experiences
    assert status.postponed == 0
    assert status.health.keys() == {field.name for field in fields(Health)}
    assert 0 < status.core_share <= 1.05
    assert status.experiences > 20


def test_baselines_are_measured_once() -> None:
    made, pauses = evaluator(1.0), [0, 0]

    def count(place: int) -> None:
        pauses[place] += 1

    made.evaluate(info(1, 0.0), model(), lambda: count(0))
    made.evaluate(info(2, 0.0), model(5), lambda: count(1))
    assert pauses[1] < pauses[0] * 0.6


def test_giving_up_leaves_the_evaluator_as_it_was(found: Evaluation) -> None:
    made, left = evaluator(), [25]

    class StopError(Exception):
        pass

    def stop() -> None:
        left[0] -= 1
        if not left[0]:
            raise StopError

    with pytest.raises(StopError):
        made.evaluate(info(1, 241.0), model(), stop)
    assert made.status().evaluations == 0
    assert made.status().activity == "waiting"
    assert made.evaluate(info(1, 241.0), model()).probes == found.probes


def test_frames_that_arrive_during_an_evaluation_wait_for_the_next() -> None:
    made, life = evaluator(31.0), Life()
    life.steps = 310
    data = life.live(600)

    def read() -> None:
        for _ in range(20):
            made.observe(*next(data))

    first = made.evaluate(info(1, 1000.0), model(), read)
    second = made.evaluate(info(2, 1000.0), model())
    assert len(second.memory.experiences) > len(first.memory.experiences)


def test_without_a_probe_set_only_experiences_are_measured() -> None:
    made = Evaluator(RUN, None)
    for datum, kind in Life().live(120):
        made.observe(datum, kind)
    evaluation = made.evaluate(info(1, 120.0), model())
    assert evaluation.probes[Task.WORLD][EncoderName.TRAINED] == NotMeasurable("there is no probe set")
    assert isinstance(evaluation.means[Kind.EXPOSED][Measure.LOSS], Score)
    assert isinstance(evaluation.means[Kind.PLACEBO][Measure.LOSS], NotMeasurable)
    assert json.dumps(evaluation.rows(), allow_nan=False)
    assert made.status().probes["world"] == {}


def test_pixels_are_area_means() -> None:
    frame = np.zeros((1, 16, 16, 3), np.uint8)
    frame[0, 0, 0, 1] = 255
    found = encode(Pixels(), frame, pause=lambda: None)
    assert found.shape == (1, 192)
    assert found.reshape(3, 8, 8)[1, 0, 0] == pytest.approx(0.25)
    assert found.sum() == pytest.approx(0.25)


def test_large_networks_get_small_slices() -> None:
    network = model()
    tokens = network.grid[0] * network.grid[1]
    assert batch_size(network, tokens) == 32
    assert batch_size(network, 200_000) == 5e9 // (200_000 * sum(weights.numel() for weights in network.parameters()))
    assert batch_size(network, 10**9) == 1


def test_experiences_are_bounded_by_the_config() -> None:
    made = Evaluator(replace(RUN, evaluator=replace(RUN.evaluator, experiences=12)), probe_set(spec()))
    for datum, kind in Life().live(400):
        made.observe(datum, kind)
    assert made.status().experiences == 12


def test_rows_carry_what_the_ledger_says_of_that_version() -> None:
    made = evaluator()
    name = next(item["name"] for item in followed_by(made) if item["kind"] == Kind.EXPOSED)
    columns = {column: np.array([number]) for number, column in enumerate(COLUMNS, 10)}
    made.exposures.take(1, LedgerNews(experiences=(name,), columns=columns))
    first = made.evaluate(info(1, 241.0), model())
    made.exposures.take(
        2, LedgerNews(experiences=(name,), columns={key: column + 100 for key, column in columns.items()})
    )
    second = made.evaluate(info(2, 400.0), model())
    for evaluation, more in ((first, 0), (second, 100)):
        rows = {row["experience"]: row for row in evaluation.rows()[1:]}
        assert rows[name]["exposures"] == 10 + COLUMNS.index("exposures") + more
        assert rows[name]["last_step"] == 10 + COLUMNS.index("last_step") + more
        unknown = [row for row in rows.values() if row["experience"] != name]
        assert unknown
        assert all(row["exposures"] is None and row["last_step"] is None for row in unknown)
