"""Small made-up worlds: each has its hue, its place sets two stripes, its heading and depth shade corners."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from common.messages import Labels
from evaluator.probeset import ProbeSet, ProbeSpec, Stay, Walk

SIZE = (24, 24)


def spec(
    *,
    worlds: int = 3,
    placebo: int = 1,
    trajectories: int = 8,
    frames: int = 20,
    every: float = 1.0,
    stay_frames: int = 80,
) -> ProbeSpec:
    return ProbeSpec(
        worlds=tuple(f"w{number}" for number in range(worlds)),
        placebo=tuple(f"p{number}" for number in range(placebo)),
        trajectories=trajectories,
        frames=frames,
        every=every,
        image_size=SIZE,
        seed=5,
        stay_frames=stay_frames,
    )


def walks(made: ProbeSpec, *, noise: float = 40.0, hues_of: int | None = None) -> Iterator[Walk]:
    rng = np.random.default_rng(made.seed)
    hues = rng.uniform(40, 200, (len(made.names), 3))
    if hues_of is not None:
        hues = np.random.default_rng(hues_of).uniform(40, 200, (len(made.names), 3))
    for world, name in enumerate(made.names):
        for _ in range(made.trajectories):
            position = rng.uniform(-500, 500, 2) + np.cumsum(rng.normal(0, 60, (made.frames, 2)), axis=0)
            heading = (rng.uniform(-3, 3) + np.cumsum(rng.normal(0, 0.4, made.frames)) + np.pi) % (2 * np.pi) - np.pi
            depth = rng.uniform(0, 255, (made.frames, 3, 3)).astype(np.float32)
            labels = [
                Labels(x=float(x), y=float(y), heading=float(angle), depth=cells)
                for (x, y), angle, cells in zip(position, heading, depth, strict=True)
            ]
            yield name, _frames(made, hues[world], labels, noise, rng), labels


def probe_set(made: ProbeSpec | None = None, *, noise: float = 40.0) -> ProbeSet:
    made = made or spec()
    return ProbeSet.from_walks(made, walks(made, noise=noise), stays(made, noise=noise))


def stays(made: ProbeSpec, *, noise: float = 40.0) -> Iterator[Stay]:
    """Long walks through the placebo worlds, each through all of one."""
    long = replace(made, trajectories=made.stays, frames=made.stay_frames, seed=made.seed + 1)
    for name, frames, _ in walks(long, noise=noise, hues_of=made.seed):
        if name in made.placebo:
            yield name, frames


def _frames(
    made: ProbeSpec, hue: NDArray[np.float64], labels: Sequence[Labels], noise: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    frames = np.broadcast_to(hue, (made.frames, *made.image_size, 3)).copy()
    for frame, label in zip(frames, labels, strict=True):
        frame[:6] += label.x / 10
        frame[6:12] += label.y / 10
        frame[12:18, :12] += 60 * np.sin(label.heading)
        frame[12:18, 12:] += 60 * np.cos(label.heading)
        frame[18:] += np.kron(label.depth.mean(axis=0) - 128, np.ones(8))[None, :, None] / 2
    return np.clip(frames + rng.normal(0, noise, frames.shape), 0, 255).astype(np.uint8)
