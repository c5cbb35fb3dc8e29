"""Multi-block masks: which patches the context encoder sees and which blocks the predictor must fill in.

The paper's scheme (Assran et al. 2023, arXiv:2301.08243, section 3): T target blocks and one large context
block a picture, the targets cut out of the context. The sizes of the blocks are drawn once a batch, their
places for every picture, and all contexts of a batch are cut down to the smallest one. Where the grid is
small, rounding a side can leave the wanted range of areas by far, so sizes are drawn among the whole-patch
rectangles that do lie in the range (`block_sizes`).

Shape suffixes: B pictures, T target blocks, K patches of a block or context, N patches of the grid,
U uniform draws of one picture, S candidate sizes.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from common.config import checks
from common.config.model import MaskConfig

_TRIES = 8
"""Redraws of a picture whose context came out too small; then its targets are laid on top of each other."""

_SQUARENESS = (0.8, 1.25)
"""Aspect of the context block over that of the grid; a little play, so that both 7×8 and 8×7 are drawn."""


@dataclass(frozen=True)
class Masks:
    """Patches of each picture, as indices into its row-major grid.

    Attributes:
        context_BK: int64, patches that the context encoder sees, rising.
        targets_BTK: int64, patches of each target block, row by row; no context patch is among them.
    """

    context_BK: Tensor
    targets_BTK: Tensor

    def to(self, device: torch.device) -> "Masks":
        """Copies the indices to `device`; to a GPU from pinned memory, so that the host does not wait."""
        if device.type != "cuda":
            return Masks(self.context_BK.to(device), self.targets_BTK.to(device))
        return Masks(
            self.context_BK.pin_memory().to(device, non_blocking=True),
            self.targets_BTK.pin_memory().to(device, non_blocking=True),
        )


class BlockSize(NamedTuple):
    """Rows and columns of a block, patches."""

    rows: int
    columns: int

    @property
    def area(self) -> int:
        """Patches in the block."""
        return self.rows * self.columns


def block_sizes(grid: tuple[int, int], scale: tuple[float, float], aspect: tuple[float, float]) -> list[BlockSize]:
    """Lists the block sizes a grid has to offer.

    Args:
        grid: Rows and columns of the grid.
        scale: Smallest and largest share of the patches.
        aspect: Smallest and largest rows ÷ columns.

    Returns:
        All whole-patch rectangles within both ranges; where there is none, those within the range of scales
        alone; where there is none either, the one whose area is nearest to the range.
    """
    patches, tolerance = grid[0] * grid[1], 1e-9
    sizes = [BlockSize(rows, columns) for rows in range(1, grid[0] + 1) for columns in range(1, grid[1] + 1)]

    def outside(size: BlockSize) -> float:
        share = size.area / patches
        return max(scale[0] - share, share - scale[1], 0.0)

    def fits_aspect(size: BlockSize) -> bool:
        return aspect[0] - tolerance <= size.rows / size.columns <= aspect[1] + tolerance

    in_scale = [size for size in sizes if outside(size) <= tolerance]
    if not in_scale:
        return [min(sizes, key=lambda size: (outside(size), abs(math.log(size.rows / size.columns))))]
    return [size for size in in_scale if fits_aspect(size)] or in_scale


def _nearest(sizes: Sequence[BlockSize], area: float, aspect: float) -> BlockSize:
    """The size nearest to an area (patches) and an aspect (rows ÷ columns), both compared as ratios."""

    def distance(size: BlockSize) -> float:
        return math.log(size.area / area) ** 2 + math.log(size.rows / size.columns / aspect) ** 2

    return min(sizes, key=distance)


@dataclass(frozen=True)
class _Layout:
    """Block sizes of one config on one grid, and the placing of blocks by uniform draws.

    A picture takes U = 2 T + 2 + N draws in [0, 1): top and left of each target block, top and left of the
    context block, and a priority of each patch, by which too large a context is thinned out.
    """

    grid: tuple[int, int]
    blocks: int
    min_context: int
    target_sizes: tuple[BlockSize, ...]
    context_sizes: tuple[BlockSize, ...]

    @classmethod
    def of(cls, config: MaskConfig, grid: tuple[int, int]) -> "_Layout":
        """Works out the sizes.

        Raises:
            ConfigError: `min_context` cannot be promised, even with all targets of a picture on one place.
        """
        config.check_grid(grid)
        square = grid[0] / grid[1]
        targets = block_sizes(grid, config.target_scale, config.target_aspect)
        contexts = block_sizes(grid, config.context_scale, (square * _SQUARENESS[0], square * _SQUARENESS[1]))
        sure = min(size.area for size in contexts) - max(size.area for size in targets)
        if sure < config.min_context:
            remain = f"only {sure} patches are sure to remain on a {grid[0]}×{grid[1]} grid"
            raise checks.refuse(config, "min_context", remain)
        return cls(grid, config.target_blocks, config.min_context, tuple(targets), tuple(contexts))

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def draws(self) -> int:
        return 2 * self.blocks + 2 + self.patches

    def middle(self, sizes: Sequence[BlockSize]) -> BlockSize:
        """The size in the middle of the ranges: independent of any seed."""
        areas = [size.area for size in sizes]
        aspects = [size.rows / size.columns for size in sizes]
        return _nearest(sizes, math.sqrt(min(areas) * max(areas)), math.sqrt(min(aspects) * max(aspects)))

    def place(
        self, uniform_BU: Tensor, target: BlockSize, context: BlockSize, *, stacked: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Lays the blocks.

        Args:
            uniform_BU: Draws in [0, 1).
            target: Size of the target blocks.
            context: Size of the context block.
            stacked: Lay every target block on the first, which leaves the most context.

        Returns:
            targets_BTK (int64) and context_BN (bool: in the context block and in no target).
        """
        (rows, columns), blocks = self.grid, self.blocks
        tops_BT = _corner(uniform_BU[:, :blocks], rows - target.rows)
        lefts_BT = _corner(uniform_BU[:, blocks : 2 * blocks], columns - target.columns)
        if stacked:
            tops_BT, lefts_BT = tops_BT[:, :1].expand_as(tops_BT), lefts_BT[:, :1].expand_as(lefts_BT)
        offsets_K = (torch.arange(target.rows)[:, None] * columns + torch.arange(target.columns)).flatten()
        targets_BTK = (tops_BT * columns + lefts_BT)[:, :, None] + offsets_K
        top_B = _corner(uniform_BU[:, 2 * blocks], rows - context.rows)
        left_B = _corner(uniform_BU[:, 2 * blocks + 1], columns - context.columns)
        below_BR = torch.arange(rows) - top_B[:, None]
        right_BC = torch.arange(columns) - left_B[:, None]
        in_rows_BR = (below_BR >= 0) & (below_BR < context.rows)
        in_columns_BC = (right_BC >= 0) & (right_BC < context.columns)
        context_BN = (in_rows_BR[:, :, None] & in_columns_BC[:, None, :]).flatten(1)
        return targets_BTK, context_BN.scatter(1, targets_BTK.flatten(1), value=False)

    def thin(self, uniform_BU: Tensor, context_BN: Tensor, length: int) -> Tensor:
        """Chooses `length` context patches of each picture at random, in rising order (context_BK)."""
        priority_BN = uniform_BU[:, 2 * self.blocks + 2 :].masked_fill(~context_BN, -1.0)
        return priority_BN.topk(length, dim=1).indices.sort(dim=1).values


