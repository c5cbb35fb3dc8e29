"""Networks under the names and shapes of others: the official code's, and Hugging Face's `IJepaModel`.

    ours (`IJepa.state_dict()`)   official (one dict a part)              Hugging Face (one encoder)
    patch_embed.weight (D, P)     patch_embed.proj.weight (D, C, p, p)    embeddings.patch_embeddings.projection.weight
    blocks.N.attn.qkv             the same                                encoder.layer.N.….{query,key,value}
    constants, no state           pos_embed, predictor_pos_embed          embeddings.position_embeddings (1, N, D)
    predictor.mask_token (E)      mask_token (1, 1, E)                    has none

Every import is strict: sizes are read off the source, the whole list of names and shapes that such a network has is
made from them, and each tensor must be in both. Stored positions must be those that our code computes.

Shape suffixes: D width of the encoder, E of the predictor, N patches, p side of a patch, C colours, P = p·p·C.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from common.config.model import ModelConfig
from common.errors import CheckpointError, ConfigError
from common.ijepa.network import Network, Part, blank, require_fit
from common.ijepa.vit import positions

HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 16}
"""Attention heads of the official encoders, by width; parameters do not tell them."""

POSITION_TOLERANCE = 1e-3
"""Greatest difference between stored and computed positions.

The official target encoder's positions take part in its moving average, whose rounding moves them by up to 1.4e-4 in
190 000 float32 steps (measured). Positions of another grid, order or kind differ by about 1.
"""

_IMAGENET = ModelConfig()
_OFFICIAL_PARTS = {Part.CONTEXT: "encoder", Part.PREDICTOR: "predictor", Part.TARGET: "target_encoder"}
_OFFICIAL_REST = frozenset({"opt", "scaler", "epoch", "loss", "batch_size", "world_size", "lr"})
"""What else an official checkpoint holds, about the training; left out."""

_HF_BLOCK = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
_HF_PATCH = "embeddings.patch_embeddings.projection"
_HF_POSITIONS = "embeddings.position_embeddings"
_HF_FIXED: dict[str, Any] = {
    "model_type": "ijepa",
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
    "num_channels": 3,
    "qkv_bias": True,
}
"""What an `IJepaModel` must be configured as, to be our encoder."""


def from_official(checkpoint: Mapping[str, Any], *, heads: int = 0, predictor_heads: int = 0) -> Network:
    """Imports a checkpoint of the official code.

    Args:
        checkpoint: State dicts under `encoder`, `predictor` and `target_encoder`, or the last one alone; what official
            checkpoints hold about the training is left out. Names may begin with `module.`.
        heads: Attention heads of the encoders; 0 takes those of the official encoder of this width.
        predictor_heads: Attention heads of the predictor; 0 takes as many.

    Returns:
        The network, for square pictures as large as the positions stored.

    Raises:
        CheckpointError: Something does not fit; the error lists all of it.
        ConfigError: The heads are not known, or do not divide the width.
    """
    found: dict[str, Tensor] = {}
    present = [part for part, theirs in _OFFICIAL_PARTS.items() if theirs in checkpoint]
    for part in present:
        state = _state_dict(checkpoint[_OFFICIAL_PARTS[part]], _OFFICIAL_PARTS[part])
        found |= {f"{_OFFICIAL_PARTS[part]}.{name}": tensor for name, tensor in state.items()}
    missing = [] if present == [Part.TARGET] else [_OFFICIAL_PARTS[part] for part in Part if part not in present]
    surplus = sorted(checkpoint.keys() - set(_OFFICIAL_PARTS.values()) - _OFFICIAL_REST)
    if missing or surplus:
        lists = [f"{kind}: {', '.join(names)}" for kind, names in (("missing", missing), ("surplus", surplus)) if names]
        raise CheckpointError(f"the official checkpoint does not fit: {'; '.join(lists)}")
    config, side = _official_sizes(found, heads, predictor_heads)
    image_size = (side * config.patch_size, side * config.patch_size)
    empty = blank(config, image_size, present)
    require_fit(found, _official_tensors(empty, config, image_size), "the official checkpoint")
    for part in present:
        prefix = "predictor_" if part is Part.PREDICTOR else ""
        width = config.predictor_dim if part is Part.PREDICTOR else config.dim
        name = f"{_OFFICIAL_PARTS[part]}.{prefix}pos_embed"
        _require_positions(found[name], positions(width, (side, side)), name)
    tensors = {name: _to_ours(found[_official_name(name)]).reshape(like.shape) for name, like in empty.items()}
    return Network(config=config, image_size=image_size, tensors=_float32(tensors))


def to_official(network: Network) -> dict[str, dict[str, Tensor]]:
    """Exports to state dicts that the official code loads into its networks (wrapped, so names begin with `module.`).

    Raises:
        CheckpointError: The official code has no place for what the network is: pictures that are not square, colour
            statistics other than ImageNet's, a predictor with other heads than the encoder's.
    """
    config = network.config
    rows, columns = config.grid(network.image_size)
    if rows != columns:
        raise CheckpointError(f"the official code knows square pictures only; these are {network.image_size}")
    if (config.pixel_mean, config.pixel_std) != (_IMAGENET.pixel_mean, _IMAGENET.pixel_std):
        raise CheckpointError(
            f"the official code has ImageNet's colour statistics built in; the network's are {config.pixel_mean} and "
            f"{config.pixel_std}"
        )
    if Part.PREDICTOR in network.parts and config.predictor_heads != config.heads:
        raise CheckpointError(
            f"the official code gives the predictor the encoder's {config.heads} heads; it has {config.predictor_heads}"
        )
    states: dict[str, dict[str, Tensor]] = {_OFFICIAL_PARTS[part]: {} for part in network.parts}
    for name, tensor in _official_tensors(network.tensors, config, network.image_size).items():
        part, _, rest = name.partition(".")
        states[part][f"module.{rest}"] = tensor.contiguous()
    return states


def from_hugging_face(
    described: Mapping[str, Any], found: Mapping[str, Tensor], *, predictor_heads: int = 0
) -> Network:
    """Imports an `IJepaModel`.

    Args:
        described: Content of its `config.json`.
        found: Content of its `model.safetensors`.
        predictor_heads: Attention heads that a predictor would get, which such a model does not have; 0 as many as the
            encoder's.

    Returns:
        The target encoder alone.

    Raises:
        CheckpointError: Something does not fit; the error lists all of it.
        ConfigError: Sizes that no network can have.
    """
    for key, value in _HF_FIXED.items():
        given = described.get(key, {"num_channels": 3, "qkv_bias": True, "hidden_act": "gelu"}.get(key))
        if given != value:
            raise CheckpointError(f"config.json: {key} = {given!r}: must be {value!r}")
    try:
        extra: Mapping[str, Any] = described.get("engram", {})
        height, width = _pair(described["image_size"])
        patch, other = _pair(described["patch_size"])
        if patch != other:
            raise CheckpointError(f"config.json: patch_size = {described['patch_size']!r}: patches must be square")
        dim, heads = int(described["hidden_size"]), int(described["num_attention_heads"])
        config = ModelConfig(
            patch_size=patch,
            dim=dim,
            depth=int(described["num_hidden_layers"]),
            heads=heads,
            mlp_ratio=int(described["intermediate_size"]) / dim,
            pixel_mean=tuple(extra.get("pixel_mean", _IMAGENET.pixel_mean)),
            pixel_std=tuple(extra.get("pixel_std", _IMAGENET.pixel_std)),
            position_grid=_pair(extra.get("position_grid", (0, 0))),
            **_predictor_sizes(dim, heads, predictor_heads),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"config.json cannot be read ({type(error).__name__}: {error})") from error
    empty = {name.partition(".")[2]: like for name, like in blank(config, (height, width), [Part.TARGET]).items()}
    require_fit(found, _hf_tensors(empty, config, (height, width)), "model.safetensors")
    grid = config.grid((height, width))
    _require_positions(found[_HF_POSITIONS], positions(config.dim, grid, config.position_grid), _HF_POSITIONS)
    tensors = {f"{Part.TARGET}.{name}": _to_ours(torch.cat([found[one] for one in _hf_names(name)])) for name in empty}
    return Network(config=config, image_size=(height, width), tensors=_float32(tensors))


def to_hugging_face(network: Network, part: Part = Part.TARGET) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Exports one encoder as an `IJepaModel`.

    Args:
        network: The network.
        part: Which encoder.

    Returns:
        Content of `config.json` and of `model.safetensors`. What `IJepaModel` has no place for (colour statistics, grid
        of the positions) is under `engram` in the configuration, which it ignores and `from_hugging_face` reads.

    Raises:
        CheckpointError: The network has no such encoder.
    """
    state = network.part(part)
    if part is Part.PREDICTOR or not state:
        raise CheckpointError(f"there is no {part} to export: must be one of the encoders that the source holds")
    config = network.config
    height, width = network.image_size
    described = _HF_FIXED | {
        "architectures": ["IJepaModel"],
        "dtype": "float32",
        "hidden_size": config.dim,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "intermediate_size": round(config.dim * config.mlp_ratio),
        "image_size": height if height == width else [height, width],
        "patch_size": config.patch_size,
        "attention_probs_dropout_prob": 0.0,
        "hidden_dropout_prob": 0.0,
        "initializer_range": 0.02,
        "engram": {
            "pixel_mean": config.pixel_mean,
            "pixel_std": config.pixel_std,
            "position_grid": config.position_grid,
        },
    }
    return described, _hf_tensors(state, config, network.image_size)


