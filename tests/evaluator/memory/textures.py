"""Pictures of coloured tiles: nothing in one tells of another, and no part of one tells of the rest, so that whoever
predicts a hidden part remembers it."""

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from common.config.model import MaskConfig, ModelConfig
from common.ijepa.model import IJepa
from evaluator.experience import Experience, Kind
from evaluator.memory.meter import Found, Meter
from evaluator.memory.pools import Pool
from evaluator.memory.reference import ReferenceNet

SIZE = (24, 24)
MODEL = ModelConfig(patch_size=4, dim=32, depth=1, heads=2, predictor_dim=32, predictor_depth=1, predictor_heads=2)
MASKS = MaskConfig()
BLOCK = 10.0


def tiles(count: int, seed: int) -> np.ndarray:
    """uint8 [count, 24, 24, 3], tiles of a patch each."""
    colours = np.random.default_rng(seed).integers(0, 256, (count, 6, 6, 3), np.uint8)
    return colours.repeat(4, axis=1).repeat(4, axis=2)


def rotation(size: int) -> Tensor:
    """An orthogonal matrix, float32 [size, size]."""
    drawn = torch.randn(size, size, generator=torch.Generator().manual_seed(1))
    return cast(Any, torch.linalg).qr(drawn)[0]


def pool(count: int = 288, *, world: str = "w", walks: int = 24) -> Pool:
    stays = tuple(f"probe/{world}/{number * walks // count}" for number in range(count))
    return Pool(world=world, frames=tiles(count, seed=100), stays=stays, moments=np.zeros(count))


def experience(number: int, *, kind: Kind = Kind.EXPOSED, frames: np.ndarray | None = None) -> Experience:
    return Experience(
        name=f"v/{number:04d}", actor="a", visit="v", world="w", kind=kind,
        frames=tiles(8, seed=number) if frames is None else frames, numbers=tuple(range(8)),
        start=BLOCK * number, end=BLOCK * number + 9, ended_ns=1,
    )  # fmt: skip


def measured(model: IJepa, *experiences: Experience, against: Pool | None = None) -> Found:
    against = against or pool()
    meter = Meter(model, MASKS, ReferenceNet(model.grid, (0.5,) * 3, (0.25,) * 3), block=BLOCK)
    meter.calibrate([against])
    meter.measure(experiences, against, meter.targets(against))
    return meter.finish()
