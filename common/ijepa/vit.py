"""Vision transformer that turns frames into one feature vector a patch.

Pre-norm, no class token, fixed two-dimensional sine-cosine positions, as in I-JEPA (Assran et al. 2023,
arXiv:2301.08243). Patches that are not kept are dropped before the first multiplication, so a context of a
quarter of the patches costs a quarter.

Shape suffixes: B pictures, H and W pixels, C colours, R and S rows and columns of the grid, N = R·S patches,
K kept patches, P numbers of a patch (patch_size² · C), L tokens of any kind, J last blocks, D width.
"""

import math
from typing import cast, override

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint  # pyright: ignore[reportUnknownVariableType]

from common.config.model import ModelConfig


def positions(dim: int, grid: tuple[int, int], stretched: tuple[int, int] = (0, 0)) -> Tensor:
    """Fixed two-dimensional sine-cosine positions, in the order of the official code: column first.

    A network that was trained on one grid and looks at another one can be given the positions it knows, stretched:
    patch i of n stands where its middle falls among the m old patches, at (i + ½) m / n − ½. Bicubic interpolation of
    the old table (`align_corners=False`) reads at the same place; here the sines are evaluated there instead, since
    they are known between the patches too, where an interpolation flattens the fastest ones.

    Args:
        dim: Width, a multiple of 4: sines and cosines of the column fill one half, those of the row the other.
        grid: Rows and columns.
        stretched: Rows and columns of the grid whose positions are stretched over `grid`; (0, 0) is `grid` itself.

    Returns:
        positions_ND, float32.
    """
    frequencies_F = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    places = [
        (torch.arange(new, dtype=torch.float64) + 0.5) * ((old or new) / new) - 0.5
        for new, old in zip(grid, stretched, strict=True)
    ]
    row_RS, column_RS = torch.meshgrid(*places, indexing="ij")
    halves: list[Tensor] = []
    for axis_RS in (column_RS, row_RS):
        angles_NF = axis_RS.reshape(-1, 1) * frequencies_F
        halves += [angles_NF.sin(), angles_NF.cos()]
    return torch.cat(halves, dim=1).float()


