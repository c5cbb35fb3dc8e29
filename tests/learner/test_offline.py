"""A learner on recorded frames: exact to the bit, however often it is interrupted."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.config import Draw, Keep, LearnerConfig, ModelConfig, OptimConfig, ReplayConfig, RunConfig, WorldConfig
from common.errors import CheckpointError
from common.exposure import Exposure, ExposureRule
from common.messages import Datum
from learner import checkpoint as checkpoints
from learner.offline import OfflineLearner

type Make = Callable[..., Datum]
SIDE = 24
MODEL = ModelConfig(patch_size=4, dim=24, depth=1, heads=2, predictor_dim=12, predictor_depth=1, predictor_heads=2)


def run_config(**replay: Any) -> RunConfig:
    learner = LearnerConfig(
        model=MODEL,
        optim=OptimConfig(batch_size=8, warmup_steps=4),
        replay=replace(ReplayConfig(capacity=96, min_fill=32, replay_ratio=1.5), **replay),
    )
    return RunConfig(world=WorldConfig(image_size=(SIDE, SIDE)), learner=learner, seed=5)


@pytest.fixture
def frames(make_datum: Make) -> list[Datum]:
    """Forty seconds of one visit at ten frames a second."""
    generator = np.random.default_rng(1)
    rule, visit = ExposureRule.of(run_config()), "actor-0.1.0000"
    return [
        make_datum(
            visit=visit,
            visit_time=number / 10,
            system_time=number / 10,
            captured_ns=number * 10**8,
            experience=rule.experience(visit, number / 10),
            data=generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8),
        )
        for number in range(400)
    ]


def lived(learner: OfflineLearner, frames: list[Datum]) -> OfflineLearner:
    for datum in frames:
        learner.take(datum)
        learner.train()
    return learner


def same(first: OfflineLearner, second: OfflineLearner) -> bool:
    pairs = zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True)
    moments = zip(first.step.tensors().values(), second.step.tensors().values(), strict=True)
    return (
        all(torch.equal(a, b) for a, b in pairs)
        and all(torch.equal(a, b) for a, b in moments)
        and first.ledger.table() == second.ledger.table()
    )


STRATEGIES = [{"keep": keep} for keep in Keep] + [{"draw": draw} for draw in Draw if draw is not Draw.UNIFORM]


@pytest.mark.parametrize("replay", STRATEGIES, ids=lambda replay: "-".join(replay.values()))
def test_two_runs_and_an_interrupted_one_are_equal_to_the_bit(
    frames: list[Datum], tmp_path: Path, replay: dict[str, Any]
) -> None:
    config = run_config(**replay)
    whole = lived(OfflineLearner(config), frames)
    assert whole.step.step > 30
    assert same(whole, lived(OfflineLearner(config), frames))
    broken = lived(OfflineLearner(config), frames[:250])
    path = checkpoints.save(broken.snapshot(250), tmp_path, keep=1)
    del broken
    loaded = checkpoints.load(path)
    assert loaded.state["position"] == 250
    assert same(whole, lived(OfflineLearner(config, loaded), frames[250:]))


def test_another_seed_gives_other_weights(frames: list[Datum]) -> None:
    config = run_config()
    assert not same(
        lived(OfflineLearner(config), frames[:120]), lived(OfflineLearner(replace(config, seed=6)), frames[:120])
    )


def test_steps_follow_from_the_ratio_and_the_ledger_from_what_was_drawn(
    frames: list[Datum], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = run_config()
    learner = OfflineLearner(config)
    sample, log = learner.buffer.sample, list[tuple[int, list[int]]]()

    def noted(count: int) -> Any:
        batch = sample(count)
        log.append((learner.step.step + 1, batch.rows_B.tolist()))
        return batch

    monkeypatch.setattr(learner.buffer, "sample", noted)
    lived(learner, frames)
    rule = ExposureRule.of(config)
    exposed = [datum for datum in frames if rule.classify(datum.visit, datum.visit_time) is Exposure.EXPOSED]
    assert learner.counts[Exposure.EXPOSED] == learner.limiter.inserted == len(exposed)
    assert sum(learner.counts[kind] for kind in Exposure) == len(frames)
    assert 0 <= learner.images - 1.5 * (len(exposed) - 32) <= 2 * 8
    exposures, steps = Counter[int](), defaultdict[int, list[int]](list)
    for step, rows in log:
        exposures.update(rows)
        for row in set(rows):
            steps[row].append(step)
    ledger, rows = learner.ledger.table(), range(len(learner.ledger))
    assert ledger["exposures"] == [exposures[row] for row in rows]
    assert ledger["first_step"] == [min(steps[row], default=-1) for row in rows]
    assert ledger["last_step"] == [max(steps[row], default=-1) for row in rows]
    assert ledger["frames"] == list(Counter(datum.experience for datum in exposed).values())


def test_frames_of_another_size_are_refused(make_datum: Make) -> None:
    with pytest.raises(CheckpointError, match=r"\(12, 12, 3\), expected frames \(24, 24, 3\)"):
        OfflineLearner(run_config()).take(make_datum(data=np.zeros((12, 12, 3), np.uint8)))