def _state_dict(value: Any, name: str) -> dict[str, Tensor]:
    """Checks that a part is a state dict and takes the prefix `module.` off its names, where all have it."""
    if not isinstance(value, Mapping) or not all(isinstance(one, Tensor) for one in cast(Any, value).values()):
        raise CheckpointError(f"the official checkpoint does not fit: {name} is no dict of tensors")
    state = cast(Mapping[str, Tensor], value)
    wrapped = bool(state) and all(key.startswith("module.") for key in state)
    return {key.removeprefix("module.") if wrapped else key: tensor for key, tensor in state.items()}


def _official_sizes(found: Mapping[str, Tensor], heads: int, predictor_heads: int) -> tuple[ModelConfig, int]:
    """Reads sizes off the shapes: the configuration, and the side of the square grid."""

    def shape(name: str, dimensions: int) -> tuple[int, ...]:
        if name not in found or found[name].ndim != dimensions:
            what = f"{tuple(found[name].shape)}, not of {dimensions} dimensions" if name in found else "missing"
            raise CheckpointError(f"the official checkpoint does not fit: {name} is {what}")
        return tuple(found[name].shape)

    def depth(prefix: str) -> int:
        return len({match[1] for name in found if (match := re.match(rf"{re.escape(prefix)}\.(\d+)\.", name))})

    dim, _, patch, _ = shape("target_encoder.patch_embed.proj.weight", 4)
    _, patches, _ = shape("target_encoder.pos_embed", 3)
    side = math.isqrt(patches)
    if side * side != patches:
        raise CheckpointError(f"the official checkpoint does not fit: {patches} positions are no square grid")
    if not heads and dim not in HEADS:
        raise ConfigError("heads", heads, f"must be given: parameters do not tell it, and {dim} is no official width")
    heads = heads or HEADS[dim]
    config = ModelConfig(
        patch_size=patch,
        dim=dim,
        depth=depth("target_encoder.blocks"),
        heads=heads,
        mlp_ratio=shape("target_encoder.blocks.0.mlp.fc1.weight", 2)[0] / dim,
        **_predictor_sizes(dim, heads, predictor_heads),
    )
    if any(name.startswith("predictor.") for name in found):
        width = shape("predictor.predictor_embed.weight", 2)[0]
        config = replace(
            config,
            predictor_dim=width,
            predictor_depth=depth("predictor.predictor_blocks"),
            predictor_heads=predictor_heads or heads,
            predictor_mlp_ratio=shape("predictor.predictor_blocks.0.mlp.fc1.weight", 2)[0] / width,
        )
    return config, side


