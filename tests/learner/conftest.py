"""Fixtures of the learner's tests: a small configuration, one writing actor, and learners that are always closed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.config import LearnerConfig, ModelConfig, OptimConfig, ReplayConfig, RunConfig, StreamConfig, WorldConfig
from deploy.store import EmbeddedStore
from learner.checkpoint import Checkpoint
from learner.learner import Learner
from tests.learner.source import SIDE, STREAM, Launch, Make, Sink, Source


@pytest.fixture
def config(store: EmbeddedStore) -> RunConfig:
    model = ModelConfig(patch_size=4, dim=24, depth=1, heads=2, predictor_dim=12, predictor_depth=1, predictor_heads=2)
    return RunConfig(
        redis_url=store.url,
        world=WorldConfig(image_size=(SIDE, SIDE)),
        stream=StreamConfig(budget=16 * 2**20),
        learner=LearnerConfig(
            model=model,
            optim=OptimConfig(batch_size=8, warmup_steps=4),
            replay=ReplayConfig(capacity=256, min_fill=64, replay_ratio=2.0),
            publish_every=0.05,
            slice=0.1,
        ),
    )


@pytest.fixture
def source(store: EmbeddedStore, tmp_path: Path, make_datum: Make) -> Iterator[Source]:
    made = Source(store.url, tmp_path, make_datum)
    yield made
    made.writer.close()


@pytest.fixture
def launch(config: RunConfig) -> Iterator[Launch]:
    """Starts learners, and closes them however the test ends."""
    made: list[Learner] = []

    def start(checkpoint: Checkpoint | None = None, version: int = 0, **changes: Any) -> tuple[Learner, Sink]:
        sink = Sink()
        run = replace(config, learner=replace(config.learner, **changes))
        learner = Learner(run, stream=STREAM, sink=sink, checkpoint=checkpoint, version=version)
        made.append(learner)
        learner.start()
        return learner, sink

    yield start
    for learner in made:
        learner.close()
