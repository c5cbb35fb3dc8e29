"""Random crops are what they say: boxes of the picture, of the wanted sizes, the same again for the same step."""

import numpy as np
import pytest
import torch
from torch import Tensor

from learner.crops import RandomCrop


def gradient(count: int, height: int = 48, width: int = 64) -> Tensor:
    """Pictures whose red says the row and green the column: uint8 [B, H, W, 3]."""
    picture_HWC = torch.zeros(height, width, 3)
    picture_HWC[..., 0] = torch.linspace(0, 240, height)[:, None]
    picture_HWC[..., 1] = torch.linspace(0, 240, width)
    return picture_HWC.round().to(torch.uint8).expand(count, -1, -1, -1).contiguous()


def shown(cropped_BHWC: Tensor) -> Tensor:
    """Height and width of what each picture shows, as shares of the whole: [B, 2]."""
    wide = cropped_BHWC.float()
    rows_B = wide[:, -1, :, 0].mean(1) - wide[:, 0, :, 0].mean(1)
    columns_B = wide[:, :, -1, 1].mean(1) - wide[:, :, 0, 1].mean(1)
    return torch.stack([rows_B, columns_B], 1) / 240


def test_share_of_one_leaves_pictures_as_they_are() -> None:
    frames = gradient(4)
    assert RandomCrop(1.0, seed=0)(frames, 3) is frames


def test_boxes_have_the_wanted_areas_and_aspects() -> None:
    size_B2 = shown(RandomCrop(0.3, seed=0)(gradient(2000), 0)).numpy().astype(np.float64)
    area_B, aspect_B = size_B2.prod(1), size_B2[:, 1] / size_B2[:, 0]
    assert area_B.min() > 0.25
    assert area_B.max() <= 1.0
    assert area_B.mean() == pytest.approx(0.64, abs=0.03)
    assert aspect_B.min() > 0.7
    assert aspect_B.max() < 1.45
    assert np.log(aspect_B).mean() == pytest.approx(0.0, abs=0.02)


def test_a_crop_is_a_part_of_the_picture_upright_and_unmixed() -> None:
    frames = gradient(64)
    frames[..., 2] = torch.arange(64, dtype=torch.uint8)[:, None, None]
    cropped = RandomCrop(0.3, seed=1)(frames, 0)
    assert cropped.dtype == torch.uint8
    assert cropped.shape == frames.shape
    assert (cropped[..., 2] == frames[..., 2]).all(), "colours come from their own picture"
    wide = cropped.float()
    assert (wide[:, 1:, :, 0] >= wide[:, :-1, :, 0]).all(), "rows keep their order"
    assert (wide[:, :, 1:, 1] >= wide[:, :, :-1, 1]).all(), "columns keep their order"


def test_places_are_spread_over_the_whole_picture() -> None:
    cropped = RandomCrop(0.3, seed=2)(gradient(2000), 0).float()
    size_B2 = shown(RandomCrop(0.3, seed=2)(gradient(2000), 0))
    top_B = cropped[:, 0, :, 0].mean(1) / 240
    free = size_B2[:, 0] < 0.9
    place_B = (top_B / (1 - size_B2[:, 0]))[free]
    assert float(place_B.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(place_B.std()) == pytest.approx(1 / 12**0.5, abs=0.03)


def test_the_same_step_gives_the_same_boxes_and_another_others() -> None:
    frames = gradient(8)
    crop, again, other = RandomCrop(0.3, seed=5), RandomCrop(0.3, seed=5), RandomCrop(0.3, seed=6)
    assert torch.equal(crop(frames, 7), again(frames, 7))
    assert not torch.equal(crop(frames, 7), crop(frames, 8))
    assert not torch.equal(crop(frames, 7), other(frames, 7))