def _predictor_sizes(dim: int, heads: int, predictor_heads: int = 0) -> dict[str, Any]:
    """Sizes of the official predictor for an encoder of this width: what a fresh one gets beside an encoder alone."""
    fitting = heads if 384 % heads == 0 else 12
    deep = 16 if dim >= 1408 else 12 if dim >= 1024 else 6
    return {"predictor_dim": 384, "predictor_depth": deep, "predictor_heads": predictor_heads or fitting}


def _official_name(name: str) -> str:
    """The official name of one of our parameters: `context_encoder.norm.bias` is `encoder.norm.bias`."""
    part, _, rest = name.partition(".")
    if part == Part.PREDICTOR:
        rest = rest if rest == "mask_token" else f"predictor_{re.sub(r'^project', 'proj', rest)}"
    elif rest.startswith("patch_embed."):
        rest = rest.replace("patch_embed.", "patch_embed.proj.", 1)
    return f"{_OFFICIAL_PARTS[Part(part)]}.{rest}"


def _official_tensors(
    ours: Mapping[str, Tensor], config: ModelConfig, image_size: tuple[int, int]
) -> dict[str, Tensor]:
    grid = config.grid(image_size)
    theirs: dict[str, Tensor] = {}
    for name, tensor in ours.items():
        shaped = tensor[None, None] if name.endswith("mask_token") else tensor
        is_patch = name.endswith("patch_embed.weight")
        theirs[_official_name(name)] = _to_convolution(tensor, config.patch_size) if is_patch else shaped
    for part in {Part(name.partition(".")[0]) for name in ours}:
        prefix, width = ("predictor_", config.predictor_dim) if part is Part.PREDICTOR else ("", config.dim)
        theirs[f"{_OFFICIAL_PARTS[part]}.{prefix}pos_embed"] = positions(width, grid, config.position_grid)[None]
    return theirs


