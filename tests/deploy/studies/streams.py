"""A small recorded stream for tests of studies: two places that look different, visited in turns."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from common.config import RunConfig
from common.config.files import with_values
from common.config.presets import preset
from common.exposure import ExposureRule
from common.messages import Datum
from common.recording import Manifest, Quality, RecordingWriter
from deploy.studies.pace import Match
from deploy.studies.plan import Trial, Variant

SIDE = 24
FPS = 10
VALUES = {
    "duration": 60.0,
    "world.kind": "video",
    "world.worlds": ["places"],
    "world.placebo_worlds": [],
    "world.image_size": [SIDE, SIDE],
    "actors.count": 1,
    "stream.experience": 2.0,
    "stream.salt": "seed-7",
    "learner.model.patch_size": 4,
    "learner.model.dim": 24,
    "learner.model.depth": 1,
    "learner.model.heads": 2,
    "learner.model.predictor_dim": 12,
    "learner.model.predictor_depth": 1,
    "learner.model.predictor_heads": 2,
    "learner.optim.batch_size": 8,
    "learner.optim.warmup_steps": 4,
    "learner.replay.capacity": 64,
    "learner.replay.min_fill": 16,
    "learner.replay.replay_ratio": 1.5,
    "learner.checkpoint_every": 0.01,
    "learner.nice": 0,
    "learner.device": "cpu",
    "evaluator.every": 5.0,
    "evaluator.experiences": 32,
}
"""What trials of these tests are made of, as a study's file has it."""


def config(changes: Mapping[str, object] | None = None, *, seed: int = 0) -> RunConfig:
    """A run that a trial takes seconds of."""
    return with_values(preset("demo"), {**VALUES, "seed": seed, **(changes or {})})


def trial(recording: Path, changes: Mapping[str, object] | None = None, *, seed: int = 0, iid: bool = False) -> Trial:
    """A trial on a recording."""
    return Trial(
        study="test",
        variant=Variant(name="only", levels={}, changes={}, iid=iid),
        seed=seed,
        config=config(changes, seed=seed),
        recording=recording,
        numbers={},
        match=Match.STEPS,
        rate=0.0,
    )


def record(path: Path, *, seconds: float = 60.0, stay: float = 20.0, seed: int = 0) -> Path:
    """Writes a recording: a texture for each of two places, and a window that wanders over it."""
    run = config(seed=7)
    random = np.random.default_rng(seed)
    textures = [random.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(2)]
    rule, at = ExposureRule.of(run), np.array([20.0, 20.0])
    with RecordingWriter(path, of=Manifest.new("tour", config=run, quality=Quality.LOSSLESS)) as writer:
        for number in range(round(seconds * FPS)):
            now = number / FPS
            place = int(now // stay)
            at = np.clip(at + random.normal(0, 1.5, 2), 0, 64 - SIDE)
            row, column = at.astype(int)
            visit, moment = f"actor-0.1.{place:04d}", now - place * stay
            writer.write(
                Datum(
                    buffer="frames",
                    actor="actor-0",
                    seq=number + 1,
                    visit=visit,
                    world=f"place-{place % 2}",
                    experience=rule.experience(visit, moment),
                    captured_ns=round(now * 1e9),
                    system_time=now,
                    visit_time=moment,
                    weights_version=0,
                    action=np.zeros(0, np.float32),
                    labels=None,
                    data=np.ascontiguousarray(textures[place % 2][row : row + SIDE, column : column + SIDE]),
                )
            )
    return path
