"""Walks recorded faster than time: what the probe set is made of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.agents.explorer import ExplorerAgent
from actors.worlds.doom import DoomEnvironment
from common.config.run import WorldConfig
from common.messages import Labels


@dataclass(frozen=True, kw_only=True, slots=True)
class Walk:
    """A walk through one world.

    Attributes:
        world: Name of the world.
        seed: Seed that it was recorded with.
        frames: uint8 [N, H, W, 3].
        labels: Ground truth of each frame, N.
    """

    world: str
    seed: int
    frames: NDArray[np.uint8]
    labels: tuple[Labels, ...]


def record_walk(
    world_name: str,
    *,
    seed: int,
    frames: int,
    every: float,
    image_size: tuple[int, int],
    lead: float = 0.0,
    fps: float = 10.0,
) -> Walk:
    """Lets the explorer walk from a random place, without waiting for the clock.

    The same arguments give the same walk, on any machine; another seed starts at another place.

    Args:
        world_name: Name of the world.
        seed: Seed of the place to start at and of all else that is random.
        frames: Number of frames to keep.
        every: Seconds of walking between two frames that are kept.
        image_size: Height and width of a frame, pixels.
        lead: Seconds of walking before the first frame that is kept.
        fps: Steps of the explorer a second.

    Raises:
        ConfigError: There is no such world.
    """
    steps = 0
    world = WorldConfig(
        worlds=(world_name,), placebo_worlds=(), visit=lead + frames * every + 1.0, image_size=image_size
    )
    environment = DoomEnvironment.from_config(world, fps=fps, seed=seed, clock=lambda: steps / fps)
    agent = ExplorerAgent(seed=seed)
    pictures: list[NDArray[np.uint8]] = []
    labels: list[Labels] = []
    environment.setup()
    try:
        while len(pictures) < frames:
            observation = environment.observe()
            assert observation.labels is not None
            if steps >= (lead + len(pictures) * every) * fps:
                pictures.append(observation.frame)
                labels.append(observation.labels)
            environment.affect(agent.step(observation))
            steps += 1
    finally:
        environment.teardown()
    return Walk(world=world_name, seed=seed, frames=np.stack(pictures), labels=tuple(labels))
