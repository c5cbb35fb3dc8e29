"""Multi-block masks without the biases of the published code, drawn on the training device.

Shape suffixes: B pictures, C candidates for a picture, T target blocks, K patches of a block or context,
N patches of the grid, S sizes, U uniform draws of one picture.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import override

import torch
from torch import Tensor

from common.config.model import MaskConfig
from common.ijepa.masks.blocks import SQUARENESS, BlockSize, Masks, Offer, between, corner, covered, offsets, thin
from common.ijepa.masks.sampler import MaskSampler

_CANDIDATES = 6
"""Drawings of a picture at once. The last one has all its targets on one place, which always leaves enough context;
where `min_context` asks for no more than the usual, one picture in 10⁵ needs it."""

_AREAS = 8
"""Most target areas of a grid: every one has its own shapes of tensors, for which a compiler makes its own graph."""

_TOO_SHORT = 0.1
"""Share of the drawings whose context may be too short: more context for all, against more redrawn."""

_TRIALS = 2048
"""Pictures from which the usual length of a context is found."""


class MultiBlockSampler(MaskSampler):
    """The scheme of Assran et al. 2023 (arXiv:2301.08243, section 3), each picture for itself.

    T target blocks and one large context block a picture, the targets cut out of the context. A batch shares
    the target blocks' *area* only, so that its tensors are rectangular. Every block of every picture has its
    own shape (among the whole-patch rectangles of that area), every context block its own area and shape, and
    all of them their own place, to the last row and column. Scale and aspect are independent numbers: the
    shape is the one nearest to an aspect drawn from `target_aspect`, the area the one nearest to a scale drawn
    from `target_scale`.

    All contexts of an area have the same length L, known in advance: of 2048 trial drawings nine in ten left at
    least so much (`lengths`). Longer ones are thinned out at random; for shorter ones there are other drawings
    of the same picture, all made at once. So shapes depend on the area alone, and nothing that is drawn on the
    device decides what the host does.

    Against the published code (`PaperSampler`): the last row and column take part, a context is spread over
    its whole block instead of being cut off below, and shapes vary within a batch.
    """

    def __init__(
        self, config: MaskConfig, grid: tuple[int, int], seed: int, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(config, grid, seed, device)
        plans = [Plan.of(config, grid, self._offer, area) for area in _areas(self._offer.targets)]
        self._lengths = {plan.area: plan.length for plan in plans}
        self._plans = [plan.to(self._device) for plan in plans]
        self._device_generator = torch.Generator(self._device)

    @property
    def lengths(self) -> Mapping[int, int]:
        """Context patches by target area: all the shapes that batches can have."""
        return self._lengths

    @override
    def sample(self, batch: int) -> Masks:
        area = self._patches * between(self._config.target_scale, self._share())
        plan = min(self._plans, key=lambda plan: abs(plan.area - area))
        seed = int(torch.randint(2**63 - 1, (1,), generator=self._generator))
        generator = self._device_generator.manual_seed(seed)
        uniform_BU = torch.rand(batch, plan.draws(), generator=generator, device=self._device)
        return plan.draw(uniform_BU)


@dataclass(frozen=True)
class Plan:
    """How masks with targets of one area are laid: tables on one device.

    A picture takes U = C (3 T + 4) + N draws in [0, 1): for each candidate shape, top and left of each target
    block and area, shape, top and left of the context block; then a priority of each patch, by which too long
    a context is thinned out.

    Attributes:
        grid: Rows and columns of the grid.
        blocks: Target blocks of a picture.
        area: Patches of a target block.
        length: Patches of a context.
        target_sides_S2: Rows and columns of the target's shapes, by rising aspect.
        bounds_S: Draws up to which each shape is taken.
        offsets_SK: Distances of a block's patches from its first, for each shape.
        context_sides_S2: Rows and columns of the context's sizes.
        context_logs_S2: Logarithms of their areas and aspects.
        context_scale: Range of the context's share of the patches.
    """

    grid: tuple[int, int]
    blocks: int
    area: int
    length: int
    target_sides_S2: Tensor
    bounds_S: Tensor
    offsets_SK: Tensor
    context_sides_S2: Tensor
    context_logs_S2: Tensor
    context_scale: tuple[float, float]

    @classmethod
    def of(cls, config: MaskConfig, grid: tuple[int, int], offer: Offer, area: int) -> "Plan":
        """Makes the tables on the host, and finds the length of the contexts by trial."""
        shapes = sorted((size for size in offer.targets if size.area == area), key=lambda size: size.aspect)
        low, high = config.target_aspect
        turns = [math.sqrt(narrow.aspect * wide.aspect) for narrow, wide in pairwise(shapes)]
        plan = cls(
            grid=grid,
            blocks=config.target_blocks,
            area=area,
            length=config.min_context,
            target_sides_S2=torch.tensor(shapes),
            bounds_S=torch.tensor([(turn - low) / max(high - low, 1e-9) for turn in turns] + [math.inf]),
            offsets_SK=torch.stack([offsets(size, grid[1]) for size in shapes]),
            context_sides_S2=torch.tensor(offer.contexts),
            context_logs_S2=torch.tensor([(math.log(size.area), math.log(size.aspect)) for size in offer.contexts]),
            context_scale=config.context_scale,
        )
        trials_BU = torch.rand(_TRIALS, plan.draws(1), generator=torch.Generator().manual_seed(0))
        _, contexts_BCN = plan.lay(trials_BU[:, None, : -grid[0] * grid[1]])
        usual = int(contexts_BCN.sum(-1).flatten().sort().values[int(_TOO_SHORT * _TRIALS)])
        return replace(plan, length=max(config.min_context, min(usual, offer.sure(area))))

    def to(self, device: torch.device) -> "Plan":
        """The same tables on another device."""
        tables = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **{name: table.to(device) for name, table in tables.items()})

    def draws(self, candidates: int = _CANDIDATES) -> int:
        """Uniform draws U that a picture takes."""
        return candidates * (3 * self.blocks + 4) + self.grid[0] * self.grid[1]

    def draw(self, uniform_BU: Tensor) -> Masks:
        """Makes masks from draws in [0, 1), which must be on the plan's device."""
        patches, batch = self.grid[0] * self.grid[1], uniform_BU.shape[0]
        targets_BCTK, contexts_BCN = self.lay(uniform_BU[:, :-patches].view(batch, _CANDIDATES, -1), stack=True)
        candidates_C = torch.arange(_CANDIDATES, device=uniform_BU.device)
        fits_BC = contexts_BCN.sum(-1) >= self.length
        first_B = torch.where(fits_BC, candidates_C, _CANDIDATES - 1).amin(1)
        pictures_B = torch.arange(batch, device=uniform_BU.device)
        context_BN = contexts_BCN[pictures_B, first_B]
        return Masks(thin(uniform_BU[:, -patches:], context_BN, self.length), targets_BCTK[pictures_B, first_B])

    def lay(self, draws_BCU: Tensor, *, stack: bool = False) -> tuple[Tensor, Tensor]:
        """Lays the blocks of every candidate.

        Args:
            draws_BCU: 3 T + 4 draws in [0, 1) for each candidate.
            stack: Lay all targets of the last candidate on its first.

        Returns:
            targets_BCTK (int64), and contexts_BCN (bool: in the context block and in no target).
        """
        targets_BC3T = draws_BCU[..., :-4].view(*draws_BCU.shape[:2], 3, self.blocks)
        if stack:
            last_B13T = targets_BC3T[:, -1:, :, :1].expand(-1, -1, -1, self.blocks)
            targets_BC3T = torch.cat([targets_BC3T[:, :-1], last_B13T], dim=1)
        shape_BCT, top_BCT, left_BCT = targets_BC3T.unbind(2)
        shape_BCT = torch.bucketize(shape_BCT.contiguous(), self.bounds_S, right=True)
        rows_BCT, columns_BCT = self.target_sides_S2[shape_BCT].unbind(-1)
        top_BCT = corner(top_BCT, self.grid[0] - rows_BCT)
        left_BCT = corner(left_BCT, self.grid[1] - columns_BCT)
        targets_BCTK = (top_BCT * self.grid[1] + left_BCT)[..., None] + self.offsets_SK[shape_BCT]
        scale_BC, aspect_BC, top_BC, left_BC = draws_BCU[..., -4:].unbind(-1)
        rows_BC, columns_BC = self._context_sides(scale_BC, aspect_BC).unbind(-1)
        contexts_BCN = covered(
            corner(top_BC, self.grid[0] - rows_BC),
            corner(left_BC, self.grid[1] - columns_BC),
            rows_BC,
            columns_BC,
            self.grid,
        )
        return targets_BCTK, contexts_BCN.scatter(-1, targets_BCTK.flatten(2), value=False)

    def _context_sides(self, scale_BC: Tensor, aspect_BC: Tensor) -> Tensor:
        """Rows and columns (…, 2) of the size whose area and aspect, as ratios, are nearest to those drawn."""
        low, high = self.context_scale
        square = self.grid[0] / self.grid[1]
        area_BC = self.grid[0] * self.grid[1] * (low + scale_BC * (high - low))
        aspect_BC = square * (SQUARENESS[0] + aspect_BC * (SQUARENESS[1] - SQUARENESS[0]))
        wanted_BC2 = torch.stack([area_BC, aspect_BC], dim=-1).log()
        distance_BCS = (wanted_BC2[..., None, :] - self.context_logs_S2).square().sum(-1)
        return self.context_sides_S2[distance_BCS.argmin(-1)]


def _areas(sizes: Sequence[BlockSize]) -> list[int]:
    """Target areas to use.

    An area with one shape ties scale to aspect, so these are left out where three areas have more. Where still too many
    are left, each part of their range gives the one with most shapes.
    """
    shapes: dict[int, int] = {}
    for size in sorted(sizes, key=lambda size: size.area):
        shapes[size.area] = shapes.get(size.area, 0) + 1
    several = [area for area in shapes if shapes[area] > 1]
    areas = several if len(several) >= 3 else list(shapes)
    if len(areas) <= _AREAS:
        return areas
    parts: dict[int, list[int]] = {}
    for area in areas:
        parts.setdefault((area - areas[0]) * _AREAS // (areas[-1] - areas[0] + 1), []).append(area)
    return [max(part, key=lambda area: shapes[area]) for part in parts.values()]
