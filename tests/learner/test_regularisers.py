# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor, nn

from common.config import OptimConfig, Regulariser
from common.ijepa.model import IJepa
from learner.ranks import Ranks
from learner.regularisers import REGULARISERS, RegulariserTerm, SigReg, SlowTeacher, VicReg
from tests.learner.networks import PLAIN, SIZE, SMALL, frames, parameters

NO_FRAMES = torch.empty(0)


def normal(batch: int = 512, dim: int = 16, seed: int = 0) -> Tensor:
    return torch.randn(batch, dim, generator=torch.Generator().manual_seed(seed))


def sigreg(dim: int = 16, slices: int = 64, seed: int = 0) -> SigReg:
    return SigReg(OptimConfig(sigreg_weight=1.0, sigreg_slices=slices), dim, seed, Ranks())


def test_each_name_makes_its_term() -> None:
    made = {name: type(make(OptimConfig(), IJepa(SMALL, SIZE), 0, Ranks())) for name, make in REGULARISERS.items()}
    assert made == {
        Regulariser.NONE: RegulariserTerm,
        Regulariser.VICREG: VicReg,
        Regulariser.SIGREG: SigReg,
        Regulariser.TEACHER: SlowTeacher,
    }


def test_none_is_zero_and_holds_nothing() -> None:
    none = RegulariserTerm()
    assert none(normal(), NO_FRAMES) == 0
    assert not none.state_dict()
    step = PLAIN.build()
    step(frames())
    assert not [name for name in step.tensors() if "regulariser" in name]


@pytest.mark.parametrize("target", [1.0, 0.6])
def test_vicreg_equals_numpy(target: float) -> None:
    pooled = np.random.default_rng(0).normal(0.0, 0.7, (10, 6))
    term = VicReg(OptimConfig(std_weight=2.0, std_target=target, cov_weight=0.3), Ranks())
    covariance = np.cov(pooled, rowvar=False)
    hinge = np.maximum(0, target - np.sqrt(pooled.var(0, ddof=1) + 1e-4)).mean()
    off_diagonal = sum(covariance[i, j] ** 2 for i in range(6) for j in range(6) if i != j) / 6
    assert float(term(torch.tensor(pooled), NO_FRAMES)) == pytest.approx(2.0 * hinge + 0.3 * off_diagonal)


def test_vicreg_spreads_what_collapsed() -> None:
    pooled = (1e-3 * normal(64)).requires_grad_()
    VicReg(OptimConfig(), Ranks())(pooled, NO_FRAMES).backward()
    assert pooled.grad is not None
    moved = pooled.detach() - 1e-2 * pooled.grad
    assert bool((moved.std(0) > pooled.detach().std(0)).all())


def test_sigreg_is_the_epps_pulley_integral() -> None:
    """One direction in one dimension is ±1, so that the statistic is that of the features themselves."""
    values = np.random.default_rng(3).gamma(2.0, 0.6, 40)

    def integrand(t: float) -> float:
        gap = abs(np.exp(1j * t * values).mean() - np.exp(-(t**2) / 2)) ** 2
        return float(gap * np.exp(-(t**2) / 2))

    expected = len(values) * quad(integrand, -3, 3)[0]
    found = float(sigreg(dim=1, slices=1)(torch.tensor(values, dtype=torch.float32)[:, None], NO_FRAMES))
    assert found == pytest.approx(expected, rel=2e-3)


def test_sigreg_of_normal_features_is_at_its_expectation_and_of_others_far_above() -> None:
    """E = ∫ (1 − e^(−t²)) e^(−t²/2) dt over [−3, 3], whatever the batch."""
    expected = quad(lambda t: (1 - np.exp(-(t**2))) * np.exp(-(t**2) / 2), -3, 3)[0]
    for batch in (64, 1024):
        found = np.mean([float(sigreg(seed=seed)(normal(batch, seed=seed), NO_FRAMES)) for seed in range(40)])
        assert found == pytest.approx(expected, rel=0.12), batch
    stretched = normal() * torch.linspace(0.05, 3.0, 16)
    for others in (torch.zeros(512, 16), torch.ones(512, 16), stretched, normal() + 1.0, 2.0 * normal()):
        assert float(sigreg()(others, NO_FRAMES)) > 10 * expected


def test_sigreg_falls_along_its_gradient() -> None:
    pooled = 0.1 * normal(128)
    start = float(sigreg()(pooled, NO_FRAMES))
    for index in range(40):
        pooled.requires_grad_()
        sigreg(seed=index)(pooled, NO_FRAMES).backward()
        assert pooled.grad is not None
        pooled = (pooled - 0.5 * pooled.grad).detach()
    assert float(sigreg()(pooled, NO_FRAMES)) < 0.1 * start
    assert 0.6 < float(pooled.std(0).mean()) < 1.1, "from 0.1 towards 1"


