"""The loss and its gradients against the paper's equations written out in float64, and against the official code."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from common.config.model import MaskConfig, ModelConfig
from common.ijepa.convert import from_official
from common.ijepa.masks import Masks, MultiBlockSampler
from common.ijepa.model import IJepa

SMALL = ModelConfig(
    patch_size=8, dim=32, depth=2, heads=4, mlp_ratio=2.0, predictor_dim=16, predictor_depth=2, predictor_heads=2
)
SIZE, GRID = (48, 64), (6, 8)
GOLDEN = Path(__file__).parent.parent / "golden"


def places_of(dim: int) -> Tensor:
    """Sines and cosines of the column, then of the row, of each patch (float64 [N, dim])."""
    rates = [10000 ** (-4 * index / dim) for index in range(dim // 4)]
    rows: list[list[float]] = []
    for row in range(GRID[0]):
        for column in range(GRID[1]):
            rows.append([wave(at * rate) for at in (column, row) for wave in (math.sin, math.cos) for rate in rates])
    return torch.tensor(rows, dtype=torch.float64)


def reference_losses(state: Mapping[str, Tensor], frames_BHWC: Tensor, blocks: Masks) -> Tensor:
    """The loss of each picture (losses_B), written out: one picture, one block, one head at a time.

    Equations of Assran et al. 2023, arXiv:2301.08243, section 3; smooth L1 and layer-normed targets as in the official
    code. Positions are the reference's own.

    Args:
        state: Parameters by name, float64.
        frames_BHWC: uint8.
        blocks: Masks.
    """

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    def transform(name: str, x: Tensor, depth: int, heads: int) -> Tensor:
        width = x.shape[1] // heads
        for index in range(depth):
            block = f"{name}.blocks.{index}"
            qkv = linear(f"{block}.attn.qkv", norm(f"{block}.norm1", x))
            mixed: list[Tensor] = []
            for head in range(heads):
                q, k, v = (qkv[:, part * x.shape[1] + head * width :][:, :width] for part in range(3))
                mixed.append((q @ k.T / math.sqrt(width)).softmax(1) @ v)
            x = x + linear(f"{block}.attn.proj", torch.cat(mixed, 1))
            hidden = linear(f"{block}.mlp.fc1", norm(f"{block}.norm2", x))
            x = x + linear(f"{block}.mlp.fc2", hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2))))
        return norm(f"{name}.norm", x)

    losses: list[Tensor] = []
    for picture, context, targets in zip(frames_BHWC, blocks.context_BK, blocks.targets_BTK, strict=True):
        pixels = picture.double() / 255 - torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)
        pixels = pixels / torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)
        cut = [pixels[r * 8 : r * 8 + 8, c * 8 : c * 8 + 8].flatten() for r in range(6) for c in range(8)]
        patches, places = torch.stack(cut), places_of(32)
        features = transform("target_encoder", linear("target_encoder.patch_embed", patches) + places, 2, 4)
        seen = linear("context_encoder.patch_embed", patches[context]) + places[context]
        seen = linear("predictor.embed", transform("context_encoder", seen, 2, 4))
        narrow = places_of(16)
        errors: list[Tensor] = []
        for block in targets:
            tokens = torch.cat([seen + narrow[context], state["predictor.mask_token"] + narrow[block]])
            guess = linear("predictor.project", transform("predictor", tokens, 2, 2)[len(context) :])
            wanted = features[block] - features[block].mean(1, keepdim=True)
            wanted = wanted / (wanted.square().mean(1, keepdim=True) + 1e-5).sqrt()
            gap = (guess - wanted).abs()
            errors.append(torch.where(gap < 1, 0.5 * gap.square(), gap - 0.5))
        losses.append(torch.stack(errors).mean())
    return torch.stack(losses)


def problem(seed: int) -> tuple[IJepa, Tensor, Masks]:
    """A network with no parameter at its starting value, frames and masks."""
    generator = torch.Generator().manual_seed(seed)
    model = IJepa(SMALL, SIZE, seed=seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    frames = torch.randint(0, 256, (3, *SIZE, 3), dtype=torch.uint8, generator=generator)
    return model, frames, MultiBlockSampler(MaskConfig(), GRID, seed=seed).sample(3)


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("seed", [0, 1])
def test_loss_and_every_gradient_equal_the_reference_written_out(seed: int) -> None:
    """Loss within 1e-5; each parameter's gradient within 1e-5 of its norm (float32 against float64)."""
    model, frames, blocks = problem(seed)
    state = {name: value.detach().double() for name, value in model.state_dict().items()}
    learned = {name: value.requires_grad_() for name, value in state.items() if not name.startswith("target_encoder.")}
    expected = reference_losses(state, frames, blocks)
    torch.autograd.backward([expected.mean()])
    assert model.sample_losses(frames, blocks).numpy() == pytest.approx(expected.detach().numpy(), rel=1e-5)
    loss = model.loss(frames, blocks)
    torch.autograd.backward([loss])
    assert loss.item() == pytest.approx(expected.mean().item(), rel=1e-5)
    assert model(frames, blocks).item() == pytest.approx(expected.mean().item(), rel=1e-5)
    ours = gradients(model)
    assert ours.keys() == learned.keys()
    for name, value in learned.items():
        assert value.grad is not None
        assert (ours[name] - value.grad).norm() <= 1e-5 * value.grad.norm(), name


def test_loss_and_gradients_equal_what_the_official_code_gave() -> None:
    """Its weights through our import, its masks; `tests/golden/make_official.py` wrote them down."""
    told: dict[str, Any] = json.loads((GOLDEN / "official.json").read_text("utf-8"))
    stored = safetensors.torch.load_file(GOLDEN / "official_network.safetensors")  # pyright: ignore[reportUnknownMemberType]
    checkpoint: dict[str, dict[str, Tensor]] = {"encoder": {}, "predictor": {}, "target_encoder": {}}
    for name, tensor in stored.items():
        part, _, rest = name.partition("/")
        if rest:
            checkpoint[part][rest] = tensor
    network = from_official(checkpoint, heads=told["heads"], predictor_heads=told["predictor_heads"])
    model = network.build()
    loss = model.loss(stored["frames"], Masks(stored["context"], stored["targets"]))
    torch.autograd.backward([loss])
    assert loss.item() == pytest.approx(told["loss"], rel=1e-5)
    norms = {name: gradient.square().sum().sqrt().item() for name, gradient in gradients(model).items()}
    official: dict[str, float] = told["gradient_norms"]
    assert sorted(norms.values()) == pytest.approx(sorted(official.values()), rel=1e-4)
    for name, norm in official.items():
        part, _, rest = name.partition("/")
        rest = (
            rest.replace("predictor_proj", "project")
            .removeprefix("predictor_")
            .replace("patch_embed.proj", "patch_embed")
        )
        assert norms[f"{'context_encoder' if part == 'encoder' else part}.{rest}"] == pytest.approx(norm, rel=1e-4), (
            name
        )
