"""What the processes of the stream's soak agree on: one configuration, one stream, and how they are told to end."""

import signal
import threading
from types import FrameType

import numpy as np
from numpy.typing import NDArray

from common.config import (
    ActorConfig,
    LearnerConfig,
    ModelConfig,
    OptimConfig,
    ReplayConfig,
    RunConfig,
    StreamConfig,
    WorldConfig,
)

STREAM = "soak"
ACTORS, FPS, SIDE = 4, 30.0, 224
HELD, RING = 500, 2000
"""Frames that each actor's stream and the replay buffer hold: full within half a minute."""


def soak_run(url: str) -> RunConfig:
    """A learner small enough for a slow machine, at the pace and the frame size of a large one.

    Args:
        url: The server.
    """
    model = ModelConfig(patch_size=56, dim=48, depth=2, heads=2, predictor_dim=24, predictor_depth=1, predictor_heads=2)
    return RunConfig(
        redis_url=url,
        world=WorldConfig(image_size=(SIDE, SIDE)),
        actors=ActorConfig(count=ACTORS, fps=FPS),
        stream=StreamConfig(budget=ACTORS * HELD * (SIDE * SIDE * 3 + 1000), weights=True),
        learner=LearnerConfig(
            device="cpu",
            model=model,
            optim=OptimConfig(batch_size=8),
            replay=ReplayConfig(capacity=RING, replay_ratio=0.5),
            publish_every=2.0,
        ),
    )


def some_frames() -> NDArray[np.uint8]:
    """Eight frames of noise, uint8 [8, H, W, 3]."""
    return np.random.default_rng(0).integers(0, 256, (8, SIDE, SIDE, 3), dtype=np.uint8)


def until_terminated() -> threading.Event:
    """Gives an event that SIGTERM sets; to be called in the main thread."""
    ended = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    return ended
