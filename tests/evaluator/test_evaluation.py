import json
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from common.config.learner import LearnerConfig
from common.config.run import EvaluatorConfig, RunConfig, WorldConfig
from common.ijepa.model import IJepa
from common.ledger import COLUMNS, LedgerNews
from common.messages import VersionInfo
from evaluator.encoders import Pixels, batch_size, encode
from evaluator.evaluation import SCHEMA, EncoderName, Evaluation, Evaluator
from evaluator.experience import Experience, Kind
from evaluator.health import Health
from evaluator.probes import Task
from evaluator.scores import NotMeasurable, Score
from tests.evaluator.lives import Life
from tests.evaluator.test_experiences import MODEL
from tests.evaluator.walks import SIZE, probe_set, spec

RUN = RunConfig(
    world=WorldConfig(worlds=("w0", "w1", "w2"), placebo_worlds=("p0",), image_size=SIZE),
    learner=LearnerConfig(model=MODEL),
    evaluator=EvaluatorConfig(experiences=60),
    seed=3,
)


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


def test_losses_are_those_of_all_kinds_at_one_version(found: Evaluation) -> None:
    by_kind = {
        kind: [item.loss for item in found.experiences if item.experience.kind is kind and item.loss is not None]
        for kind in Kind
    }
    for kind, each in by_kind.items():
        mean = found.losses[kind]
        assert isinstance(mean, Score)
        assert mean.value == pytest.approx(np.mean(each))
        assert mean.low is not None
        assert mean.frames == len(each)
    exposed = found.losses[Kind.EXPOSED]
    assert isinstance(exposed, Score)
    assert exposed.clusters == 4


def test_experiences_later_than_the_version_are_no_evidence() -> None:
    early = evaluator().evaluate(info(1, 100.0), model())
    ends = [item.experience.end for item in early.experiences if item.experience.kind is Kind.EXPOSED]
    exposed = early.losses[Kind.EXPOSED]
    assert isinstance(exposed, Score)
    assert exposed.frames == sum(end <= 100 for end in ends) < len(ends)
    ages = [row["age"] for row in early.rows() if row["row"] == "experience" and row["age"] is not None]
    assert min(ages) < 0 < max(ages)
    before = evaluator().evaluate(info(1, -1.0), model())
    assert isinstance(before.losses[Kind.EXPOSED], NotMeasurable)
    assert isinstance(before.losses[Kind.PLACEBO], Score)


def test_rows_are_strict_json(found: Evaluation) -> None:
    rows = found.rows()
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert [row["row"] for row in rows] == ["evaluation"] + ["experience"] * len(found.experiences)
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
    assert again.losses == found.losses


def test_status_tells_of_the_last_version() -> None:
    made = evaluator()
    assert made.status().version == 0
    made.evaluate(info(2, 241.0), model())
    made.evaluate(info(6, 241.0), model(5))
    status = made.status()
    assert (status.version, status.step, status.evaluations, status.skipped) == (6, 60, 2, 3)
    assert status.losses.keys() == {"exposed", "withheld", "placebo"}
    assert status.probes["depth"].keys() == {"trained", "random", "pixels"}
    assert status.health.keys() == {field.name for field in fields(Health)}
    assert 0 < status.core_share <= 1.05
    assert status.experiences > 20


def test_baselines_are_measured_once() -> None:
    made, pauses = evaluator(1.0), [0, 0]

    def count(place: int) -> None:
        pauses[place] += 1

    made.evaluate(info(1, 0.0), model(), lambda: count(0))
    made.evaluate(info(2, 0.0), model(5), lambda: count(1))
    assert pauses[1] < pauses[0] / 2


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
    assert len(second.experiences) > len(first.experiences)


def test_without_a_probe_set_only_experiences_are_measured() -> None:
    made = Evaluator(RUN, None)
    for datum, kind in Life().live(120):
        made.observe(datum, kind)
    evaluation = made.evaluate(info(1, 120.0), model())
    assert evaluation.probes[Task.WORLD][EncoderName.TRAINED] == NotMeasurable("there is no probe set")
    assert isinstance(evaluation.losses[Kind.EXPOSED], Score)
    assert isinstance(evaluation.losses[Kind.PLACEBO], NotMeasurable)
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
    name = next(item.name for item in made_followed(made) if item.kind is Kind.EXPOSED)
    columns = {column: np.array([number]) for number, column in enumerate(COLUMNS, 10)}
    made.exposures.take(1, LedgerNews(experiences=(name,), columns=columns))
    first = made.evaluate(info(1, 241.0), model())
    made.exposures.take(
        2, LedgerNews(experiences=(name,), columns={key: column + 100 for key, column in columns.items()})
    )
    second = made.evaluate(info(2, 241.0), model())
    for evaluation, more in ((first, 0), (second, 100)):
        rows = {row["experience"]: row for row in evaluation.rows()[1:]}
        assert rows[name]["exposures"] == 10 + COLUMNS.index("exposures") + more
        assert rows[name]["last_step"] == 10 + COLUMNS.index("last_step") + more
        unknown = [row for row in rows.values() if row["experience"] != name]
        assert unknown
        assert all(row["exposures"] is None and row["last_step"] is None for row in unknown)


def made_followed(made: Evaluator) -> list[Experience]:
    return [item.experience for item in made.evaluate(info(0, 241.0), model()).experiences]
