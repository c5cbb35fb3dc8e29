"""Drawing the masks of one batch against the published collator of I-JEPA in the same run, on one thread of the host.

The collator is not ours to ship: `IJEPA` in the environment names a checkout of facebookresearch/ijepa. Without one
there is nothing in the column of the limit.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from common.config.model import MaskConfig, MaskKind
from common.ijepa.masks import mask_sampler
from tests.bench.measure import Result, rates, timed
from tests.common.golden.published_masks import class_of

BATCH, BATCHES = 64, 10


def masks() -> list[Result]:
    """Milliseconds a batch of 64 of every kind, on the grids of the demo and of the paper."""
    logging.getLogger().setLevel(logging.ERROR)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    results = [_compare(kind, grid) for grid in ((8, 8), (14, 14)) for kind in MaskKind]
    torch.set_num_threads(threads)
    return results


def _compare(kind: MaskKind, grid: tuple[int, int]) -> Result:
    sampler = mask_sampler(MaskConfig(kind=kind), grid, seed=0)

    def ours() -> float:
        return timed(lambda: [sampler.sample(BATCH) for _ in range(BATCHES)], BATCHES)

    what = f"masks of {BATCH}, {kind}, {grid[0]}×{grid[1]}"
    if not (checkout := os.environ.get("IJEPA")):
        ours()
        return Result(what=what, ours=_milliseconds(median(ours() for _ in range(7))), limit="IJEPA is not set")
    collate = _published(Path(checkout), grid)

    def published() -> float:
        return timed(lambda: [collate([0] * BATCH) for _ in range(BATCHES)], BATCHES)

    rate, limit, ratio = rates(ours, published)
    return Result(what=what, ours=_milliseconds(rate), limit=f"{_milliseconds(limit)} published", ratio=ratio, least=5)


def _published(checkout: Path, grid: tuple[int, int]) -> Callable[[list[int]], object]:
    """The published collator with the sizes of our default."""
    config = MaskConfig()
    return class_of(checkout / "src/masks/multiblock.py", "MaskCollator")(
        input_size=grid,
        patch_size=1,
        enc_mask_scale=config.context_scale,
        pred_mask_scale=config.target_scale,
        aspect_ratio=config.target_aspect,
        nenc=1,
        npred=config.target_blocks,
        min_keep=config.min_context - 1,
    )


def _milliseconds(rate: float) -> str:
    return f"{1e3 / rate:.2f} ms"
