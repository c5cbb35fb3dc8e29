import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from common.config.model import MaskConfig, ModelConfig
from common.config.presets import preset
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


def test_positions_are_sines_and_cosines_of_column_and_row() -> None:
    table = positions(8, (3, 5))
    assert table.shape == (15, 8)
    for row in range(3):
        for column in range(5):
            expected = [
                wave(place * rate) for place in (column, row) for wave in (math.sin, math.cos) for rate in (1, 0.01)
            ]
            assert table[row * 5 + column].numpy() == pytest.approx(expected, abs=1e-6)


def test_stretched_positions_of_the_own_grid_are_the_own_positions() -> None:
    assert torch.equal(positions(8, (3, 5), (3, 5)), positions(8, (3, 5)))


def test_stretched_positions_stand_where_the_patches_middles_fall() -> None:
    known, stretched = positions(16, (4, 4)), positions(16, (12, 4), (4, 4))
    assert torch.allclose(stretched.view(12, 4, 16)[1::3], known.view(4, 4, 16), atol=1e-6)
    between = positions(16, (8, 8), (4, 4)).view(8, 8, 16)
    for row, place in ((0, -0.25), (1, 0.25), (7, 3.25)):
        expected = [wave(place * 10000 ** -(rate / 4)) for wave in (math.sin, math.cos) for rate in range(4)]
        assert between[row, 0, 8:].numpy() == pytest.approx(expected, abs=1e-6)


def test_stretched_positions_are_near_what_bicubic_interpolation_of_the_table_gives() -> None:
    known = positions(64, (14, 14)).view(1, 14, 14, 64).permute(0, 3, 1, 2)
    bicubic = functional.interpolate(known, size=(28, 28), mode="bicubic", align_corners=False)[0].permute(1, 2, 0)
    inner = (bicubic - positions(64, (28, 28), (14, 14)).view(28, 28, 64))[4:-4, 4:-4]
    assert inner.abs().max() < 0.05


def test_a_network_sees_through_the_positions_it_is_told_to_stretch() -> None:
    config = replace(SMALL, position_grid=(3, 4))
    stretched, plain = IJepa(config, SIZE, seed=0), IJepa(SMALL, SIZE, seed=0)
    assert torch.equal(stretched.target_encoder.positions_ND, positions(32, GRID, (3, 4)))
    assert torch.equal(stretched.predictor.positions_NE, positions(16, GRID, (3, 4)))
    assert stretched.state_dict().keys() == plain.state_dict().keys()
    assert not torch.allclose(stretched.target_encoder(frames()), plain.target_encoder(frames()))
    with pytest.raises(ConfigError, match=r"learner\.model\.position_grid = \(0, 4\)"):
        replace(SMALL, position_grid=(0, 4))


@pytest.mark.parametrize(
    ("name", "encoder", "predictor"),
    [
        ("vit_s16", (384, 12, 6, 1536), (6, 6)),
        ("vit_b16", (768, 12, 12, 3072), (6, 12)),
        ("vit_l16", (1024, 24, 16, 4096), (12, 16)),
        ("vit_h14", (1280, 32, 16, 5120), (12, 16)),
        ("vit_h16_448", (1280, 32, 16, 5120), (12, 16)),
        ("vit_g16", (1408, 40, 16, 6144), (16, 16)),
    ],
)
def test_the_paper_s_networks_have_the_official_shapes(
    name: str, encoder: tuple[int, int, int, int], predictor: tuple[int, int]
) -> None:
    run = preset(name)
    with torch.device("meta"):
        model = IJepa(run.learner.model, run.world.image_size)
    dim, depth, heads, hidden = encoder
    state = model.state_dict()
    assert len(model.target_encoder.blocks) == depth
    assert state["target_encoder.blocks.0.mlp.fc1.weight"].shape == (hidden, dim)
    assert model.target_encoder.blocks[0].get_submodule("attn").heads == heads
    assert len(model.predictor.blocks) == predictor[0]
    assert state["predictor.blocks.0.mlp.fc1.weight"].shape == (4 * 384, 384)
    assert model.predictor.blocks[0].get_submodule("attn").heads == predictor[1]


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


def test_targets_are_layer_normed_features_of_their_patches() -> None:
    model, blocks = IJepa(SMALL, SIZE, seed=0), masks()
    targets = model.targets(frames(), blocks)
    tokens = functional.layer_norm(model.target_encoder(frames()), (32,))
    assert targets.shape == (*blocks.targets_BTK.shape, 32)
    assert torch.allclose(targets[1, 2, 3], tokens[1, blocks.targets_BTK[1, 2, 3]])
    assert targets.mean(-1).abs().max() < 1e-5
    assert not targets.requires_grad
