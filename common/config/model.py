"""Sizes of the I-JEPA network, its masks, and how it is optimised."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from common.config import checks
from common.config.units import Seconds


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
        predictor_depth: Blocks of the predictor (6 for ViT-B, 12 for L and H in the paper).
        predictor_heads: Attention heads of the predictor; must divide `predictor_dim`.
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
    pixel_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    pixel_std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        checks.positive(self, "patch_size", "depth", "mlp_ratio")
        checks.positive(self, "predictor_depth")
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

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of patches in a picture of `image_size` (height, width).

        Raises:
            ConfigError: The patch does not divide the picture.
        """
        height, width = image_size
        if height % self.patch_size or width % self.patch_size:
            raise checks.refuse(self, "patch_size", f"must divide height and width of image_size = {image_size}")
        return height // self.patch_size, width // self.patch_size


@dataclass(frozen=True, kw_only=True)
class MaskConfig:
    """Multi-block masking (Assran et al. 2023, arXiv:2301.08243, section 3).

    Attributes:
        target_blocks: Number of target blocks a picture.
        target_scale: Smallest and largest share of the patches in one target block.
        target_aspect: Smallest and largest height ÷ width of a target block.
        context_scale: Smallest and largest share of the patches in the context block, before the targets are cut out.
        min_context: Fewest patches that may remain in the context.
    """

    GROUP: ClassVar[str] = "learner.masks"

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


class PayloadDtype(StrEnum):
    """How floating-point parameters travel from the learner to everybody."""

    BF16 = "bf16"
    """Half the bytes; what acts is the rounded network."""
    FP32 = "fp32"
    """Every bit as the learner has it."""


class Regulariser(StrEnum):
    """Term added to the I-JEPA loss against collapse."""

    NONE = "none"
    VICREG = "vicreg"


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How the network is updated.

    Attributes:
        batch_size: Frames an optimiser step.
        lr: Learning rate after warm-up; constant from there on, since a live stream has no end to decay towards.
        warmup_steps: Steps of linear rise of the learning rate.
        weight_decay: Decoupled decay of matrices (not of biases and norms).
        ema: Momentum of the target encoder: target = ema × target + (1 − ema) × context.
        clip: Largest norm of the gradient; 0 for no clipping.
        regulariser: `none`, or `vicreg` on the pooled context features (Bardes et al. 2022, arXiv:2105.04906).
        std_weight: Weight of the hinge that keeps each feature's standard deviation at 1.
        cov_weight: Weight of the squared off-diagonal covariance, per dimension.
    """

    GROUP: ClassVar[str] = "learner.optim"

    batch_size: int = 64
    lr: float = 5e-4
    warmup_steps: int = 50
    weight_decay: float = 0.04
    ema: float = 0.996
    clip: float = 0.0
    regulariser: Regulariser = Regulariser.VICREG
    std_weight: float = 1.0
    cov_weight: float = 0.04

    def __post_init__(self) -> None:
        checks.positive(self, "batch_size", "lr")
        checks.not_negative(self, "warmup_steps", "weight_decay", "clip")
        checks.not_negative(self, "std_weight", "cov_weight")
        checks.between(self, 0, 1, "ema")
        if self.regulariser is Regulariser.VICREG and self.batch_size < 2:
            raise checks.refuse(self, "batch_size", "must be at least 2 for the vicreg regulariser")


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """Which frames are kept and how often they are used.

    Attributes:
        capacity: Frames in the ring buffer; the oldest gives way.
        min_fill: Frames in the ring before the first step.
        replay_ratio: Frames sampled ÷ frames admitted that the limiter allows; the learner waits when it is ahead.
        slack: Batches the learner may be ahead of the ratio (Reverb's least difference); at least 1, so that the first
            step is due as soon as `min_fill` is reached.
        max_behind: Batches the learner may be behind the ratio and still catch up (Reverb's greatest difference); what
            it earns beyond is forfeited and counted, 0 for no bound. By default what a ring of 8192 frames earns at
            ratio 8 and batches of 64: a learner that keeps its ratio never comes near, and one further behind would
            train on the frames of now for the sake of those that the ring has replaced.
        min_new: Frames that must be admitted between two slices of training; 0 for none.
        max_staleness: Time for which newer weights may have been there when a frame was captured; frames of actors that
            were further behind are left out. 0 for any time. Frames seen before the first version pass.
        staleness_half_life: Age of those weights that halves a frame's chance to be sampled; 0 samples uniformly.
    """

    GROUP: ClassVar[str] = "learner.replay"

    capacity: int = 8192
    min_fill: int = 256
    replay_ratio: float = 8.0
    slack: float = 2.0
    max_behind: float = 1024.0
    min_new: int = 0
    max_staleness: Seconds = 0.0
    staleness_half_life: Seconds = 0.0

    def __post_init__(self) -> None:
        checks.positive(self, "capacity", "min_fill", "replay_ratio")
        checks.between(self, 1, 1e6, "slack")
        checks.not_negative(self, "max_behind", "min_new", "max_staleness", "staleness_half_life")
        if self.min_fill > self.capacity:
            raise checks.refuse(self, "min_fill", f"can never be reached with capacity = {self.capacity}")


@dataclass(frozen=True, kw_only=True)
class LearnerConfig:
    """One learner: network, optimisation, replay, and how often it publishes and saves.

    Attributes:
        device: `auto` (a GPU where there is one), `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads of torch in the learner's process.
        nice: Unix niceness of the learner's process, so that actors keep their pace on a shared machine.
        publish_every: Seconds between weights versions.
        payload_dtype: `bf16` or `fp32`: floating-point parameters as they are sent and hashed.
        versions_kept: Newest versions that the registry keeps for whoever asks, besides the newest published one, which
            it always keeps; at least 2.
        checkpoint_every: Seconds between checkpoints.
        checkpoints_kept: Newest checkpoints that stay on disk.
        slice: Longest time one `train()` runs before pause, publication and checkpoints get their turn.
    """

    GROUP: ClassVar[str] = "learner"

    model: ModelConfig = ModelConfig()
    masks: MaskConfig = MaskConfig()
    optim: OptimConfig = OptimConfig()
    replay: ReplayConfig = ReplayConfig()
    device: str = "auto"
    threads: int = 1
    nice: int = 10
    publish_every: Seconds = 5.0
    payload_dtype: PayloadDtype = PayloadDtype.BF16
    versions_kept: int = 4
    checkpoint_every: Seconds = 60.0
    checkpoints_kept: int = 3
    slice: Seconds = 1.0

    def __post_init__(self) -> None:
        checks.positive(self, "threads", "publish_every", "slice")
        checks.positive(self, "checkpoint_every")
        checks.between(self, 2, 1000, "checkpoints_kept", "versions_kept")
        checks.between(self, 0, 19, "nice")
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", self.device):
            raise checks.refuse(self, "device", "must be auto, cpu, cuda or cuda:N")
        if self.replay.min_fill < self.optim.batch_size:
            raise checks.refuse(self, "replay.min_fill", f"must be at least optim.batch_size = {self.optim.batch_size}")
        self._check_limiter()

    def _check_limiter(self) -> None:
        """As Reverb does, refuses a band of the limiter that one insert or one batch could not move in."""
        replay, batch = self.replay, self.optim.batch_size
        earned = replay.replay_ratio * max(1, replay.min_new)
        least = max(earned, batch) / batch - replay.slack
        if replay.max_behind and replay.max_behind < least:
            allowed = f"must be 0 or at least {least:g}: {earned:g} samples are earned at once, a batch takes {batch}"
            raise checks.refuse(self, "replay.max_behind", allowed)
