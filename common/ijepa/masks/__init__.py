"""Masks: which patches the context encoder sees, and which blocks the predictor must fill in.

| module | what lives there |
|---|---|
| `blocks.py` | `Masks`, sizes of blocks, the patches that they cover |
| `sampler.py` | `MaskSampler`: what all kinds have in common |
| `multiblock.py`, `paper.py`, `pamiq.py` | one kind each |
| `fixed.py` | masks for measuring |

Another kind is a subclass of `MaskSampler`, its name in `common.config.MaskKind`, and a line in `SAMPLERS`.
"""

import torch

from common.config.model import MaskConfig, MaskKind
from common.ijepa.masks.blocks import Masks
from common.ijepa.masks.fixed import fixed_masks
from common.ijepa.masks.multiblock import MultiBlockSampler
from common.ijepa.masks.pamiq import PamiqSampler
from common.ijepa.masks.paper import PaperSampler
from common.ijepa.masks.sampler import MaskSampler

__all__ = ["SAMPLERS", "MaskSampler", "Masks", "MultiBlockSampler", "PamiqSampler", "PaperSampler"]
__all__ += ["fixed_masks", "mask_sampler"]

SAMPLERS: dict[MaskKind, type[MaskSampler]] = {
    MaskKind.MULTIBLOCK: MultiBlockSampler,
    MaskKind.PAPER: PaperSampler,
    MaskKind.PAMIQ: PamiqSampler,
}
"""Ways to draw the masks of training batches, by the name that the config gives them."""


def mask_sampler(
    config: MaskConfig, grid: tuple[int, int], seed: int, device: torch.device | str = "cpu"
) -> MaskSampler:
    """Makes the sampler that `config.kind` names.

    Raises:
        ConfigError: The config does not fit the grid.
    """
    return SAMPLERS[config.kind](config, grid, seed, device)