def _corner(uniform: Tensor, free: int) -> Tensor:
    """Turns draws in [0, 1) into the whole numbers from 0 to `free`, both included."""
    return (uniform * (free + 1)).long().clamp_(max=free)


class MultiBlockSampler:
    """Draws the masks of training batches.

    Args:
        config: Number and size of the blocks.
        grid: Rows and columns of patches.
        seed: Seed of all draws.

    Raises:
        ConfigError: The blocks do not fit the grid, or cannot leave `min_context` patches.
    """

    def __init__(self, config: MaskConfig, grid: tuple[int, int], seed: int) -> None:
        self._config = config
        self._layout = _Layout.of(config, grid)
        self._generator = torch.Generator().manual_seed(seed)

    def sample(self, batch: int) -> Masks:
        """Draws the masks of a batch of `batch` pictures.

        A picture whose context is smaller than `min_context` is redrawn a few times; then its target blocks
        are laid on one place, which always leaves enough.
        """
        layout = self._layout
        target, context = self._draw_sizes()
        uniform_BU = self._uniform(batch)
        targets_BTK, context_BN = layout.place(uniform_BU, target, context)
        for attempt in range(_TRIES + 1):
            short_B = context_BN.sum(1) < layout.min_context
            if not short_B.any():
                break
            uniform_BU[short_B] = self._uniform(int(short_B.sum()))
            targets_BTK[short_B], context_BN[short_B] = layout.place(
                uniform_BU[short_B], target, context, stacked=attempt == _TRIES
            )
        length = int(context_BN.sum(1).min())
        return Masks(layout.thin(uniform_BU, context_BN, length), targets_BTK)

    def state(self) -> Tensor:
        """State of the random draws (uint8), for a checkpoint."""
        return self._generator.get_state()

    def restore(self, state: Tensor) -> None:
        """Goes on from a `state()`."""
        self._generator.set_state(state)

    def _uniform(self, rows: int) -> Tensor:
        return torch.rand(rows, self._layout.draws, generator=self._generator)

    def _draw_sizes(self) -> tuple[BlockSize, BlockSize]:
        """Draws the batch's block sizes: scale and aspect each from its own number."""
        scale, aspect, context_scale, squareness = (float(share) for share in torch.rand(4, generator=self._generator))
        layout, config = self._layout, self._config
        target = _nearest(
            layout.target_sizes,
            layout.patches * _between(config.target_scale, scale),
            _between(config.target_aspect, aspect),
        )
        context = _nearest(
            layout.context_sizes,
            layout.patches * _between(config.context_scale, context_scale),
            layout.grid[0] / layout.grid[1] * _between(_SQUARENESS, squareness),
        )
        return target, context


