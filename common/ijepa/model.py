"""I-JEPA: predict the features of hidden blocks of a picture from the features of the rest.

    frames ──► context_encoder (context patches only) ──► predictor ──► predictions ─┐
       │                                                                             ├─ smooth L1
       └────► target_encoder (all patches, no gradient) ──► layer norm ──► targets ──┘

Shape suffixes: B pictures, H and W pixels, C colours, N patches, K patches of a block or context, T target
blocks, D width.
"""

# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false
# torch's operations on lists of tensors have no public name. `_fused_sgd_` is what torch.optim.SGD(fused=True) calls.

from copy import deepcopy
from typing import override

import torch
from torch import Tensor, nn
from torch.nn import functional

from common.config.model import ModelConfig
from common.ijepa.masks import Masks
from common.ijepa.predictor import Predictor
from common.ijepa.vit import VisionTransformer, gather


class IJepa(nn.Module):
    """Context encoder, predictor, and the target encoder that follows the context encoder slowly.

    Args:
        config: Sizes.
        image_size: Height and width of a frame, pixels.
        seed: Seed of the initialisation; torch's global state is used, and moves on, if none is given.

    Raises:
        ConfigError: The patch does not divide the picture.
    """

    def __init__(self, config: ModelConfig, image_size: tuple[int, int], *, seed: int | None = None) -> None:
        super().__init__()
        self.grid = config.grid(image_size)
        self.width = config.dim
        self._made_of = (config, image_size)
        with torch.random.fork_rng([], seed is not None):  # pyright: ignore[reportUnknownMemberType]
            if seed is not None:
                torch.default_generator.manual_seed(seed)
            self.context_encoder = VisionTransformer(config, image_size)
            self.predictor = Predictor(config, self.grid)
        self.target_encoder = deepcopy(self.context_encoder).requires_grad_(False)

    def another(self, seed: int) -> "IJepa":
        """Makes a network of the same shape, newly initialised, on the CPU."""
        return IJepa(*self._made_of, seed=seed)

    @override
    def forward(self, frames_BHWC: Tensor, masks: Masks) -> Tensor:
        """Same as `loss`, so that wrappers of a module find it."""
        return self.loss(frames_BHWC, masks)

    @torch.no_grad()
    def targets(self, frames_BHWC: Tensor, masks: Masks) -> Tensor:
        """Layer-normed features of the target patches (targets_BTKD, float32), without gradient."""
        return gather_targets(self.target_encoder(frames_BHWC), masks)

    def predict(self, frames_BHWC: Tensor, masks: Masks) -> tuple[Tensor, Tensor]:
        """Predicts the target patches from the context patches.

        Returns:
            predictions_BTKD, and the context encoder's tokens_BKD.
        """
        context_BKD = self.context_encoder(frames_BHWC, masks.context_BK)
        return self.predictor(context_BKD, masks.context_BK, masks.targets_BTK), context_BKD

    def loss(self, frames_BHWC: Tensor, masks: Masks) -> Tensor:
        """Training loss: smooth L1 (β = 1) between predictions and targets, mean over everything."""
        predictions_BTKD, _ = self.predict(frames_BHWC, masks)
        return prediction_loss(predictions_BTKD, self.targets(frames_BHWC, masks))

    @torch.no_grad()
    def sample_losses(self, frames_BHWC: Tensor, masks: Masks) -> Tensor:
        """Training loss of each picture by itself (losses_B), without gradient."""
        predictions_BTKD, _ = self.predict(frames_BHWC, masks)
        targets_BTKD = self.targets(frames_BHWC, masks)
        errors_BTKD = functional.smooth_l1_loss(predictions_BTKD.float(), targets_BTKD, reduction="none")
        return errors_BTKD.mean((1, 2, 3))

    @torch.no_grad()
    def update_target(self, momentum: float, accept: Tensor | None = None) -> None:
        """Moves the target encoder: target = momentum · target + (1 − momentum) · context.

        Args:
            momentum: Share of the old target.
            accept: bool scalar on the model's device; where false, the target stays as it is, without the
                host having to know.
        """
        move_average(self.target_encoder, self.context_encoder, momentum, accept)


@torch.no_grad()
def move_average(average: nn.Module, source: nn.Module, momentum: float, accept: Tensor | None = None) -> None:
    """Moves the parameters of one module towards those of another of the same shape.

    Args:
        average: Changed in place: momentum · average + (1 − momentum) · source.
        source: What it follows.
        momentum: Share of the old average.
        accept: bool scalar on the device; where false, the average stays as it is, without the host having to know.
    """
    # A step of SGD with the source as gradient and a decay of 1 is this average, and its fused kernel is one pass over
    # the numbers, without a temporary, that does nothing where `found_inf` is 1.
    torch._fused_sgd_(
        list(average.parameters()),
        list(source.parameters()),
        [],
        lr=1 - momentum,
        weight_decay=1.0,
        maximize=True,
        momentum=0.0,
        dampening=0.0,
        nesterov=False,
        is_first_step=False,
        found_inf=None if accept is None else (~accept).float(),
    )


def mixed_precision(device: torch.device) -> torch.autocast:
    """Arithmetic of the networks: bf16 where a GPU has units for it, else float32, which a CPU is faster at."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def gather_targets(tokens_BND: Tensor, masks: Masks) -> Tensor:
    """Layer-norms the target encoder's tokens and takes the target patches (targets_BTKD, float32)."""
    normed_BND = functional.layer_norm(tokens_BND.float(), tokens_BND.shape[-1:])
    return gather(normed_BND, masks.targets_BTK.flatten(1)).view(*masks.targets_BTK.shape, -1)


def prediction_loss(predictions_BTKD: Tensor, targets_BTKD: Tensor) -> Tensor:
    """Smooth L1 (β = 1), mean over all, in float32."""
    return functional.smooth_l1_loss(predictions_BTKD.float(), targets_BTKD)
