"""What a step minimises, as one module: so that data-parallel wrappers and compilers find a single forward pass.

Shape suffixes: B pictures, H and W pixels, C colours, T target blocks, K patches of a block or context, N patches of
the grid, D width.
"""

from typing import NamedTuple, override

import torch
from torch import Tensor, nn
from torch.nn import functional

from common.ijepa.masks import Masks
from common.ijepa.model import IJepa, gather_targets, mixed_precision
from learner.regularisers import RegulariserTerm

_FEW = 8
"""Pictures: 8 ViT-Tiny/8 of 96 pixels took 7 % less time a picture than 32."""


class Measured(NamedTuple):
    """What one forward pass found, on the training device.

    Attributes:
        total: What is minimised: loss and regulariser, a scalar.
        regulariser: The regulariser's term, weights included, a scalar.
        losses_B: I-JEPA loss of each picture, float32, without gradient.
        context_BD: Mean context feature of each picture, float32, without gradient.
        target_BD: Mean target feature of each picture, float32, without gradient.
    """

    total: Tensor
    regulariser: Tensor
    losses_B: Tensor
    context_BD: Tensor
    target_BD: Tensor


class Objective(nn.Module):
    """I-JEPA loss (Assran et al. 2023, arXiv:2301.08243, section 3) plus a regulariser of the pooled context features.

    On a GPU both encoders and the predictor run under bf16 autocast, the loss in float32. On a CPU all is float32: bf16
    there is many times slower where the processor lacks units for it.

    Args:
        model: The networks.
        regulariser: The term that is added.
    """

    def __init__(self, model: IJepa, regulariser: RegulariserTerm) -> None:
        super().__init__()
        self.model = model
        self.regulariser = regulariser

    @override
    def forward(self, frames_BHWC: Tensor, context_BK: Tensor, targets_BTK: Tensor) -> Measured:
        """Measures a batch.

        Args:
            frames_BHWC: uint8 RGB, on the networks' device.
            context_BK: int64, patches that the context encoder sees.
            targets_BTK: int64, patches of each target block.
        """
        masks = Masks(context_BK, targets_BTK)
        with mixed_precision(frames_BHWC.device):
            with torch.no_grad():
                target_BND = self._targets(frames_BHWC)
            predictions_BTKD, context_BKD = self.model.predict(frames_BHWC, masks)
        wanted_BTKD = gather_targets(target_BND, masks)
        errors_BTKD = functional.smooth_l1_loss(predictions_BTKD.float(), wanted_BTKD, reduction="none")
        losses_B = errors_BTKD.mean((1, 2, 3))
        pooled_BD = context_BKD.float().mean(1)
        regulariser = self.regulariser(pooled_BD, frames_BHWC)
        return Measured(
            total=losses_B.mean() + regulariser,
            regulariser=regulariser.detach(),
            losses_B=losses_B.detach(),
            context_BD=pooled_BD.detach(),
            target_BD=target_BND.float().mean(1),
        )

    def _targets(self, frames_BHWC: Tensor) -> Tensor:
        """Encodes all patches; on a CPU a few pictures at a time, so that what passes between layers stays in cache."""
        if frames_BHWC.device.type != "cpu":
            return self.model.target_encoder(frames_BHWC)
        parts = range(0, len(frames_BHWC), _FEW)
        return torch.cat([self.model.target_encoder(frames_BHWC[start : start + _FEW]) for start in parts])
