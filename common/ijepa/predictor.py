"""Predictor: from the context's features and a block's place to the block's features.

Shape suffixes: B pictures, T target blocks, K patches of a block, C patches of the context, N patches of the
grid, D width of the encoder, E width of the predictor.
"""

from typing import override

import torch
from torch import Tensor, nn

from common.config.model import ModelConfig
from common.ijepa.vit import blocks, initialise, positions, run_block


class Predictor(nn.Module):
    """Narrow transformer over context tokens and one mask token for each patch of a target block.

    Every block is predicted by itself: no block's mask tokens are seen from another block. All blocks of a
    batch go through in one call.

    Args:
        config: Sizes.
        grid: Rows and columns of patches.
    """

    positions_NE: Tensor

    def __init__(self, config: ModelConfig, grid: tuple[int, int]) -> None:
        super().__init__()
        width = config.predictor_dim
        self.forget_activations = False
        self.register_buffer("positions_NE", positions(width, grid, config.position_grid), persistent=False)
        self.embed = nn.Linear(config.dim, width)
        self.mask_token = nn.Parameter(torch.empty(width))
        self.blocks = blocks(width, config.predictor_heads, config.predictor_mlp_ratio, config.predictor_depth)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.project = nn.Linear(width, config.dim)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        initialise(self.embed)
        initialise(self.project)

    @override
    def forward(self, tokens_BCD: Tensor, context_BC: Tensor, targets_BTK: Tensor) -> Tensor:
        """Predicts target features.

        Args:
            tokens_BCD: Features of the context's patches.
            context_BC: int64, where they are.
            targets_BTK: int64, the patches to predict.

        Returns:
            predictions_BTKD.
        """
        batch, count, length = targets_BTK.shape
        context_BCE = self.embed(tokens_BCD) + self.positions_NE[context_BC]
        queries_BTKE = self.mask_token + self.positions_NE[targets_BTK]
        context_BTCE = context_BCE[:, None].expand(-1, count, -1, -1)
        tokens = torch.cat((context_BTCE, queries_BTKE.to(context_BTCE.dtype)), dim=2).flatten(0, 1)
        *early, final = self.blocks
        for block in early:
            tokens = run_block(block, tokens, forget=self.forget_activations)
        # Nobody reads what the last block would make of the context.
        tokens = run_block(final, tokens, length, forget=self.forget_activations)
        return self.project(self.norm(tokens)).unflatten(0, (batch, count))
