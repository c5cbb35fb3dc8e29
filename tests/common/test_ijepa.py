import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from common.config.model import MaskConfig, ModelConfig
from common.errors import ConfigError
from common.ijepa.masks import Masks, MultiBlockSampler
from common.ijepa.model import IJepa
from common.ijepa.vit import VisionTransformer, positions

SMALL = ModelConfig(
    patch_size=8, dim=32, depth=2, heads=4, mlp_ratio=2.0, predictor_dim=16, predictor_depth=2, predictor_heads=2
)
SIZE = (48, 64)
GRID = (6, 8)


def frames(batch: int = 3, size: tuple[int, int] = SIZE, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, *size, 3), dtype=torch.uint8, generator=generator)


def masks(batch: int = 3) -> Masks:
    return MultiBlockSampler(MaskConfig(), GRID, seed=0).sample(batch)


def test_positions_are_sines_and_cosines_of_row_and_column() -> None:
    table = positions(8, (3, 5))
    assert table.shape == (15, 8)
    for row in range(3):
        for column in range(5):
            expected = [
                wave(place * rate) for place in (row, column) for wave in (math.sin, math.cos) for rate in (1, 0.01)
            ]
            assert table[row * 5 + column].numpy() == pytest.approx(expected, abs=1e-6)


def test_shapes_on_a_grid_that_is_not_square() -> None:
    encoder = VisionTransformer(SMALL, SIZE)
    assert encoder(frames()).shape == (3, 48, 32)
    assert encoder(frames(), masks().context_BK).shape == (3, masks().context_BK.shape[1], 32)
    assert encoder.pooled(frames()).shape == (3, 32)
    assert torch.allclose(encoder.pooled(frames()), encoder(frames()).mean(1))
    with pytest.raises(ConfigError, match="patch_size"):
        VisionTransformer(SMALL, (48, 60))


def test_patches_are_cut_row_by_row() -> None:
    picture = frames(1)
    patches = VisionTransformer(SMALL, SIZE).patchify(picture)
    assert torch.equal(patches[0, 10].view(8, 8, 3), picture[0, 8:16, 16:24])


def test_keeping_all_patches_in_another_order_permutes_the_tokens() -> None:
    encoder = VisionTransformer(SMALL, SIZE).eval()
    order = torch.randperm(48).expand(3, -1)
    permuted = encoder(frames(), order)
    assert torch.allclose(permuted, encoder(frames())[:, order[0]], atol=1e-5)


def test_dropped_patches_are_not_seen() -> None:
    encoder = VisionTransformer(SMALL, SIZE)
    changed = frames()
    changed[:, :8, :8] = 255 - changed[:, :8, :8]
    keep = torch.arange(1, 48).expand(3, -1)
    assert torch.equal(encoder(frames(), keep), encoder(changed, keep))
    assert not torch.allclose(encoder(frames()), encoder(changed))


