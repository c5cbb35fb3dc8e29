"""What each strategy of the replay buffer costs beside the copy of the pixels, which is all that a plain ring does."""

import time
from collections.abc import Callable
from statistics import median
from typing import cast

import numpy as np
from numpy.typing import NDArray

from common.config import Draw, Keep, ReplayConfig
from common.config.presets import preset
from learner.replay import Batch, ReplayBuffer
from tests.bench.frames import datum
from tests.bench.measure import Result

CAPACITY, SIDE, BATCH = 8192, 96, 64
ADDS = BATCH // 8
"""Frames added for each batch at a replay ratio of 8."""
STEPS = 150


def replay() -> list[Result]:
    """Microseconds for a frame added, a batch drawn and a batch learned: median over the steps of a full buffer.

    Every strategy is told what a step would find: features as wide as the demo's, near to those of the frame before.
    """
    combinations = [(keep, Draw.UNIFORM) for keep in Keep] + [(Keep.FIFO, draw) for draw in Draw if draw != "uniform"]
    bare_add, bare_sample = _bare()
    results: list[Result] = []
    for keep, draw in combinations:
        config = ReplayConfig(capacity=CAPACITY, keep=keep, draw=draw)
        dim = preset("demo").learner.model.dim
        buffer = ReplayBuffer.from_config(config, (SIDE, SIDE), dim=dim, seed=0, admit=lambda _: 0)
        add, sample, learned = _life(buffer, dim)
        ours = f"{add:.1f} µs an add, {sample:.0f} µs a batch"
        results.append(
            Result(
                what=f"replay {keep}, {draw}: 28 kB frames, {CAPACITY} held, batches of {BATCH}",
                ours=ours + (f", {learned:.0f} µs to learn" if learned else ""),
                limit=f"{bare_add:.1f} and {bare_sample:.0f} µs copies",
                ratio=(ADDS * bare_add + bare_sample) / (ADDS * add + sample + learned),
            )
        )
    return results


def _life(buffer: ReplayBuffer, dim: int) -> tuple[float, float, float]:
    """Microseconds an addition, a draw, and what is learned of a batch."""
    generator = np.random.default_rng(0)
    frames = [datum(SIDE, number=number) for number in range(8)]
    walk_CD = np.cumsum(generator.normal(size=(CAPACITY, dim)), axis=0).astype(np.float32)
    wants = buffer.wants_losses or buffer.wants_features

    def learn(batch: Batch) -> None:
        buffer.learned(
            batch.slots_B,
            batch.serials_B,
            losses_B=generator.random(len(batch.slots_B), np.float32) if buffer.wants_losses else None,
            features_BD=_moved(walk_CD, batch.serials_B) if buffer.wants_features else None,
        )

    for number in range(CAPACITY):
        buffer.add(frames[number % 8])
    for _ in range(2 * CAPACITY // BATCH if wants else 0):
        learn(buffer.sample(BATCH))
    adds: list[float] = []
    samples: list[float] = []
    learns: list[float] = []
    for _ in range(STEPS):
        adds.append(_microseconds(lambda: [buffer.add(one) for one in frames[:ADDS]]) / ADDS)
        batch: list[Batch] = []
        samples.append(_microseconds(lambda batch=batch: batch.append(buffer.sample(BATCH))))
        if wants:
            learns.append(_microseconds(lambda batch=batch: learn(batch[0])))
    return median(adds), median(samples), median(learns or [0.0])


def _moved(walk_CD: NDArray[np.float32], serials_B: NDArray[np.int64]) -> NDArray[np.float32]:
    return walk_CD[serials_B % len(walk_CD)]


def _bare() -> tuple[float, float]:
    """Microseconds of copying one frame into a block, and of gathering a batch out of it."""
    block = np.ones((CAPACITY, SIDE, SIDE, 3), np.uint8)
    frames = [cast(NDArray[np.uint8], datum(SIDE, number=number).data) for number in range(8)]
    generator = np.random.default_rng(0)

    def add() -> None:
        for number in range(ADDS):
            block[generator.integers(CAPACITY)] = frames[number]

    adds = [_microseconds(add) / ADDS for _ in range(STEPS)]
    samples = [
        _microseconds(lambda: np.take(block, generator.integers(CAPACITY, size=BATCH), axis=0)) for _ in range(STEPS)
    ]
    return median(adds), median(samples)


def _microseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1e6 * (time.perf_counter() - began)
