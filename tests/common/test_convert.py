"""Imports and exports: nothing lost, nothing invented, and the same features on the other side."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# transformers is untyped in parts.

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import safetensors.torch
import torch
from torch import Tensor
from transformers import IJepaConfig, IJepaModel

from common.config.model import ModelConfig
from common.errors import CheckpointError, ConfigError
from common.ijepa.convert import from_hugging_face, from_official, to_hugging_face, to_official
from common.ijepa.model import IJepa
from common.ijepa.network import Network, Part

CONFIG = ModelConfig(
    patch_size=8, dim=32, depth=3, heads=4, mlp_ratio=1.5, predictor_dim=16, predictor_depth=2, predictor_heads=4
)
SIZE = (48, 64)
MEAN, STD = torch.tensor(CONFIG.pixel_mean), torch.tensor(CONFIG.pixel_std)


def network(config: ModelConfig = CONFIG, size: tuple[int, int] = SIZE, seed: int = 0) -> Network:
    """A network with no parameter at its starting value."""
    generator = torch.Generator().manual_seed(seed)
    state = IJepa(config, size, seed=seed).state_dict()
    shaken = {name: value + 0.2 * torch.randn(value.shape, generator=generator) for name, value in state.items()}
    return Network(config=config, image_size=size, tensors=shaken)


def frames(size: tuple[int, int] = SIZE) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, 256, (2, *size, 3), dtype=torch.uint8, generator=generator)


def pixels(frames_BHWC: Tensor) -> Tensor:
    """Frames as the image processor of Hugging Face hands them over."""
    return ((frames_BHWC / 255 - MEAN) / STD).permute(0, 3, 1, 2)


def equal(one: Network, other: Network) -> bool:
    return one.tensors.keys() == other.tensors.keys() and all(
        torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items()
    )


def write_hf(folder: Path, source: Network, part: Part = Part.TARGET) -> None:
    described, tensors = to_hugging_face(source, part)
    (folder / "config.json").write_text(json.dumps(described), "utf-8")
    safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("size", [(48, 64), (40, 40)])
@pytest.mark.parametrize("part", [Part.TARGET, Part.CONTEXT])
def test_transformers_computes_our_features_from_our_export(tmp_path: Path, size: tuple[int, int], part: Part) -> None:
    source = network(size=size)
    write_hf(tmp_path, source, part)
    theirs, loading = cast(Any, IJepaModel).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(loading.values()), loading
    ours = source.build().get_submodule(part)
    with torch.no_grad():
        expected = theirs.eval()(pixels(frames(size))).last_hidden_state
        assert (ours(frames(size)) - expected).abs().max() < 1e-5
    assert expected.std() > 0.5


def test_we_compute_the_features_of_an_encoder_that_transformers_saved(tmp_path: Path) -> None:
    config = IJepaConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=80,
        image_size=40,
        patch_size=8,
        layer_norm_eps=1e-6,
    )
    theirs = IJepaModel(config).eval()
    known = network(size=(40, 40)).encoder().positions_ND
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
        theirs.embeddings.position_embeddings.copy_(known[None])
    theirs.save_pretrained(tmp_path)
    described = json.loads((tmp_path / "config.json").read_text("utf-8"))
    ours = from_hugging_face(described, safetensors.torch.load_file(tmp_path / "model.safetensors"))
    assert ours.parts == (Part.TARGET,)
    assert (ours.config.depth, ours.config.heads, ours.image_size) == (2, 2, (40, 40))
    with torch.no_grad():
        expected = theirs(pixels(frames((40, 40)))).last_hidden_state
        assert (ours.encoder()(frames((40, 40))) - expected).abs().max() < 1e-5


def test_hugging_face_and_back_keeps_the_encoder_and_what_it_has_no_place_for() -> None:
    config = replace(CONFIG, pixel_mean=(0.1, 0.2, 0.3), position_grid=(3, 5))
    source = network(config)
    described, tensors = to_hugging_face(source)
    back = from_hugging_face(json.loads(json.dumps(described)), tensors)
    assert back.image_size == SIZE
    assert (back.config.pixel_mean, back.config.position_grid) == ((0.1, 0.2, 0.3), (3, 5))
    assert torch.equal(back.encoder()(frames()), source.encoder()(frames()))


@pytest.mark.parametrize("strip", [False, True])
def test_official_and_back_is_the_same_network(strip: bool) -> None:
    source = network(size=(40, 40))
    states: dict[str, Any] = dict(to_official(source))
    assert states["predictor"]["module.mask_token"].shape == (1, 1, 16)
    if strip:
        states = {
            part: {name.removeprefix("module."): tensor for name, tensor in state.items()}
            for part, state in states.items()
        }
    back = from_official(states | {"epoch": 3, "opt": {}, "lr": 0.1}, heads=4)
    assert (back.config, back.image_size) == (CONFIG, (40, 40))
    assert equal(back, source)
    alone = from_official({"target_encoder": states["target_encoder"]}, heads=4)
    assert alone.parts == (Part.TARGET,)


@pytest.mark.parametrize(("dim", "heads"), [(384, 6), (192, 3)])
def test_official_widths_have_official_heads(dim: int, heads: int) -> None:
    config = ModelConfig(patch_size=8, dim=dim, depth=1, heads=heads, predictor_dim=96, predictor_heads=heads)
    assert from_official(to_official(network(config, (16, 16)))).config == config


DAMAGES: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda c: c["encoder"].pop("module.blocks.1.norm2.bias"), "missing: encoder.blocks.1.norm2.bias"),
    (lambda c: c["predictor"].update({"module.cls": torch.zeros(3)}), "surplus: predictor.cls"),
    (
        lambda c: c["target_encoder"].update({"module.norm.weight": torch.zeros(3)}),
        r"wrong shape: target_encoder.norm.weight \(3,\) instead of \(32,\)",
    ),
    (lambda c: c["encoder"].update({"norm.weight": torch.zeros(32)}), "surplus: .*encoder.module"),
    (lambda c: c.pop("predictor"), "missing: predictor"),
    (lambda c: c.update(head={}), "surplus: head"),
    (lambda c: c.update(encoder=3), "encoder is no dict of tensors"),
    (lambda c: c["target_encoder"].pop("module.pos_embed"), "target_encoder.pos_embed is missing"),
    (
        lambda c: c["target_encoder"].update({"module.pos_embed": torch.zeros(1, 24, 32)}),
        "24 positions are no square grid",
    ),
    (
        lambda c: c["encoder"].update({"module.norm.bias": torch.zeros(32).int()}),
        "no floating-point numbers: encoder.norm.bias",
    ),
    (
        lambda c: c["encoder"]["module.pos_embed"].add_(0.01),
        "encoder.pos_embed is not the sine-cosine table .* by 0.01",
    ),
    (
        lambda c: c["predictor"].update(
            {"module.predictor_pos_embed": c["predictor"]["module.predictor_pos_embed"].roll(8, 2)}
        ),
        "predictor.predictor_pos_embed is not",
    ),
]


@pytest.mark.parametrize(("damage", "complaint"), DAMAGES)
def test_an_official_checkpoint_that_does_not_fit_is_refused_with_a_list(
    damage: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    checkpoint: dict[str, Any] = dict(to_official(network(size=(40, 40))))
    damage(checkpoint)
    with pytest.raises(CheckpointError, match=complaint) as told:
        from_official(checkpoint, heads=4)
    assert len(str(told.value).splitlines()) == 1


def test_heads_that_nobody_knows_must_be_given() -> None:
    with pytest.raises(ConfigError, match="heads = 0: must be given"):
        from_official(to_official(network(size=(40, 40))))


def test_all_that_does_not_fit_is_listed_at_once() -> None:
    checkpoint = to_official(network(size=(40, 40)))
    checkpoint["encoder"].pop("module.norm.bias")
    checkpoint["predictor"]["module.more"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"missing: encoder.norm.bias; surplus: predictor.more"):
        from_official(checkpoint, heads=4)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"layer_norm_eps": 1e-12}, "layer_norm_eps = 1e-12: must be 1e-06"),
        ({"hidden_act": "relu"}, "hidden_act = 'relu'"),
        ({"model_type": "vit"}, "model_type = 'vit'"),
        ({"qkv_bias": False}, "qkv_bias = False"),
        ({"patch_size": [8, 16]}, "patches must be square"),
        ({"intermediate_size": 64}, "wrong shape: encoder.layer.0.intermediate.dense.bias"),
        ({"num_hidden_layers": 2}, "surplus: encoder.layer.2.attention"),
        ({"num_hidden_layers": 4}, "missing: encoder.layer.3.attention"),
        ({"image_size": 48}, "wrong shape: embeddings.position_embeddings"),
        ({"image_size": [64, 48]}, "position_embeddings is not the sine-cosine table"),
        ({"hidden_size": None}, "config.json cannot be read"),
    ],
)
def test_a_hugging_face_model_that_does_not_fit_is_refused(change: dict[str, Any], complaint: str) -> None:
    described, tensors = to_hugging_face(network())
    with pytest.raises(CheckpointError, match=complaint):
        from_hugging_face(described | change, tensors)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (network(), "square pictures only"),
        (network(replace(CONFIG, pixel_std=(0.1, 0.1, 0.1)), (40, 40)), "colour statistics"),
        (network(replace(CONFIG, predictor_heads=2), (40, 40)), "4 heads; it has 2"),
    ],
)
def test_what_the_official_code_cannot_be_is_not_exported_to_it(source: Network, complaint: str) -> None:
    with pytest.raises(CheckpointError, match=complaint):
        to_official(source)


def test_our_own_file_says_what_it_holds(tmp_path: Path) -> None:
    source = network(replace(CONFIG, position_grid=(3, 4)))
    source.save(tmp_path / "a.safetensors")
    back = Network.load(tmp_path / "a.safetensors")
    assert (back.config, back.image_size) == (source.config, SIZE)
    assert equal(back, source)
    bare = {name: tensor for name, tensor in source.tensors.items() if not name.startswith("predictor.")}
    with pytest.raises(CheckpointError, match="missing: predictor"):
        replace(source, tensors=bare)
    safetensors.torch.save_file(bare, tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match="does not say what it holds"):
        Network.load(tmp_path / "b.safetensors")
    (tmp_path / "c.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="cannot be read"):
        Network.load(tmp_path / "c.safetensors")


def test_an_encoder_alone_cannot_be_trained_but_with_a_fresh_predictor() -> None:
    described, tensors = to_hugging_face(network())
    alone = from_hugging_face(described, tensors)
    with pytest.raises(CheckpointError, match="without a predictor"):
        alone.build()
    with pytest.raises(CheckpointError, match="no context_encoder to export"):
        to_hugging_face(alone, Part.CONTEXT)
    first, again, other = (alone.with_fresh_predictor(seed) for seed in (1, 1, 2))
    assert equal(first, again)
    assert not equal(first, other)
    model = first.build()
    assert torch.equal(model.context_encoder(frames()), alone.encoder()(frames()))


def test_another_picture_size_stretches_the_positions_and_back_unstretches_them() -> None:
    source = network()
    wide = source.resized((96, 128))
    assert wide.config.position_grid == (6, 8)
    assert wide.resized((48, 128)).config.position_grid == (6, 8)
    assert wide.resized(SIZE).config == source.config
    doubled = frames().repeat_interleave(2, 1).repeat_interleave(2, 2)
    with torch.no_grad():
        stretched = wide.encoder()(doubled).mean(1)
        plain = replace(wide, config=CONFIG).encoder()(doubled).mean(1)
    assert not torch.allclose(stretched, plain)
    with pytest.raises(ConfigError, match="patch_size"):
        source.resized((50, 64))
