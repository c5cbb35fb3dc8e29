"""The paper's multi-block masks exactly as its authors' code draws them, biases included.

Shape suffixes: B pictures, R pictures to draw again, T target blocks, K patches of a block or context, N patches
of the grid.
"""

import math
from typing import override

import torch
from torch import Tensor

from common.config import checks
from common.config.model import MaskConfig
from common.ijepa.masks.blocks import BlockSize, Masks, between, corner, covered, offsets
from common.ijepa.masks.sampler import MaskSampler

_TRIES = 20
"""Places of a context block that are tried before one more target may overlap with it."""

_STEPS = 1000
"""Draws of the block size, evenly spaced, among which the smallest block is looked for."""


class PaperSampler(MaskSampler):
    """`MaskCollator` of the code that was published with the paper (facebookresearch/ijepa, src/masks/multiblock.py).

    In distribution the same masks, drawn for all pictures at once. What is peculiar to it:

    - One random number decides both scale and aspect of the target blocks, so the large ones are tall. All
      blocks of a batch have one size (`block_size`), and so have its context blocks, which are square.
    - The first row is drawn from 0 to H − h − 1 and the first column likewise: the last row and the last column
      are never in any block. A block as high as the grid is made one row lower.
    - All contexts are cut down to the shortest of the batch, keeping the *first* patches: with large batches
      the lower half of a picture is rarely seen.
    - A context shorter than `min_context` is drawn again; after every 20 tries one target less is cut out of
      it, the last one first. So a context may hold target patches.

    That code would look for ever where a block by itself is shorter than wanted; here such a config is refused, and
    no context is drawn more than 20 (T + 1) times. Its `min_keep` is one less than `min_context` here: its
    published settings are the defaults of `MaskConfig` with `min_context=11`.

    Raises:
        ConfigError: A target or context block can have fewer than `min_context` patches.
    """

    def __init__(
        self, config: MaskConfig, grid: tuple[int, int], seed: int, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(config, grid, seed, device)
        for name, aspect in (("target", config.target_aspect), ("context", (1.0, 1.0))):
            scale: tuple[float, float] = getattr(config, f"{name}_scale")
            smallest = min(block_size(step / _STEPS, grid, scale, aspect).area for step in range(_STEPS + 1))
            if smallest < config.min_context:
                blocks = f"{name} blocks can have only {smallest} patches on a {grid[0]}×{grid[1]} grid"
                raise checks.refuse(config, "min_context", f"{blocks}, and for kind = paper they need as many")

    @override
    def sample(self, batch: int) -> Masks:
        config, (rows, columns) = self._config, self._grid
        target = block_size(self._share(), self._grid, config.target_scale, config.target_aspect)
        context = block_size(self._share(), self._grid, config.context_scale, (1.0, 1.0))
        top_BT = corner(self._uniform(batch, config.target_blocks), rows - target.rows - 1)
        left_BT = corner(self._uniform(batch, config.target_blocks), columns - target.columns - 1)
        targets_BTK = (top_BT * columns + left_BT)[..., None] + offsets(target, columns)
        context_BN = self._contexts(context, targets_BTK)
        length = int(context_BN.sum(1).min())
        first_BN = context_BN & (context_BN.cumsum(1) <= length)
        return Masks(first_BN.nonzero()[:, 1].view(batch, length), targets_BTK).to(self._device)

    def _contexts(self, size: BlockSize, targets_BTK: Tensor) -> Tensor:
        """Draws places of the context block until enough is left of it; context_BN, bool."""
        targets = targets_BTK.shape[1]
        context_BN = torch.zeros(targets_BTK.shape[0], self._patches, dtype=torch.bool)
        short_R = torch.arange(targets_BTK.shape[0])
        for cut_out in range(targets, -1, -1):
            free_BN = torch.ones_like(context_BN).scatter(1, targets_BTK[:, :cut_out].flatten(1), value=False)
            for _ in range(_TRIES):
                top_R = corner(self._uniform(len(short_R)), self._grid[0] - size.rows - 1)
                left_R = corner(self._uniform(len(short_R)), self._grid[1] - size.columns - 1)
                placed_RN = covered(top_R, left_R, *size, self._grid) & free_BN[short_R]
                context_BN[short_R] = placed_RN
                short_R = short_R[placed_RN.sum(1) < self._config.min_context]
                if not len(short_R):
                    return context_BN
        return context_BN


def block_size(
    share: float, grid: tuple[int, int], scale: tuple[float, float], aspect: tuple[float, float]
) -> BlockSize:
    """Size of a block as the published code rounds it.

    Args:
        share: A draw in [0, 1) that decides both scale and aspect.
        grid: Rows and columns of the grid.
        scale: Smallest and largest share of the patches.
        aspect: Smallest and largest rows ÷ columns.

    Returns:
        √(area × aspect) by √(area ÷ aspect), to the nearest whole patch, each at least one less than the grid's side.
    """
    area = int(grid[0] * grid[1] * between(scale, share))
    ratio = between(aspect, share)
    rows, columns = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
    return BlockSize(min(rows, grid[0] - 1), min(columns, grid[1] - 1))
