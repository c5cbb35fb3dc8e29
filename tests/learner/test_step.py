import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from common.config import MaskConfig, ModelConfig, OptimConfig, Regulariser
from common.errors import CheckpointError
from common.ijepa.model import IJepa
from learner.step import TrainingStep

SMALL = ModelConfig(patch_size=12, dim=32, depth=2, heads=2, predictor_dim=16, predictor_depth=1, predictor_heads=2)
SIZE = (96, 96)


def frames(seed: int = 0, batch: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 256, (batch, 3, 6, 6), generator=generator).float()
    return (
        torch.nn.functional.interpolate(coarse, SIZE, mode="bilinear").permute(0, 2, 3, 1).to(torch.uint8).contiguous()
    )


def training(seed: int = 0, optim: OptimConfig | None = None) -> TrainingStep:
    optim = optim or OptimConfig(batch_size=8, warmup_steps=4)
    return TrainingStep(IJepa(SMALL, SIZE, seed=seed), optim, MaskConfig(), seed=seed)


def parameters(step: TrainingStep) -> list[Tensor]:
    return [value.detach().clone() for value in step.model.parameters()]


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
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(before, parameters(step), strict=True))


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
    assert all(torch.equal(a, b) for a, b in zip(before, parameters(step), strict=True) if not a.isnan().any())
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
    assert any(not torch.equal(a, b) for a, b in zip(before, parameters(step), strict=True))


def stored(step: TrainingStep, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(save(step.model.state_dict()))
    (folder / "step.safetensors").write_bytes(save(step.tensors()))
    (folder / "step.json").write_text(json.dumps(step.numbers()))


def resumed_from(folder: Path) -> TrainingStep:
    step = training(seed=99)
    step.model.load_state_dict(load((folder / "model.safetensors").read_bytes()))
    step.restore(load((folder / "step.safetensors").read_bytes()), json.loads((folder / "step.json").read_text()))
    return step


@pytest.mark.parametrize("done", [0, 3])
def test_resume_is_exact_to_the_bit(tmp_path: Path, done: int) -> None:
    step = training()
    for index in range(done):
        step(frames(index))
    step.lr_factor = 0.5
    stored(step, tmp_path)
    resumed = resumed_from(tmp_path)
    assert (resumed.step, resumed.lr) == (step.step, step.lr)
    for index in range(done, done + 4):
        assert step(frames(index)).read() == resumed(frames(index)).read()
    assert all(torch.equal(a, b) for a, b in zip(parameters(step), parameters(resumed), strict=True))
    theirs = resumed.tensors()
    assert all(torch.equal(value, theirs[name]) for name, value in step.tensors().items())


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
