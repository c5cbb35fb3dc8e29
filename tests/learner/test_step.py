# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from common.config import MaskConfig, OptimConfig, Optimizer, Regulariser
from common.errors import CheckpointError
from common.ijepa.masks import MultiBlockSampler
from common.ijepa.model import IJepa
from learner.ranks import Ranks
from learner.regularisers import VicReg
from learner.step import TrainingStep
from tests.learner.networks import (
    PLAIN,
    SIZE,
    SMALL,
    STRATEGIES,
    Recipe,
    Ticks,
    different,
    everything,
    frames,
    parameters,
    restored,
    stored,
)


def training(seed: int = 0, optim: OptimConfig | None = None) -> TrainingStep:
    return Recipe(optim=optim or OptimConfig(batch_size=8, warmup_steps=4)).build(seed)


def test_loss_goes_down_on_a_few_frames() -> None:
    step = training(optim=OptimConfig(batch_size=8, lr=2e-3, warmup_steps=5, ema=0.999, regulariser=Regulariser.NONE))
    losses = [step(frames()).read()["loss"] for _ in range(60)]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert step.step == 60


def test_report_measures_what_it_says() -> None:
    step = training()
    report = step(frames())
    assert all(isinstance(getattr(report, name), Tensor) for name in report.read())
    values = report.read()
    assert set(values) == {"loss", "regulariser", "grad_norm", "feature_std", "target_std", "skipped"}
    expected = IJepa(SMALL, SIZE, seed=0).target_encoder.pooled(frames()).std(0, correction=0).mean()
    assert values["target_std"] == pytest.approx(float(expected), rel=1e-5)
    assert values["skipped"] == 0


def test_learning_rate_rises_to_a_constant_and_takes_a_factor() -> None:
    step = training(optim=OptimConfig(batch_size=8, lr=0.4, warmup_steps=4))
    rates: list[float] = []
    for _ in range(6):
        rates.append(step.lr)
        step(frames())
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    step.lr_factor = 0.5
    assert step.lr == pytest.approx(0.2)


def test_first_update_is_adamw_with_decay_of_matrices_only() -> None:
    lr, decay = 1e-2, 0.5
    step = training(optim=OptimConfig(batch_size=8, lr=lr, warmup_steps=0, weight_decay=decay, ema=1.0))
    before = {name: value.detach().clone() for name, value in step.model.named_parameters()}
    step(frames())
    for name, after in step.model.named_parameters():
        if name.startswith("target_encoder."):
            assert torch.equal(after, before[name])
            continue
        kept = before[name] * (1 - lr * decay) if before[name].ndim > 1 else before[name]
        moved = (after.detach() - kept).abs()
        assert moved.max() <= lr * 1.001, name
        assert moved.median() > lr * 0.5, name


def test_target_encoder_follows() -> None:
    step = training(optim=OptimConfig(batch_size=8, ema=0.75))
    before = [value.clone() for value in step.model.target_encoder.parameters()]
    step(frames())
    contexts = step.model.context_encoder.parameters()
    for old, new, source in zip(before, step.model.target_encoder.parameters(), contexts, strict=True):
        assert torch.allclose(new, 0.75 * old + 0.25 * source, atol=1e-6)


def test_gradient_is_clipped() -> None:
    step = training(optim=OptimConfig(batch_size=8, clip=1e-12, lr=1.0, warmup_steps=0, weight_decay=0.0))
    before = parameters(step)
    step(frames())
    assert all(torch.allclose(before[name], value, atol=1e-3) for name, value in parameters(step).items())


def test_no_regulariser_costs_nothing() -> None:
    optim = OptimConfig(batch_size=8, regulariser=Regulariser.NONE)
    assert training(optim=optim)(frames()).read()["regulariser"] == 0


@pytest.mark.parametrize("poisoned", ["predictor.project.bias", "context_encoder.norm.weight"])
def test_a_step_that_is_not_finite_is_undone_and_counted(poisoned: str) -> None:
    step = training()
    step(frames())
    weights = dict(step.model.named_parameters())
    healthy = weights[poisoned].detach().clone()
    with torch.no_grad():
        weights[poisoned][0] = float("nan")
    before, moments = parameters(step), {name: value.clone() for name, value in step.tensors().items()}
    assert step(frames()).read()["skipped"] == 1
    assert different(before, parameters(step)) == [poisoned]
    for name, value in step.tensors().items():
        if name.startswith("optimizer."):
            assert torch.equal(value, moments[name]), name
    assert all(value.isfinite().all() for value in step.model.target_encoder.parameters())
    assert step.step == 2
    with torch.no_grad():
        weights[poisoned].copy_(healthy)
    report = step(frames()).read()
    assert report["skipped"] == 1
    assert np.isfinite(report["loss"])
    assert len(different(before, parameters(step))) > 1


@pytest.mark.parametrize("name", STRATEGIES)
def test_two_runs_are_equal_to_the_bit(name: str) -> None:
    one, other = (STRATEGIES[name].build() for _ in range(2))
    for index in range(4):
        assert one(frames(index)).read() == other(frames(index)).read()
    assert not different(everything(one), everything(other))
    assert one.numbers() == other.numbers()


@pytest.mark.parametrize("name", STRATEGIES)
def test_resume_is_exact_to_the_bit(tmp_path: Path, name: str) -> None:
    clock, again = Ticks(), Ticks()
    step = STRATEGIES[name].build(clock=clock)
    for index in range(3):
        step(frames(index))
    step.lr_factor = 0.5
    stored(step, tmp_path)
    again.now, again.ticks = clock.now, clock.ticks
    resumed = restored(STRATEGIES[name].build(clock=again), tmp_path)
    assert (resumed.step, resumed.lr) == (step.step, step.lr)
    for index in range(3, 7):
        assert step(frames(index)).read() == resumed(frames(index)).read()
    assert not different(everything(step), everything(resumed))
    assert step.numbers() == resumed.numbers()


