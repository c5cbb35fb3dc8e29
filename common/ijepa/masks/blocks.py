"""Blocks of patches: the sizes that a grid has to offer, which patches a block covers, and what a batch is given.

Shape suffixes: B pictures, T target blocks, K patches of a block or context, N patches of the grid; … is any.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from common.config import checks
from common.config.model import MaskConfig

SQUARENESS = (0.8, 1.25)
"""Aspect of a context block over that of the grid; a little play, so that both 7×8 and 8×7 are drawn."""


@dataclass(frozen=True)
class Masks:
    """Patches of each picture, as indices into its row-major grid.

    Attributes:
        context_BK: int64, patches that the context encoder sees, rising.
        targets_BTK: int64, patches of each target block, rising. None of them is in the context, but for the rare
            pictures to which the schemes `paper` and `pamiq` leave no other way.
    """

    context_BK: Tensor
    targets_BTK: Tensor

    def to(self, device: torch.device) -> "Masks":
        """Copies the indices to `device`; from host to GPU through pinned memory, so that the host does not wait."""
        if device.type == "cuda" and not self.context_BK.is_cuda:
            return Masks(
                self.context_BK.pin_memory().to(device, non_blocking=True),
                self.targets_BTK.pin_memory().to(device, non_blocking=True),
            )
        return Masks(self.context_BK.to(device), self.targets_BTK.to(device))


class BlockSize(NamedTuple):
    """Rows and columns of a block, patches."""

    rows: int
    columns: int

    @property
    def area(self) -> int:
        """Patches in the block."""
        return self.rows * self.columns

    @property
    def aspect(self) -> float:
        """Rows ÷ columns."""
        return self.rows / self.columns


def block_sizes(grid: tuple[int, int], scale: tuple[float, float], aspect: tuple[float, float]) -> list[BlockSize]:
    """Lists the block sizes a grid has to offer.

    Where the grid is small, rounding the sides of a wanted block can leave the wanted range of areas by far; these
    sizes do lie in the range.

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

    in_scale = [size for size in sizes if outside(size) <= tolerance]
    if not in_scale:
        return [min(sizes, key=lambda size: (outside(size), abs(math.log(size.aspect))))]
    return [size for size in in_scale if aspect[0] - tolerance <= size.aspect <= aspect[1] + tolerance] or in_scale


@dataclass(frozen=True)
class Offer:
    """The block sizes that a grid has to offer to a config.

    Attributes:
        targets: Sizes of target blocks.
        contexts: Sizes of the context block, about as square as the grid.
    """

    targets: tuple[BlockSize, ...]
    contexts: tuple[BlockSize, ...]

    @classmethod
    def of(cls, config: MaskConfig, grid: tuple[int, int]) -> Self:
        """Works out the sizes.

        Raises:
            ConfigError: `min_context` cannot be promised, even with all targets of a picture on one place.
        """
        config.check_grid(grid)
        square = grid[0] / grid[1]
        targets = block_sizes(grid, config.target_scale, config.target_aspect)
        contexts = block_sizes(grid, config.context_scale, (square * SQUARENESS[0], square * SQUARENESS[1]))
        offer = cls(tuple(targets), tuple(contexts))
        sure = offer.sure(max(size.area for size in targets))
        if sure < config.min_context:
            remain = f"only {sure} patches are sure to remain on a {grid[0]}×{grid[1]} grid"
            raise checks.refuse(config, "min_context", remain)
        return offer

    def sure(self, target_area: int) -> int:
        """Context patches that remain at least, where all targets of a picture lie on one place."""
        return min(size.area for size in self.contexts) - target_area


def middle(sizes: Sequence[BlockSize]) -> BlockSize:
    """The size in the middle of areas and aspects, both compared as ratios: independent of any seed."""
    areas, aspects = [size.area for size in sizes], [size.aspect for size in sizes]
    area, aspect = math.sqrt(min(areas) * max(areas)), math.sqrt(min(aspects) * max(aspects))
    return min(sizes, key=lambda size: math.log(size.area / area) ** 2 + math.log(size.aspect / aspect) ** 2)


def between(limits: tuple[float, float], share: float) -> float:
    """The number at `share` (0 to 1) of the way from one limit to the other."""
    return limits[0] + share * (limits[1] - limits[0])


def corner(uniform: Tensor, free: Tensor | int) -> Tensor:
    """Turns draws in [0, 1) into whole numbers (int64) from 0 to `free`, both included."""
    whole = (uniform * (free + 1)).long()
    return torch.minimum(whole, free) if isinstance(free, Tensor) else whole.clamp(max=free)


def covered(top: Tensor, left: Tensor, rows: Tensor | int, columns: Tensor | int, grid: tuple[int, int]) -> Tensor:
    """Finds the patches that blocks cover.

    Args:
        top: First row of each block, int64 (…).
        left: First column of each block (…).
        rows: Rows of each block (…), or of all.
        columns: Columns of each block (…), or of all.
        grid: Rows and columns of the grid.

    Returns:
        bool (…, N).
    """
    down = torch.arange(grid[0], device=top.device) - top[..., None]
    across = torch.arange(grid[1], device=top.device) - left[..., None]
    rows, columns = (side[..., None] if isinstance(side, Tensor) else side for side in (rows, columns))
    in_rows, in_columns = (down >= 0) & (down < rows), (across >= 0) & (across < columns)
    return (in_rows[..., :, None] & in_columns[..., None, :]).flatten(-2)


def offsets(size: BlockSize, columns: int) -> Tensor:
    """Distances (K) of a block's patches from its first one on a grid with so many columns, row by row."""
    return (torch.arange(size.rows)[:, None] * columns + torch.arange(size.columns)).flatten()


def thin(priority: Tensor, among: Tensor, length: int) -> Tensor:
    """Keeps the patches of highest priority.

    Args:
        priority: Draws in [0, 1) (…, N).
        among: bool (…, N), patches to choose from; at least `length` in each row.
        length: Patches to keep.

    Returns:
        int64 (…, `length`), rising.
    """
    return priority.masked_fill(~among, -1.0).topk(length, sorted=False).indices.sort().values
