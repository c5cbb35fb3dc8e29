import pytest
import torch
from torch import Tensor

from evaluator.memory.reference import Readout, ReferenceNet
from tests.evaluator.memory.textures import rotation, tiles

GRID = (6, 6)
NET = ReferenceNet(GRID, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
FRAMES = torch.as_tensor(tiles(120, seed=0))
REFERENCES_FPE = NET(FRAMES)
WHERE_FQ = torch.stack([torch.randperm(36, generator=torch.Generator().manual_seed(n))[:12] for n in range(120)])


def informed(noise: float) -> Tensor:
    """Predictions that know the references, in a space of their own, more or less noisily: [120, 12, 40]."""
    generator = torch.Generator().manual_seed(5)
    mixing = torch.randn(REFERENCES_FPE.shape[-1], 40, generator=generator)
    known = REFERENCES_FPE.gather(1, WHERE_FQ[..., None].expand(-1, -1, REFERENCES_FPE.shape[-1]))
    known = (known - known.mean((0, 1))) / known.std((0, 1))
    return (known + noise * torch.randn(known.shape, generator=generator)) @ mixing


def errors(said_FQD: Tensor) -> Tensor:
    """Fitted on the first hundred frames, asked on the other twenty."""
    readout = Readout(REFERENCES_FPE[:100], said_FQD[:100], WHERE_FQ[:100])
    return readout.errors(REFERENCES_FPE[100:], said_FQD[100:], WHERE_FQ[100:])


def test_the_net_never_changes() -> None:
    again = ReferenceNet(GRID, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert torch.equal(again(FRAMES), REFERENCES_FPE)
    assert not any(weights.requires_grad for weights in NET.parameters())


def test_a_patch_is_described_where_it_is() -> None:
    changed = FRAMES[:1].clone()
    changed[:, 8:12, 12:16] = 0  # the patch in row 2, column 3
    moved = (NET(changed) - REFERENCES_FPE[:1]).abs().sum(2)[0]
    assert int(moved.argmax()) == 2 * 6 + 3
    assert moved[30] < 1e-4 * moved.max()  # batches of other sizes are added up in another order


def test_what_is_known_is_read_out() -> None:
    clear, blurred, nothing = (errors(informed(noise)).mean() for noise in (0.05, 1.0, 1000.0))
    assert clear < 0.1 < blurred < nothing
    assert nothing == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("change", ["rotation", "scale", "shift"])
def test_the_space_of_the_predictions_does_not_matter(change: str) -> None:
    said = informed(0.5)
    basis = rotation(40)
    other = {"rotation": said @ basis, "scale": 1e-3 * said, "shift": said + 5 * basis[0]}[change]
    assert errors(other) == pytest.approx(errors(said), rel=1e-4)


def test_constant_predictions_know_nothing() -> None:
    constant = torch.ones(120, 12, 40) + 1e-7 * torch.randn(120, 12, 40)
    assert errors(constant).mean() == pytest.approx(1.0, abs=0.15)


def test_a_broken_prediction_gives_no_number() -> None:
    assert errors(informed(0.5) * torch.nan).isnan().all()