def test_a_run_may_be_resumed_before_its_first_step_with_another_networks_seed(tmp_path: Path) -> None:
    recipe = PLAIN.but(regulariser=Regulariser.VICREG)
    step = recipe.build()
    stored(step, tmp_path)
    resumed = restored(recipe.build(seed=99), tmp_path)
    for index in range(4):
        assert step(frames(index)).read() == resumed(frames(index)).read()
    assert not different(everything(step), everything(resumed))


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in ("plain", "checkpointed")])
def test_every_flag_does_something(name: str) -> None:
    plain, step = PLAIN.build(), STRATEGIES[name].build()
    for index in range(7):
        plain(frames(index))
        step(frames(index))
    ours = parameters(plain)
    moved = different(ours, parameters(step))
    gap = max(float((ours[key] - parameters(step)[key]).abs().max()) for key in moved) if moved else 0.0
    assert (gap < 2e-5) if name == "accumulate" else (gap > 1e-5), gap


def test_rmsprop_is_numpys() -> None:
    """v ← 0.99 v + 0.01 g²,  w ← (1 − lr · decay) w − lr · g / (√(v / (1 − 0.99^t)) + 1e-8)."""
    lr, decay = 1e-3, 0.1
    step = PLAIN.but(optimizer=Optimizer.RMSPROP, lr=lr, warmup_steps=0, weight_decay=decay).build()
    name = "predictor.project.weight"
    weight = step.model.get_parameter(name)
    expected, average = weight.detach().double().numpy().copy(), np.zeros(weight.shape)
    for count in range(1, 5):
        reference = deepcopy(step.model)
        masks = MultiBlockSampler(MaskConfig(), reference.grid, count).sample(8)
        reference.loss(frames(count), masks).backward()
        gradient = reference.get_parameter(name).grad
        assert gradient is not None
        average = 0.99 * average + 0.01 * gradient.double().numpy() ** 2
        size = np.sqrt(average / (1 - 0.99**count)) + 1e-8
        expected = expected * (1 - lr * decay) - lr * gradient.double().numpy() / size
        step(frames(count), masks)
        assert np.abs(weight.detach().numpy() - expected).max() < 1e-2 * lr


def test_a_skipped_step_leaves_no_trace_in_what_follows() -> None:
    """But for the schedules, which count it, a run with a broken step amid is the run without it."""
    recipe = PLAIN.but(warmup_steps=0, regulariser=Regulariser.TEACHER, orthogonal=0.9)
    step, without = recipe.build(), recipe.build()
    masks = [MultiBlockSampler(MaskConfig(), step.model.grid, index).sample(8) for index in range(4)]
    for index in range(4):
        if index == 2:
            poison = step.model.predictor.project.bias
            healthy = poison.detach().clone()
            with torch.no_grad():
                poison[0] = float("inf")
            step(frames(9), masks[0])
            with torch.no_grad():
                poison.copy_(healthy)
        step(frames(index), masks[index])
        without(frames(index), masks[index])
    assert (step.step, without.step, step.skipped) == (5, 4, 1)
    assert not different(
        {k: v for k, v in everything(step).items() if k != "step.skipped"},
        {k: v for k, v in everything(without).items() if k != "step.skipped"},
    )


def test_parts_of_a_batch_add_up_to_its_gradient() -> None:
    masks = MultiBlockSampler(MaskConfig(), (8, 8), 0).sample(8)
    whole, parts = (PLAIN.but(accumulate=count).build() for count in (1, 4))
    ours, theirs = whole(frames(), masks), parts(frames(), masks)
    assert ours.read() == pytest.approx(theirs.read(), rel=1e-4)
    assert torch.allclose(ours.losses_B, theirs.losses_B, atol=1e-6)
    assert torch.allclose(ours.features_BD, theirs.features_BD, atol=1e-5)
    moments = {name: value for name, value in whole.tensors().items() if "exp_avg." in name}
    for name, value in moments.items():
        assert (value - parts.tensors()[name]).norm() <= 1e-4 * value.norm() + 1e-9, name


def test_batch_statistics_are_those_of_a_part() -> None:
    masks = MultiBlockSampler(MaskConfig(), (8, 8), 0).sample(8)
    step = PLAIN.but(regulariser=Regulariser.VICREG, accumulate=2).build()
    context_BD = step.model.context_encoder(frames(), masks.context_BK).detach().mean(1)
    term = VicReg(OptimConfig(), Ranks())
    expected = (term(context_BD[:4], frames()) + term(context_BD[4:], frames())) / 2
    assert step(frames(), masks).read()["regulariser"] == pytest.approx(float(expected), rel=1e-5)


def test_a_batch_that_cannot_be_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="7 frames cannot be cut into accumulate = 2"):
        PLAIN.but(accumulate=2).build()(frames(batch=7))


def test_a_state_that_does_not_fit_is_refused() -> None:
    step = training()
    step(frames())
    tensors, numbers = step.tensors(), step.numbers()
    with pytest.raises(CheckpointError, match=r"mask_token has shape None, expected \(16,\)"):
        step.restore({k: v for k, v in tensors.items() if k != "optimizer.exp_avg.predictor.mask_token"}, numbers)
    with pytest.raises(CheckpointError, match="surplus"):
        step.restore(tensors | {"surplus": torch.zeros(2)}, numbers)
    with pytest.raises(CheckpointError, match="lacks lr_factor"):
        step.restore(tensors, {"step": 1})
