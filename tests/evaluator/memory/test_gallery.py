import pytest
import torch
from torch import Tensor

from evaluator.memory.gallery import FLOOR, Gallery
from tests.evaluator.memory.textures import rotation

GENERATOR = torch.Generator().manual_seed(0)
TARGETS_NPD = torch.randn(80, 5, 16, generator=GENERATOR)
OWN_FQD = torch.randn(3, 4, 16, generator=GENERATOR)
SAID_FQD = OWN_FQD + 0.5 * torch.randn(3, 4, 16, generator=GENERATOR)
WHERE_FQ = torch.tensor([[0, 1, 2, 3], [4, 4, 1, 0], [2, 2, 2, 3]])


def test_each_prediction_meets_its_own_target_first_and_then_the_pool_at_its_position() -> None:
    found = Gallery(TARGETS_NPD).cosines(SAID_FQD, OWN_FQD, WHERE_FQ)
    assert found.shape == (3, 4, 81)
    for frame in range(3):
        for asked in range(4):
            at_ND = TARGETS_NPD[:, WHERE_FQ[frame, asked]]
            mean_D = at_ND.mean(0)
            candidates = torch.cat([OWN_FQD[frame, asked][None], at_ND]) - mean_D
            said = SAID_FQD[frame, asked] - mean_D
            norms = ((candidates**2).sum(1) + 16 * FLOOR).sqrt() * ((said**2).sum() + 16 * FLOOR).sqrt()
            assert found[frame, asked] == pytest.approx(candidates @ said / norms, abs=1e-5)


def transformed(change: str) -> tuple[Tensor, Tensor, Tensor]:
    basis = rotation(16)
    match change:
        case "rotation":
            return TARGETS_NPD @ basis, SAID_FQD @ basis, OWN_FQD @ basis
        case "shift":
            return TARGETS_NPD + basis[0], SAID_FQD + basis[0], OWN_FQD + basis[0]
        case _:
            return 3 * TARGETS_NPD, 3 * SAID_FQD, 3 * OWN_FQD


@pytest.mark.parametrize(("change", "within"), [("rotation", 1e-5), ("shift", 1e-5), ("scale", 3e-3)])
def test_the_space_itself_does_not_matter(change: str, within: float) -> None:
    """Scale matters as far as ε does: targets of a tenth of the spread would lose a tenth of their cosine."""
    before = Gallery(TARGETS_NPD).cosines(SAID_FQD, OWN_FQD, WHERE_FQ)
    targets, said, own = transformed(change)
    after = Gallery(targets).cosines(said, own, WHERE_FQ)
    assert (after - before).abs().max() < within


def test_what_hardly_varies_is_like_nothing() -> None:
    constant = torch.randn(5, 16, generator=torch.Generator().manual_seed(2))
    faint = Gallery(constant + 1e-3 * TARGETS_NPD).cosines(
        constant[WHERE_FQ] + 1e-3 * SAID_FQD, constant[WHERE_FQ] + 1e-3 * OWN_FQD, WHERE_FQ
    )
    assert faint.abs().max() < 2e-3


def test_the_baseline_is_the_mean_of_those_chosen() -> None:
    assert torch.equal(Gallery(TARGETS_NPD).baseline([3, 5]), TARGETS_NPD[[3, 5]].mean(0))
