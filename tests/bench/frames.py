"""Data as an actor makes them, for benchmarks that load no world."""

import time

import numpy as np

from common.exposure import ExposureRule
from common.messages import Datum

RULE = ExposureRule(salt="bench", block=10.0)
FPS = 10.0


def datum(side: int, *, actor: str = "a", number: int = 0, frames: int = 8) -> Datum:
    """One frame of `side` × `side` pixels of noise, the `number`-th of a visit at ten a second."""
    visit, moment = f"{actor}.1.0000", number / FPS
    return Datum(
        buffer="frames",
        actor=actor,
        seq=0,
        visit=visit,
        world="freedoom2:map01",
        experience=RULE.experience(visit, moment),
        captured_ns=time.time_ns(),
        system_time=moment,
        visit_time=moment,
        weights_version=1,
        action=np.zeros(4, np.float32),
        labels=None,
        data=_noise(side, number % frames),
    )


_MADE: dict[tuple[int, int], np.ndarray] = {}


def _noise(side: int, seed: int) -> np.ndarray:
    if (side, seed) not in _MADE:
        _MADE[side, seed] = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return _MADE[side, seed]