def _between(limits: tuple[float, float], share: float) -> float:
    return limits[0] + share * (limits[1] - limits[0])


def fixed_masks(config: MaskConfig, grid: tuple[int, int], seeds: Sequence[int]) -> Masks:
    """Masks that depend on nothing but a seed each, to measure the same experience the same way again.

    Block sizes are those in the middle of the configured ranges and the context has one fixed length (what
    remains when no two targets overlap, at least `min_context`), so the shapes agree between all calls with
    the same config and grid, and the row of a seed is the same in every batch.

    Args:
        config: Number and size of the blocks.
        grid: Rows and columns of patches.
        seeds: One whole number a picture.

    Returns:
        Masks of `len(seeds)` pictures.
    """
    layout = _Layout.of(config, grid)
    target, context = layout.middle(layout.target_sizes), layout.middle(layout.context_sizes)
    length = max(layout.min_context, context.area - layout.blocks * target.area)
    # torch's CPU generator keeps 32 bits of a seed, and neighbouring seeds start alike: hash them first.
    keys = [int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=4).digest()) for seed in seeds]
    generators = [torch.Generator().manual_seed(key) for key in keys]
    uniform_BU = torch.empty(len(seeds), layout.draws)

    def redraw(rows: Sequence[int]) -> None:
        for row in rows:
            uniform_BU[row] = torch.rand(layout.draws, generator=generators[row])

    redraw(range(len(seeds)))
    targets_BTK, context_BN = layout.place(uniform_BU, target, context)
    for attempt in range(_TRIES + 1):
        short_B = context_BN.sum(1) < length
        rows = [row for row, short in enumerate(short_B) if short]
        if not rows:
            break
        redraw(rows)
        targets_BTK[short_B], context_BN[short_B] = layout.place(
            uniform_BU[short_B], target, context, stacked=attempt == _TRIES
        )
    return Masks(layout.thin(uniform_BU, context_BN, length), targets_BTK)