def _hf_names(name: str) -> list[str]:
    """The names under which Hugging Face keeps one of our encoder's parameters, in order along its first axis."""
    layer, _, kind = name.rpartition(".")
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", layer)
    if match is None:
        return [f"{_HF_PATCH if layer == 'patch_embed' else 'layernorm'}.{kind}"]
    block, inner = f"encoder.layer.{match[1]}", match[2]
    if inner == "attn.qkv":
        return [f"{block}.attention.attention.{one}.{kind}" for one in ("query", "key", "value")]
    return [f"{block}.{_HF_BLOCK[inner]}.{kind}"]


def _hf_tensors(ours: Mapping[str, Tensor], config: ModelConfig, image_size: tuple[int, int]) -> dict[str, Tensor]:
    theirs = {_HF_POSITIONS: positions(config.dim, config.grid(image_size), config.position_grid)[None]}
    for name, tensor in ours.items():
        names = _hf_names(name)
        whole = _to_convolution(tensor, config.patch_size) if name == "patch_embed.weight" else tensor
        theirs |= {one: part.contiguous() for one, part in zip(names, whole.chunk(len(names)), strict=True)}
    return theirs


def _to_ours(tensor: Tensor) -> Tensor:
    """Turns a convolution's weight into a matrix over row, column, colour; leaves everything else alone."""
    return tensor.permute(0, 2, 3, 1).flatten(1) if tensor.ndim == 4 else tensor


def _to_convolution(weight_DP: Tensor, side: int) -> Tensor:
    """The other way round (weight_DCpp)."""
    return weight_DP.view(-1, side, side, 3).permute(0, 3, 1, 2)


def _float32(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().float().contiguous() for name, tensor in tensors.items()}


def _require_positions(stored: Tensor, computed_ND: Tensor, name: str) -> None:
    """Makes sure that stored positions are those we compute, up to `POSITION_TOLERANCE` or their dtype's precision."""
    allowed = max(POSITION_TOLERANCE, torch.finfo(stored.dtype).eps)
    gap = float((stored.detach()[0].float() - computed_ND).abs().max())
    if not gap <= allowed:
        raise CheckpointError(
            f"{name} is not the sine-cosine table that our networks compute: it differs by {gap:.3g}, "
            f"{allowed:.3g} is allowed"
        )


def _pair(value: Any) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else value
    return int(first), int(second)
