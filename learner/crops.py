"""Random crops: each use of a frame shows another part of it.

Shape suffixes: B pictures, H and W pixels, C colours.
"""

import numpy as np
import torch
from numpy.random import SeedSequence
from torch import Tensor
from torch.nn import functional

_ASPECT = 4 / 3
"""Widest crop, relative to the frame's own shape; the tallest is its inverse."""


class RandomCrop:
    """Cuts a box out of each picture and stretches it to the whole picture, bilinearly.

    Area share U(`least`, 1), width to height relative to the picture's exp(U(−ln 4/3, ln 4/3)), place uniform:
    torchvision's `RandomResizedCrop`, which the I-JEPA code uses with a least share of 0.3. Of boxes that stick out the
    long side is cut off, where torchvision draws again. Nothing is ever shrunk, so nothing aliases. Cost: the demo's
    step takes 1.02 times as long.

    Boxes follow from the seed and the number of the step alone: no state to save.

    Args:
        least: Smallest share of the area, above 0; 1 leaves pictures as they are.
        seed: Of the boxes.
    """

    def __init__(self, least: float, seed: int) -> None:
        self._least, self._seed = least, seed

    def __call__(self, frames_BHWC: Tensor, step: int) -> Tensor:
        """Crops a batch.

        Args:
            frames_BHWC: uint8, on any device; the host does not wait for it.
            step: Number of the step.

        Returns:
            uint8, the same shape.
        """
        if self._least >= 1:
            return frames_BHWC
        affine_B23 = self._boxes(len(frames_BHWC), step)
        if frames_BHWC.device.type == "cuda":
            affine_B23 = affine_B23.pin_memory().to(frames_BHWC.device, non_blocking=True)
        planes_BCHW = frames_BHWC.permute(0, 3, 1, 2).float().contiguous()  # sampled three times as fast
        grid_BHW2 = functional.affine_grid(affine_B23, list(planes_BCHW.shape), align_corners=False)
        cropped_BCHW = functional.grid_sample(planes_BCHW, grid_BHW2, padding_mode="border", align_corners=False)
        return cropped_BCHW.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def _boxes(self, count: int, step: int) -> Tensor:
        """Draws affine maps [B, 2, 3] from the picture's coordinates, −1 to 1, to the box's; float32 on the host."""
        random = np.random.default_rng(SeedSequence((self._seed, step)))
        area_B = random.uniform(self._least, 1, count)
        aspect_B = np.exp(random.uniform(-np.log(_ASPECT), np.log(_ASPECT), count))
        size_B2 = np.minimum(1, np.sqrt(np.stack([area_B * aspect_B, area_B / aspect_B], 1)))
        shift_B2 = (1 - size_B2) * random.uniform(-1, 1, (count, 2))
        affine_B23 = np.zeros((count, 2, 3), np.float32)
        affine_B23[:, [0, 1], [0, 1]] = size_B2
        affine_B23[:, :, 2] = shift_B2
        return torch.from_numpy(affine_B23)  # pyright: ignore[reportUnknownMemberType]
