"""One forward pass under fixed masks, from which every measure is taken.

Shapes: F frames, T target blocks, K patches of a block, Q = T·K predictions of a frame, P patches of the grid, D width,
H×W pixels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from common.config.model import MaskConfig
from common.ijepa.masks import fixed_masks
from common.ijepa.model import IJepa
from common.ijepa.vit import VisionTransformer, gather


class Predicted(NamedTuple):
    """What the context of some frames says of their hidden patches.

    Attributes:
        predictions_FQD: float32.
        positions_FQ: int64, the patch that each is about.
    """

    predictions_FQD: Tensor
    positions_FQ: Tensor


def predict(model: IJepa, config: MaskConfig, frames: NDArray[np.uint8] | Tensor, seeds: Sequence[int]) -> Predicted:
    """Predicts the hidden patches of uint8 frames [F, H, W, 3] under the masks of their seeds."""
    device = model.context_encoder.positions_ND.device
    masks = fixed_masks(config, model.grid, seeds).to(device)
    with torch.inference_mode():
        predictions_BTKD, _ = model.predict(torch.as_tensor(frames, device=device), masks)
    return Predicted(predictions_BTKD.float().flatten(1, 2), masks.targets_BTK.flatten(1))


def all_targets(model: IJepa, frames: NDArray[np.uint8] | Tensor) -> Tensor:
    """Layer-normed features of every patch of uint8 frames [F, H, W, 3] by the target encoder: float32 [F, P, D]."""
    with torch.inference_mode():
        frames_FHWC = torch.as_tensor(frames, device=model.context_encoder.positions_ND.device)
        return layer_normed(model.target_encoder(frames_FHWC))


class Tap:
    """Encodes frames like the encoder it sits on, and keeps their targets: what is probed need not be encoded twice.

    Args:
        encoder: A target encoder.
        keep: False keeps nothing.
    """

    def __init__(self, encoder: VisionTransformer, *, keep: bool = True) -> None:
        self._encoder, self._keep = encoder, keep
        self._targets: list[Tensor] = []

    def pooled(self, frames: Tensor) -> Tensor:
        """As `VisionTransformer.pooled`."""
        tokens_FPD = self._encoder(frames)
        if self._keep:
            self._targets.append(layer_normed(tokens_FPD))
        return tokens_FPD.mean(1)

    def targets(self) -> Tensor:
        """Targets of all frames that were encoded, float32 [F, P, D]."""
        return torch.cat(self._targets)


def layer_normed(tokens_FPD: Tensor) -> Tensor:
    """Makes targets of the target encoder's tokens, float32, as `common.ijepa.model.gather_targets` does."""
    return functional.layer_norm(tokens_FPD.float(), tokens_FPD.shape[-1:])


def own_targets(targets_FPD: Tensor, predicted: Predicted) -> Tensor:
    """Takes the targets that the predictions are about: float32 [F, Q, D]."""
    return gather(targets_FPD, predicted.positions_FQ)
