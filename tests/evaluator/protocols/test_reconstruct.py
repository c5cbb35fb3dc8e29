# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportMissingTypeStubs=false

import numpy as np
import pytest
import torch
from torch import Tensor

from evaluator.protocols.reconstruct import Of, Reconstruction, Stills, pixel_tokens, reconstruct
from evaluator.scores import NotMeasurable, Score
from tests.evaluator.protocols.conftest import silent

FRAMES, GRID, SIDE = 10, 4, 4
STILLS = Stills(visit=np.repeat(np.arange(6), FRAMES), fold=np.arange(6) % 3)


def pictures() -> tuple[Tensor, Tensor]:
    """Patches in each of which two numbers decide every pixel (pixels_NGP), and those numbers (code_NG2)."""
    generator = torch.Generator().manual_seed(0)
    code_NG2 = torch.rand(60, GRID * GRID, 2, generator=generator)
    wave_P = torch.linspace(0, 1, SIDE * SIDE * 3)
    pixels_NGP = 200 * code_NG2[..., :1] * wave_P + 50 * code_NG2[..., 1:] * (1 - wave_P)
    return pixels_NGP.to(torch.uint8), code_NG2


def measured(tokens: dict[Of, Tensor], pixels_NGP: Tensor) -> dict[Of, Reconstruction | NotMeasurable]:
    return reconstruct(tokens, pixels_NGP, STILLS, watch=silent, steps=150)


def mae(found: Reconstruction | NotMeasurable) -> float:
    assert isinstance(found, Reconstruction)
    assert isinstance(found.mae, Score)
    return found.mae.value


def test_what_features_hold_is_found_and_what_they_lack_is_not() -> None:
    pixels_NGP, code_NG2 = pictures()
    noise = torch.randn(60, GRID * GRID, 2, generator=torch.Generator().manual_seed(1))
    found = measured({Of.TRAINED: code_NG2, Of.RANDOM: noise, Of.PIXELS: code_NG2[..., :1]}, pixels_NGP)
    assert mae(found[Of.TRAINED]) < 0.3 * mae(found[Of.MEAN])
    assert mae(found[Of.TRAINED]) < mae(found[Of.PIXELS]) < mae(found[Of.MEAN])
    assert mae(found[Of.RANDOM]) > 0.95 * mae(found[Of.MEAN])
    one, random = found[Of.TRAINED], found[Of.RANDOM]
    assert isinstance(one, Reconstruction)
    assert isinstance(random, Reconstruction)
    assert isinstance(one.gain, Score)
    assert one.gain.value == pytest.approx(mae(random) - mae(one))
    assert one.gain.low is not None
    assert one.gain.low > 0
    assert random.gain is None
    assert one.gain.clusters == 6


def test_the_mean_picture_is_that_of_the_other_visits() -> None:
    pixels_NGP, code_NG2 = pictures()
    found = measured({Of.TRAINED: code_NG2}, pixels_NGP)[Of.MEAN]
    assert isinstance(found, Reconstruction)
    values = pixels_NGP.double() / 255
    absolute, square = list[Tensor](), list[Tensor]()
    for fold in range(3):
        asked = torch.as_tensor(STILLS.fold[STILLS.visit] == fold)
        error = values[asked] - values[~asked].mean(0)
        absolute.append(error.abs().mean((1, 2)))
        square.append(error.square().mean((1, 2)))
    assert isinstance(found.mae, Score)
    assert isinstance(found.mse, Score)
    assert found.mae.value == pytest.approx(float(torch.cat(absolute).mean()), rel=1e-4)
    assert found.mse.value == pytest.approx(float(torch.cat(square).mean()), rel=1e-4)


def test_a_visit_is_never_decoded_by_what_saw_it() -> None:
    """Features that name the visit: within a visit they would tell its picture, across visits they tell nothing."""
    generator = torch.Generator().manual_seed(0)
    of_visit = torch.randint(0, 256, (6, GRID * GRID, 12), generator=generator, dtype=torch.uint8)
    visit_N = torch.as_tensor(STILLS.visit)
    named = torch.nn.functional.one_hot(visit_N, 6).float()[:, None].expand(-1, GRID * GRID, -1)
    found = measured({Of.TRAINED: named}, of_visit[visit_N])
    assert mae(found[Of.TRAINED]) > 0.9 * mae(found[Of.MEAN])


@pytest.mark.filterwarnings("error")
def test_collapse_is_the_mean_picture_and_nan_is_no_number() -> None:
    pixels_NGP, code_NG2 = pictures()
    found = measured(
        {Of.TRAINED: torch.ones_like(code_NG2), Of.RANDOM: torch.full_like(code_NG2, torch.nan)}, pixels_NGP
    )
    assert mae(found[Of.TRAINED]) == pytest.approx(mae(found[Of.MEAN]), rel=0.05)
    assert found[Of.RANDOM] == NotMeasurable("feature values are not finite")


def test_pixel_tokens_are_the_neighbourhood_in_the_small_picture() -> None:
    frames = torch.zeros(1, 16, 16, 3, dtype=torch.uint8)
    frames[0, 4:6, 6:8, 1] = 255
    tokens = pixel_tokens(frames, (8, 8)).view(8, 8, 3, 3, 3)
    assert tokens.sum() == 9
    assert tokens[2, 3, 1, 1, 1] == 1
    assert tokens[1, 2, 1, 2, 2] == 1
    assert pixel_tokens(frames, (4, 2)).shape == (1, 8, 27)
