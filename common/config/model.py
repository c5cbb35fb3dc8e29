"""Sizes of the I-JEPA network, and its masks."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from common.config import checks


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Context encoder, target encoder (same shape) and predictor: vision transformers.

    Attributes:
        patch_size: Side of a square patch, pixels.
        dim: Width of the encoder.
        depth: Transformer blocks of the encoder.
        heads: Attention heads of the encoder; must divide `dim`.
        mlp_ratio: Hidden width of a block's MLP over `dim`.
        predictor_dim: Width of the predictor (384 in the paper).
        predictor_depth: Blocks of the predictor (6 for ViT-B, 12 for L and H, 16 for g in the paper).
        predictor_heads: Attention heads of the predictor; must divide `predictor_dim`. The official code has as many
            as the encoder's.
        predictor_mlp_ratio: Hidden width of a predictor block's MLP over `predictor_dim`; 4 in the official code,
            whatever the encoder's is.
        position_grid: Rows and columns of the grid whose positions are stretched over the picture's: that of the
            pictures an imported network was trained on. (0, 0) is the picture's own grid.
        pixel_mean: Mean of the colours R, G, B, from 0 to 1; ImageNet's by default.
        pixel_std: Standard deviation of the colours. Both should fit the worlds: on dark Freedoom frames a random-init
            encoder with ImageNet's constants is a weaker baseline (world probe 0.42 instead of 0.45).
    """

    GROUP: ClassVar[str] = "learner.model"

    patch_size: int = 12
    dim: int = 192
    depth: int = 6
    heads: int = 3
    mlp_ratio: float = 4.0
    predictor_dim: int = 96
    predictor_depth: int = 3
    predictor_heads: int = 3
    predictor_mlp_ratio: float = 4.0
    position_grid: tuple[int, int] = (0, 0)
    pixel_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    pixel_std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        checks.positive(self, "patch_size", "depth", "mlp_ratio")
        checks.positive(self, "predictor_depth", "predictor_mlp_ratio")
        if self.position_grid != (0, 0) and min(self.position_grid) < 1:
            raise checks.refuse(self, "position_grid", "must be rows and columns above 0, or 0 0 for the picture's own")
        if not all(0 <= value <= 1 for value in self.pixel_mean):
            raise checks.refuse(self, "pixel_mean", "must be three numbers from 0 to 1")
        if not all(0 < value <= 1 for value in self.pixel_std):
            raise checks.refuse(self, "pixel_std", "must be three numbers above 0, at most 1")
        for prefix in ("", "predictor_"):
            dim, heads = getattr(self, f"{prefix}dim"), getattr(self, f"{prefix}heads")
            checks.positive(self, f"{prefix}dim", f"{prefix}heads")
            if dim % heads:
                raise checks.refuse(self, f"{prefix}heads", f"must divide {prefix}dim = {dim}")
            if dim % 4:
                raise checks.refuse(self, f"{prefix}dim", "must be a multiple of 4, for the 2-D sine-cosine positions")

    @property
    def size(self) -> str:
        """Width and depth of the encoder in a word, `vit-192x6`: the label `model` of a run's metrics."""
        return f"vit-{self.dim}x{self.depth}"

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of patches in a picture of `image_size` (height, width).

        Raises:
            ConfigError: The patch does not divide the picture.
        """
        height, width = image_size
        if height % self.patch_size or width % self.patch_size:
            raise checks.refuse(self, "patch_size", f"must divide height and width of image_size = {image_size}")
        return height // self.patch_size, width // self.patch_size


class MaskKind(StrEnum):
    """How the masks of training batches are drawn; what is evaluated is masked the same way under each."""

    MULTIBLOCK = "multiblock"
    """The paper's scheme, every block with its own shape, no place preferred; drawn on the training device."""
    PAPER = "paper"
    """The paper's scheme as its authors' code draws it, biases included; drawn on the host."""
    PAMIQ = "pamiq"
    """pamiq-vrchat's: several blocks are hidden, one of them is predicted; drawn on the host."""


@dataclass(frozen=True, kw_only=True)
class MaskConfig:
    """Multi-block masking (Assran et al. 2023, arXiv:2301.08243, section 3).

    Attributes:
        kind: `multiblock`, `paper` or `pamiq`.
        target_blocks: Number of target blocks a picture; under `pamiq` of hidden blocks, of which one is the target.
        target_scale: Smallest and largest share of the patches in one target block.
        target_aspect: Smallest and largest height ÷ width of a target block.
        context_scale: Smallest and largest share of the patches in the context block, before the targets are cut out;
            `pamiq` has none.
        min_context: Fewest patches that may remain in the context; under `paper` and `pamiq` of a target block too.
    """

    GROUP: ClassVar[str] = "learner.masks"

    kind: MaskKind = MaskKind.MULTIBLOCK
    target_blocks: int = 4
    target_scale: tuple[float, float] = (0.15, 0.2)
    target_aspect: tuple[float, float] = (0.75, 1.5)
    context_scale: tuple[float, float] = (0.85, 1.0)
    min_context: int = 4

    def __post_init__(self) -> None:
        checks.positive(self, "target_blocks", "min_context")
        checks.interval(self, 0, 1, "target_scale", "context_scale")
        checks.interval(self, 0, 100, "target_aspect")

    def check_grid(self, grid: tuple[int, int]) -> None:
        """Raises ConfigError where no block of these scales can be laid on a grid (rows, columns)."""
        patches = grid[0] * grid[1]
        if self.target_scale[0] * patches < 1:
            raise checks.refuse(self, "target_scale", f"gives less than one patch of a {grid[0]}×{grid[1]} grid")
        if self.context_scale[0] * patches < self.min_context:
            raise checks.refuse(
                self, "context_scale", f"gives fewer than min_context = {self.min_context} of {patches} patches"
            )
        if self.target_scale[1] >= 0.5:
            raise checks.refuse(self, "target_scale", "a block of half the picture or more leaves no context")