def test_sigreg_draws_new_directions_each_time_and_the_same_after_a_resume() -> None:
    term, again, pooled = sigreg(), sigreg(), normal(32) * 2
    values = [float(term(pooled, NO_FRAMES)) for _ in range(4)]
    assert len(set(values)) == 4
    assert values == [float(again(pooled, NO_FRAMES)) for _ in range(4)]
    resumed = sigreg()
    resumed.load_state_dict({name: value.clone() for name, value in term.state_dict().items()})
    assert [float(term(pooled, NO_FRAMES)) for _ in range(3)] == [float(resumed(pooled, NO_FRAMES)) for _ in range(3)]
    assert float(sigreg(seed=1)(pooled, NO_FRAMES)) not in values


def test_teacher_finds_no_gap_to_itself() -> None:
    model = IJepa(SMALL, SIZE, seed=0)
    term = SlowTeacher(OptimConfig(teacher_weight=1.0), model, 0)
    term.predictor = nn.Sequential(nn.Identity())
    with torch.no_grad():
        pooled_BD, others_BD = (model.context_encoder.pooled(frames(seed)) for seed in (0, 1))
        assert float(term(pooled_BD, frames())) == pytest.approx(0, abs=1e-6)
        assert float(term(-pooled_BD, frames())) == pytest.approx(2, abs=1e-6)
        assert float(term(others_BD, frames())) > 1e-4


def test_teacher_gets_no_gradient_and_its_predictor_does() -> None:
    model = IJepa(SMALL, SIZE, seed=0)
    term = SlowTeacher(OptimConfig(), model, 0)
    term(model.context_encoder.pooled(frames()), frames()).backward()
    assert all(value.grad is None for value in term.teacher.parameters())
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in term.predictor.parameters())
    assert all(value.grad is not None for value in model.context_encoder.parameters())


def test_teacher_follows_by_its_momentum_unless_the_step_was_undone() -> None:
    model = IJepa(SMALL, SIZE, seed=0)
    term = SlowTeacher(OptimConfig(teacher_ema=0.75), model, 0)
    with torch.no_grad():
        for value in model.context_encoder.parameters():
            value.add_(1.0)
    before = [value.clone() for value in term.teacher.parameters()]
    term.follow(model, torch.tensor(False))
    assert all(torch.equal(a, b) for a, b in zip(before, term.teacher.parameters(), strict=True))
    term.follow(model, torch.tensor(True))
    for old, new, source in zip(before, term.teacher.parameters(), model.context_encoder.parameters(), strict=True):
        assert torch.allclose(new, 0.75 * old + 0.25 * source, atol=1e-6)


def test_teachers_predictor_is_trained_with_the_rest() -> None:
    step = PLAIN.but(regulariser=Regulariser.TEACHER).build()
    name = "optimizer.exp_avg.regulariser.predictor.0.weight"
    step(frames())
    first = step.tensors()[name].clone()
    step(frames())
    assert first.abs().sum() > 0
    assert not torch.equal(first, step.tensors()[name])
    assert not [name for name in parameters(step) if "teacher" in name], "the published network knows no teacher"


def unpredictable(old_BD: Tensor, new_BD: Tensor) -> float:
    """Share of the old features' variance that a ridge regression cannot tell from the new; even rows fit, odd test."""
    fit, test = slice(0, None, 2), slice(1, None, 2)
    old_BD, new_BD = old_BD.double() - old_BD[fit].double().mean(0), new_BD.double() - new_BD[fit].double().mean(0)
    gram = new_BD[fit].T @ new_BD[fit]
    ridge = 1e-3 * gram.trace() / len(gram) * torch.eye(len(gram), dtype=gram.dtype)
    weights = torch.linalg.solve(gram + ridge, new_BD[fit].T @ old_BD[fit])
    gap = old_BD[test] - new_BD[test] @ weights
    return float(gap.square().sum() / old_BD[test].square().sum())


def test_an_aligned_run_keeps_more_of_the_old_features() -> None:
    """After as many steps on other frames, more of what the encoder said of the old ones can still be computed."""
    old_frames = frames(seed=100, batch=256)

    def lost(weight: float) -> float:
        recipe = PLAIN.but(
            regulariser=Regulariser.TEACHER, teacher_weight=weight, teacher_ema=1.0, lr=5e-4, ema=0.9, warmup_steps=0
        )
        step = recipe.build()
        encoder = step.model.context_encoder
        with torch.no_grad():
            before_BD = encoder.pooled(old_frames)
        for index in range(60):
            step(frames(seed=index))
        with torch.no_grad():
            return unpredictable(before_BD, encoder.pooled(old_frames))

    assert lost(1.0) < 0.7 * lost(0.0)
