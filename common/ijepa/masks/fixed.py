"""Masks for measuring: the same for the same frame at every version, in every run, whatever the kind of masks.

Shape suffixes: B pictures, T target blocks, K patches of a block or context, N patches of the grid, U uniform draws
of one picture.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from common.config.model import MaskConfig
from common.ijepa.masks.blocks import BlockSize, Masks, Offer, corner, covered, middle, offsets, thin

_TRIES = 8
"""Redraws of a picture whose context came out too short; then its targets are laid on top of each other."""


@dataclass(frozen=True)
class _Layout:
    """Blocks of one size each, and their placing by uniform draws.

    A picture takes U = 2 T + 2 + N draws in [0, 1): top and left of each target block, top and left of the
    context block, and a priority of each patch, by which too long a context is thinned out.
    """

    grid: tuple[int, int]
    blocks: int
    target: BlockSize
    context: BlockSize

    @property
    def draws(self) -> int:
        return 2 * self.blocks + 2 + self.grid[0] * self.grid[1]

    def place(self, uniform_BU: Tensor, *, stacked: bool) -> tuple[Tensor, Tensor]:
        """Lays the blocks; returns targets_BTK (int64) and context_BN (bool: in the block and in no target).

        `stacked` lays every target block on the first, which leaves the most context.
        """
        (rows, columns), blocks = self.grid, self.blocks
        top_BT = corner(uniform_BU[:, :blocks], rows - self.target.rows)
        left_BT = corner(uniform_BU[:, blocks : 2 * blocks], columns - self.target.columns)
        if stacked:
            top_BT, left_BT = top_BT[:, :1].expand_as(top_BT), left_BT[:, :1].expand_as(left_BT)
        targets_BTK = (top_BT * columns + left_BT)[..., None] + offsets(self.target, columns)
        top_B = corner(uniform_BU[:, 2 * blocks], rows - self.context.rows)
        left_B = corner(uniform_BU[:, 2 * blocks + 1], columns - self.context.columns)
        context_BN = covered(top_B, left_B, *self.context, self.grid)
        return targets_BTK, context_BN.scatter(1, targets_BTK.flatten(1), value=False)


def fixed_masks(config: MaskConfig, grid: tuple[int, int], seeds: Sequence[int]) -> Masks:
    """Masks that depend on nothing but a seed each, to measure the same experience the same way again.

    Block sizes are those in the middle of the configured ranges and the context has one fixed length (what
    remains when no two targets overlap, at least `min_context`), so the shapes agree between all calls with
    the same config and grid, and the row of a seed is the same in every batch. `config.kind` plays no part.

    Args:
        config: Number and size of the blocks.
        grid: Rows and columns of patches.
        seeds: One whole number a picture.

    Returns:
        Masks of `len(seeds)` pictures.

    Raises:
        ConfigError: The blocks do not fit the grid, or cannot leave `min_context` patches.
    """
    offer = Offer.of(config, grid)
    layout = _Layout(grid, config.target_blocks, middle(offer.targets), middle(offer.contexts))
    length = max(config.min_context, layout.context.area - layout.blocks * layout.target.area)
    # torch's CPU generator keeps 32 bits of a seed, and neighbouring seeds start alike: hash them first.
    keys = [int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=4).digest()) for seed in seeds]
    generators = [torch.Generator().manual_seed(key) for key in keys]
    uniform_BU = torch.empty(len(seeds), layout.draws)

    def redraw(rows: Sequence[int]) -> None:
        for row in rows:
            uniform_BU[row] = torch.rand(layout.draws, generator=generators[row])

    redraw(range(len(seeds)))
    targets_BTK, context_BN = layout.place(uniform_BU, stacked=False)
    for attempt in range(_TRIES + 1):
        short_B = context_BN.sum(1) < length
        rows = [row for row, short in enumerate(short_B) if short]
        if not rows:
            break
        redraw(rows)
        targets_BTK[short_B], context_BN[short_B] = layout.place(uniform_BU[short_B], stacked=attempt == _TRIES)
    return Masks(thin(uniform_BU[:, 2 * layout.blocks + 2 :], context_BN, length), targets_BTK)