def test_the_same_seed_gives_the_same_network_and_leaves_the_global_state_alone() -> None:
    before = torch.get_rng_state()
    first, second = IJepa(SMALL, SIZE, seed=1), IJepa(SMALL, SIZE, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    other = IJepa(SMALL, SIZE, seed=2)
    assert not torch.equal(first.predictor.mask_token, other.predictor.mask_token)


def test_the_state_is_what_was_learned_and_its_names_are_stable() -> None:
    model = IJepa(SMALL, SIZE, seed=0)
    state = model.state_dict()
    assert set(state) == {name for name, _ in model.named_parameters()}
    block = {f"{layer}.{kind}" for layer in ("norm1", "norm2") for kind in ("weight", "bias")}
    block |= {
        f"{layer}.{kind}" for layer in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2") for kind in ("weight", "bias")
    }
    names = {f"blocks.{index}.{name}" for index in range(2) for name in block} | {"norm.weight", "norm.bias"}
    encoder = names | {"patch_embed.weight", "patch_embed.bias"}
    predictor = names | {"mask_token", "embed.weight", "embed.bias", "project.weight", "project.bias"}
    expected = {f"{part}.{name}" for part in ("context_encoder", "target_encoder") for name in encoder}
    assert set(state) == expected | {f"predictor.{name}" for name in predictor}
    VisionTransformer(SMALL, (96, 96)).load_state_dict(model.context_encoder.state_dict())


def test_gradient_flows_into_context_encoder_and_predictor_alone() -> None:
    model = IJepa(SMALL, SIZE, seed=0)
    torch.autograd.backward([model.loss(frames(), masks())])
    for name, parameter in model.named_parameters():
        if name.startswith("target_encoder."):
            assert parameter.grad is None
            assert not parameter.requires_grad
        else:
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0, name


def test_the_prediction_does_not_see_the_targets() -> None:
    model, blocks = IJepa(SMALL, SIZE, seed=0), masks()
    changed = frames()
    for row, targets_TK in enumerate(blocks.targets_BTK):
        for patch in targets_TK.flatten():
            top, left = int(patch) // 8 * 8, int(patch) % 8 * 8
            changed[row, top : top + 8, left : left + 8] += 77
    before, _ = model.predict(frames(), blocks)
    after, _ = model.predict(changed, blocks)
    assert torch.equal(before, after)
    assert not torch.allclose(model.targets(frames(), blocks), model.targets(changed, blocks))


def test_each_block_is_predicted_by_itself() -> None:
    model, blocks = IJepa(SMALL, SIZE, seed=0), masks()
    together, _ = model.predict(frames(), blocks)
    for block in range(4):
        alone, _ = model.predict(frames(), Masks(blocks.context_BK, blocks.targets_BTK[:, block : block + 1]))
        assert torch.allclose(together[:, block], alone[:, 0], atol=1e-5)


def test_target_moves_by_the_moving_average_and_stands_still_when_refused() -> None:
    model = IJepa(SMALL, SIZE, seed=0)
    with torch.no_grad():
        for parameter in model.context_encoder.parameters():
            parameter.add_(torch.randn_like(parameter))
    old = [parameter.clone() for parameter in model.target_encoder.parameters()]
    context = list(model.context_encoder.parameters())
    model.update_target(0.9)
    for before, after, source in zip(old, model.target_encoder.parameters(), context, strict=True):
        assert torch.allclose(after, 0.9 * before + 0.1 * source, atol=1e-6)
    moved = [parameter.clone() for parameter in model.target_encoder.parameters()]
    model.update_target(0.9, torch.tensor(data=False))
    assert all(torch.equal(a, b) for a, b in zip(moved, model.target_encoder.parameters(), strict=True))
    model.update_target(0.9, torch.tensor(data=True))
    for before, after, source in zip(moved, model.target_encoder.parameters(), context, strict=True):
        assert torch.allclose(after, 0.9 * before + 0.1 * source, atol=1e-6)


def reference_loss(model: IJepa, frames_BHWC: Tensor, blocks: Masks) -> list[float]:
    """The loss of each picture, written out in float64: one picture, one block, one head at a time."""
    state = {name: value.double() for name, value in model.state_dict().items()}

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

    losses: list[float] = []
    for picture, context, targets in zip(frames_BHWC, blocks.context_BK, blocks.targets_BTK, strict=True):
        pixels = picture.double() / 255 - torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)
        pixels = pixels / torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)
        cut = [pixels[r * 8 : r * 8 + 8, c * 8 : c * 8 + 8].flatten() for r in range(6) for c in range(8)]
        patches, places = torch.stack(cut), positions(32, GRID).double()
        features = transform("target_encoder", linear("target_encoder.patch_embed", patches) + places, 2, 4)
        seen = linear("context_encoder.patch_embed", patches[context]) + places[context]
        seen = linear("predictor.embed", transform("context_encoder", seen, 2, 4))
        narrow = positions(16, GRID).double()
        errors: list[Tensor] = []
        for block in targets:
            tokens = torch.cat([seen + narrow[context], state["predictor.mask_token"] + narrow[block]])
            guess = linear("predictor.project", transform("predictor", tokens, 2, 2)[len(context) :])
            wanted = features[block] - features[block].mean(1, keepdim=True)
            wanted = wanted / (wanted.square().mean(1, keepdim=True) + 1e-5).sqrt()
            gap = (guess - wanted).abs()
            errors.append(torch.where(gap < 1, 0.5 * gap.square(), gap - 0.5))
        losses.append(float(torch.stack(errors).mean()))
    return losses


def test_loss_equals_the_reference_written_out() -> None:
    model, blocks = IJepa(SMALL, SIZE, seed=0), masks()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    expected = reference_loss(model, frames(), blocks)
    assert model.sample_losses(frames(), blocks).numpy() == pytest.approx(expected, rel=1e-5)
    assert float(model.loss(frames(), blocks).detach()) == pytest.approx(sum(expected) / 3, rel=1e-5)
    assert float(model(frames(), blocks).detach()) == pytest.approx(sum(expected) / 3, rel=1e-5)


def test_targets_are_layer_normed_features_of_their_patches() -> None:
    model, blocks = IJepa(SMALL, SIZE, seed=0), masks()
    targets = model.targets(frames(), blocks)
    tokens = functional.layer_norm(model.target_encoder(frames()), (32,))
    assert targets.shape == (*blocks.targets_BTK.shape, 32)
    assert torch.allclose(targets[1, 2, 3], tokens[1, blocks.targets_BTK[1, 2, 3]])
    assert targets.mean(-1).abs().max() < 1e-5
    assert not targets.requires_grad
