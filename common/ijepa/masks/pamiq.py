"""The masks of pamiq-vrchat.

Shape suffixes: B pictures, T hidden blocks, K patches of the target or context, N patches of the grid.
"""

from typing import override

import torch
from torch import Tensor

from common.ijepa.masks.blocks import Masks, corner, covered, thin
from common.ijepa.masks.sampler import MaskSampler


class PamiqSampler(MaskSampler):
    """`MultiBlockMaskCollator2d` of pamiq-vrchat (MLShukai/pamiq-vrchat, src/sample/trainers/jepa.py).

    How it differs from the paper's scheme:

    - There is no context block: the context is whatever none of the T blocks hides.
    - Only one of the blocks, chosen at random, is the target; the others are hidden and not asked for.
    - Each block has its own scale and its own aspect. Aspect is *width ÷ height*, uniform in the range that
      `target_aspect` (height ÷ width) leaves it. The last row and column take part.
    - A block smaller than `min_context` patches is enlarged, both sides rounded up.
    - Where fewer than `min_context` patches are left, so many are drawn from the whole picture that become
      context *and* target.

    Its own settings: `target_blocks=4, target_scale=(0.025, 0.125), target_aspect=(2 / 3, 4 / 3), min_context=7`
    in its sample; by default the collator has a scale of (0.1, 0.25) and 10 patches.

    There the network takes all patches, hidden ones as mask tokens, so that pictures need not agree in
    numbers. Here they must: targets and contexts are thinned out at random to the smallest of the batch. With
    a batch of one nothing is lost and the masks are, in distribution, those published.
    """

    @override
    def sample(self, batch: int) -> Masks:
        blocks_BTN = self._blocks(batch)
        context_BN = ~blocks_BTN.any(1)
        asked_B = torch.randint(blocks_BTN.shape[1], (batch,), generator=self._generator)
        target_BN = blocks_BTN[torch.arange(batch), asked_B]
        least = self._config.min_context
        short_B = context_BN.sum(1) < least
        extra_BK = self._uniform(batch, self._patches).topk(least).indices
        extra_BN = torch.zeros_like(context_BN).scatter(1, extra_BK, value=True) & short_B[:, None]
        context_BK, target_BK = self._level(context_BN | extra_BN), self._level(target_BN | extra_BN)
        return Masks(context_BK, target_BK[:, None]).to(self._device)

    def _blocks(self, batch: int) -> Tensor:
        """Patches that each block hides (blocks_BTN, bool)."""
        config, (height, width) = self._config, self._grid
        # In float64, so that sides round as Python's own numbers do.
        scale_BT, aspect_BT, top_BT, left_BT = self._uniform(4, batch, config.target_blocks).double()
        low, high = config.target_scale
        area_BT = self._patches * (low + scale_BT * (high - low))
        low, high = 1 / config.target_aspect[1], 1 / config.target_aspect[0]
        aspect_BT = low + aspect_BT * (high - low)
        rows_BT, columns_BT = (area_BT / aspect_BT).sqrt().round(), (area_BT * aspect_BT).sqrt().round()
        small_BT = rows_BT * columns_BT < config.min_context
        rows_BT = torch.where(small_BT, (config.min_context / aspect_BT).sqrt().ceil(), rows_BT)
        columns_BT = torch.where(small_BT, (config.min_context * aspect_BT).sqrt().ceil(), columns_BT)
        rows_BT, columns_BT = rows_BT.long().clamp(1, height), columns_BT.long().clamp(1, width)
        top_BT, left_BT = corner(top_BT, height - rows_BT), corner(left_BT, width - columns_BT)
        return covered(top_BT, left_BT, rows_BT, columns_BT, self._grid)

    def _level(self, chosen_BN: Tensor) -> Tensor:
        """Thins all rows out to the shortest; indices_BK, rising."""
        return thin(self._uniform(*chosen_BN.shape), chosen_BN, int(chosen_BN.sum(1).min()))