def initialise(module: nn.Module) -> None:
    """Draws matrices from a normal of deviation 0.02 cut at ±2 and zeroes biases; for `Module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def gather(tokens_BND: Tensor, keep_BK: Tensor) -> Tensor:
    """Takes the tokens `keep_BK` of each picture (tokens_BKD)."""
    return tokens_BND.gather(1, keep_BK[:, :, None].expand(-1, -1, tokens_BND.shape[2]))


class Attention(nn.Module):
    """Self-attention over all tokens of a picture."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    @override
    def forward(self, tokens_BLD: Tensor, last: int | None = None) -> Tensor:
        """Mixes tokens_BLD; the result is of all tokens, or of the `last` so many, which see all the same."""
        if last is None:
            query, key, value = self.qkv(tokens_BLD).chunk(3, dim=-1)
        else:
            dim = tokens_BLD.shape[-1]
            query = functional.linear(tokens_BLD[:, -last:], self.qkv.weight[:dim], self.qkv.bias[:dim])
            key, value = functional.linear(tokens_BLD, self.qkv.weight[dim:], self.qkv.bias[dim:]).chunk(2, dim=-1)
        query, key, value = (self._split(part) for part in (query, key, value))
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def _split(self, tokens_BLD: Tensor) -> Tensor:
        """Gives each head its share of the width."""
        batch, length, dim = tokens_BLD.shape
        return tokens_BLD.view(batch, length, self.heads, dim // self.heads).transpose(1, 2)


class Mlp(nn.Module):
    """Two layers with GELU, on every token by itself."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    @override
    def forward(self, tokens_BLD: Tensor) -> Tensor:
        """Transforms tokens_BLD."""
        return self.fc2(functional.gelu(self.fc1(tokens_BLD)))


class Block(nn.Module):
    """Pre-norm transformer block.

    Args:
        dim: Width.
        heads: Attention heads.
        hidden: Width of the MLP's hidden layer.
        index: Place among the blocks, from 1: what a block adds to the residual stream starts out
            divided by √(2 · index).
    """

    def __init__(self, dim: int, heads: int, hidden: int, index: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, hidden)
        self.apply(initialise)
        with torch.no_grad():
            self.attn.proj.weight /= math.sqrt(2 * index)
            self.mlp.fc2.weight /= math.sqrt(2 * index)

    @override
    def forward(self, tokens_BLD: Tensor, last: int | None = None) -> Tensor:
        """Transforms tokens_BLD; all of them, or the `last` so many, which see all the same."""
        mixed = self.attn(self.norm1(tokens_BLD), last)
        tokens_BLD = (tokens_BLD if last is None else tokens_BLD[:, -last:]) + mixed
        return tokens_BLD + self.mlp(self.norm2(tokens_BLD))


def blocks(dim: int, heads: int, mlp_ratio: float, depth: int) -> nn.ModuleList:
    """Makes `depth` blocks, to be named `blocks` in their owner."""
    return nn.ModuleList(Block(dim, heads, round(dim * mlp_ratio), index) for index in range(1, depth + 1))


def run_block(block: nn.Module, tokens_BLD: Tensor, last: int | None = None, *, forget: bool = False) -> Tensor:
    """Runs one block.

    Args:
        block: A `Block`.
        tokens_BLD: Its input.
        last: See `Block.forward`.
        forget: Keep nothing but the input for the backward pass, which computes the rest again (activation
            checkpointing, Chen et al. 2016, arXiv:1604.06174).
    """
    if forget and torch.is_grad_enabled():
        return cast(Tensor, checkpoint(block, tokens_BLD, last, use_reentrant=False, preserve_rng_state=False))
    return block(tokens_BLD, last)


class VisionTransformer(nn.Module):
    """Encoder of frames.

    Positions and colour statistics are constants of the code and no part of the state: a checkpoint holds
    what was learned and nothing else, the hash of the parameters is the hash of the state, and the weights
    also fit pictures of another size.

    Args:
        config: Sizes.
        image_size: Height and width of a frame, pixels.

    Raises:
        ConfigError: The patch does not divide the picture.
    """

    positions_ND: Tensor
    gain_P: Tensor
    offset_P: Tensor

    def __init__(self, config: ModelConfig, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.grid = config.grid(image_size)
        self.image_size = image_size
        self.patch_size = config.patch_size
        self.forget_activations = False
        pixels = config.patch_size**2
        mean, std = torch.tensor(config.pixel_mean), torch.tensor(config.pixel_std)
        self.register_buffer("positions_ND", positions(config.dim, self.grid, config.position_grid), persistent=False)
        self.register_buffer("gain_P", (1 / (255 * std)).repeat(pixels), persistent=False)
        self.register_buffer("offset_P", (-mean / std).repeat(pixels), persistent=False)
        self.patch_embed = nn.Linear(3 * pixels, config.dim)
        self.blocks = blocks(config.dim, config.heads, config.mlp_ratio, config.depth)
        self.norm = nn.LayerNorm(config.dim, eps=1e-6)
        initialise(self.patch_embed)

    @override
    def forward(self, frames_BHWC: Tensor, keep_BK: Tensor | None = None) -> Tensor:
        """Encodes frames.

        Args:
            frames_BHWC: uint8 RGB, on the module's device.
            keep_BK: int64, the patches to look at (row-major); all if none are given.

        Returns:
            tokens_BND, or tokens_BKD in the order of `keep_BK`.
        """
        tokens_BLD = self._embed(frames_BHWC, keep_BK)
        for block in self.blocks:
            tokens_BLD = run_block(block, tokens_BLD, forget=self.forget_activations)
        return self.norm(tokens_BLD)

    def pooled(self, frames_BHWC: Tensor) -> Tensor:
        """Mean feature of each frame over its patches (pooled_BD), after the final norm."""
        return self(frames_BHWC).mean(1)

    def pooled_layers(self, frames_BHWC: Tensor, count: int) -> Tensor:
        """Mean feature of each frame over its patches behind each of the last blocks (pooled_BJD, J ≤ `count`).

        Each passes the final norm, as in VISSL and DINO (Caron et al. 2021, arXiv:2104.14294); the last is `pooled`.
        """
        tokens_BLD = self._embed(frames_BHWC)
        pooled: list[Tensor] = []
        for index, block in enumerate(self.blocks, start=1):
            tokens_BLD = run_block(block, tokens_BLD)
            if index > len(self.blocks) - count:
                pooled.append(self.norm(tokens_BLD).mean(1))
        return torch.stack(pooled, dim=1)

    def _embed(self, frames_BHWC: Tensor, keep_BK: Tensor | None = None) -> Tensor:
        """Turns patches into what the first block sees: tokens of all patches, or of those to keep."""
        patches_BNP = self.patchify(frames_BHWC)
        places = self.positions_ND
        if keep_BK is not None:
            patches_BNP = gather(patches_BNP, keep_BK)
            places = places[keep_BK]
        return self.patch_embed(torch.addcmul(self.offset_P, patches_BNP, self.gain_P)) + places

    def patchify(self, frames_BHWC: Tensor) -> Tensor:
        """Cuts frames into patches_BNP, dtype kept; a patch's numbers run by row, column, colour."""
        batch, side, (rows, columns) = frames_BHWC.shape[0], self.patch_size, self.grid
        cut = frames_BHWC.view(batch, rows, side, columns, side, 3)
        return cut.permute(0, 1, 3, 2, 4, 5).reshape(batch, rows * columns, side * side * 3)
