"""From frames to feature vectors, in slices short enough to pause between.

Shapes: N frames, B frames a batch, H×W pixels, D features.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

BATCH = 32
"""Most frames in one slice of work."""

SLICE_FLOPS = 5e9
"""Multiply-adds of one slice; about a tenth of a second on one core of a small machine."""

PIXEL_GRID = 8
"""Side of the picture that the pixel baseline sees."""

type Pause = Callable[[], None]
"""Called between slices; may sleep, and may raise to give up the work."""


class Encoder(Protocol):
    """Anything that turns frames into one vector each."""

    def pooled(self, frames: Tensor, /) -> Tensor:
        """Encodes uint8 [B, H, W, 3] to the mean of its patch tokens, float [B, D]."""
        ...


class Pixels:
    """The baseline that has learned nothing: the frame itself, area-averaged to 8×8×3 values in [0, 1]."""

    def pooled(self, frames: Tensor, /) -> Tensor:
        """Shrinks uint8 [B, H, W, 3] to float32 [B, 192]."""
        planes_BCHW = frames.permute(0, 3, 1, 2).float() / 255
        return nn.functional.adaptive_avg_pool2d(planes_BCHW, PIXEL_GRID).flatten(1)


def batch_size(module: nn.Module, tokens: int) -> int:
    """Frames that fit into one slice of work of a transformer.

    A frame costs about parameters × tokens multiply-adds. The size depends on the network alone, not on the speed of
    the machine, so that the same weights give the same numbers everywhere.
    """
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return int(min(BATCH, max(1, SLICE_FLOPS / max(1, parameters * tokens))))


def encode(
    encoder: Encoder,
    frames_NHWC: NDArray[np.uint8],
    *,
    pause: Pause,
    batch: int = BATCH,
    device: torch.device | None = None,
) -> NDArray[np.float32]:
    """Encodes all frames: float32 [N, D]."""
    parts: list[NDArray[np.float32]] = []
    for start in range(0, len(frames_NHWC), batch):
        with torch.inference_mode():
            frames_BHWC = torch.as_tensor(frames_NHWC[start : start + batch], device=device)
            parts.append(encoder.pooled(frames_BHWC).float().cpu().numpy())
        pause()
    return np.concatenate(parts)


def fault(features_ND: NDArray[np.float32]) -> str:
    """Says why features cannot be measured on; empty where they can."""
    if broken := int((~np.isfinite(features_ND)).sum()):
        return f"{broken} of {features_ND.size} feature values are not finite"
    return ""
