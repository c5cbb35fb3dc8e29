import numpy as np
import torch

from common.config import ModelConfig
from common.ijepa.vit import VisionTransformer
from deploy.feature_maps import principal_colours

CONFIG = ModelConfig(patch_size=8, dim=16, depth=1, heads=2)


def test_like_patches_have_like_colours_and_unlike_ones_do_not() -> None:
    encoder = VisionTransformer(CONFIG, (32, 32))
    with torch.no_grad():
        for block in encoder.blocks:
            for parameter in block.parameters():
                parameter.zero_()
        encoder.patch_embed.weight.normal_(std=5.0, generator=torch.Generator().manual_seed(0))
    frames = np.zeros((8, 32, 32, 3), np.uint8)
    frames[:, :, 16:] = 255
    colours = principal_colours(encoder, frames)
    assert colours.shape == (8, 4, 4, 3)
    assert colours.min() >= 0
    assert colours.max() <= 1
    left, right = colours[:, :, :2, 0], colours[:, :, 2:, 0]
    assert abs(left.mean() - right.mean()) > 0.8
    assert left.std() < 0.2
    assert right.std() < 0.2
