"""Weights from one kind of file to another: `engram convert`.

source ─► from_official / from_hugging_face / Network.load ─► Network ─► resized ─► to_… / Network.save ─► target
"""

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from pickle import UnpicklingError  # nosec B403
from typing import Annotated, Any, cast

import safetensors.torch
import torch
import tyro
from safetensors import SafetensorError
from torch import Tensor

from common.config.files import from_yaml
from common.errors import CheckpointError, ConfigError
from common.ijepa.convert import from_hugging_face, from_official, to_hugging_face, to_official
from common.ijepa.network import Network, Part
from learner.checkpoint import latest

DESCRIPTION = """\
Convert weights between the official code's checkpoints, Hugging Face's IJepaModel and engram's own files.

  official   a .pth or .pth.tar file with encoder, predictor and target_encoder
  hf         a folder with config.json and model.safetensors: one encoder
  engram     a .safetensors file that says what it holds; as a source also a run directory or one of its checkpoints

Examples:
  engram convert IN1K-vit.h.14-300e.pth.tar vit_h14.safetensors --from official --to engram
  engram convert runs/a encoder --from engram --to hf
  engram convert encoder wide.safetensors --from hf --to engram --image-size 144 256 --resize-positions

Every tensor of the source is used and every one of the target filled, or nothing is written and what does not fit is
listed.
"""


class Format(StrEnum):
    """Kinds of files."""

    OFFICIAL = "official"
    """The official code's checkpoint."""
    HF = "hf"
    """Hugging Face's IJepaModel."""
    ENGRAM = "engram"
    """Our own."""


class Encoder(StrEnum):
    """Which encoder goes into a file for one."""

    TARGET = "target"
    CONTEXT = "context"


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What is to be converted into what."""

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SOURCE")]
    """File or folder to read."""
    target: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="TARGET")]
    """File or folder to write; must not exist."""
    kind: Annotated[Format, tyro.conf.arg(name="from")]
    """What the source is."""
    to: Format
    """What the target shall be."""
    encoder: Encoder = Encoder.TARGET
    """Which encoder an `hf` target gets."""
    image_size: tuple[int, int] = (0, 0)
    """Height and width of the target's pictures; 0 0 keeps the source's."""
    resize_positions: bool = False
    """Stretch the source's positions over the grid of `image_size`, where it is another one."""
    heads: int = 0
    """Attention heads of an `official` source's encoders; 0 takes those of the official encoder of this width."""
    predictor_heads: int = 0
    """Attention heads of the predictor; 0 takes as many as the encoder has, as the official code does."""
    fresh_predictor: bool = False
    """Give an encoder that comes alone an untrained predictor of the official size, so that it can be trained on."""
    seed: int = 0
    """Seed of the untrained predictor."""


def convert(asked: Conversion) -> str:
    """Converts.

    Returns:
        What was written, in a line.

    Raises:
        ConfigError: The target exists, or the options do not fit what the source holds.
        CheckpointError: The source cannot be read, or does not fit.
        OSError: The target cannot be written.
    """
    if asked.target.exists():
        raise ConfigError("target", str(asked.target), "exists already")
    network = read_network(asked.source, asked.kind, heads=asked.heads, predictor_heads=asked.predictor_heads)
    network = _resized(network, asked)
    if asked.fresh_predictor:
        if network.parts != (Part.TARGET,):
            raise ConfigError("fresh_predictor", value=True, allowed="is for an encoder that comes without a predictor")
        network = network.with_fresh_predictor(asked.seed)
    partial = asked.target.with_name(f".partial-{asked.target.name}")
    asked.target.parent.mkdir(parents=True, exist_ok=True)
    try:
        _WRITERS[asked.to](network, partial, asked)
        partial.rename(asked.target)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)
    return _said(network, asked)


def read_network(source: Path, kind: Format | None = None, *, heads: int = 0, predictor_heads: int = 0) -> Network:
    """Reads weights from any kind of file.

    Args:
        source: File or folder.
        kind: What it is; found out by its looks if not given: a folder with a `config.json` is Hugging Face's, any
            other folder and a .safetensors file are ours, any other file is the official code's.
        heads: Attention heads of an official source's encoders; 0 takes those of the official encoder of this width.
        predictor_heads: Attention heads of the predictor; 0 takes as many as the encoder has.

    Raises:
        ConfigError: There is no such file, the folder is no run, or the heads are not known.
        CheckpointError: It cannot be read, or does not fit.
    """
    if not source.exists():
        raise ConfigError("source", str(source), "does not exist")
    if kind is None:
        is_ours = source.is_dir() or source.suffix == ".safetensors"
        kind = Format.HF if (source / "config.json").exists() else Format.ENGRAM if is_ours else Format.OFFICIAL
    match kind:
        case Format.OFFICIAL:
            return _read_official(source, heads, predictor_heads)
        case Format.HF:
            return _read_hf(source, predictor_heads)
        case Format.ENGRAM:
            return _read_engram(source)


def _resized(network: Network, asked: Conversion) -> Network:
    size = asked.image_size if asked.image_size != (0, 0) else network.image_size
    grid, wanted = network.config.grid(network.image_size), network.config.grid(size)
    if wanted != grid and not asked.resize_positions:
        raise ConfigError(
            "image_size",
            size,
            f"has a {wanted[0]}×{wanted[1]} grid, the source's positions are those of {grid[0]}×{grid[1]}: "
            f"--resize-positions stretches them",
        )
    return network.resized(size)


def _said(network: Network, asked: Conversion) -> str:
    config, (height, width) = network.config, network.image_size
    if asked.to is Format.HF:
        parts = f"the {asked.encoder} encoder"
    elif network.parts == (Part.TARGET,):
        parts = "the target encoder alone, without a predictor"
    else:
        parts = f"both encoders and {'an untrained' if asked.fresh_predictor else 'the'} predictor"
    stretched = config.position_grid
    note = f", positions of {stretched[0]}×{stretched[1]} stretched" if stretched != (0, 0) else ""
    sizes = f"{config.dim} wide, {config.depth} deep, {config.heads} heads, patches of {config.patch_size}"
    return f"{asked.target} ({asked.to}): {parts}; {sizes}, {height}×{width} pixels{note}"


def _read_official(path: Path, heads: int, predictor_heads: int) -> Network:
    try:
        # mmap spares the memory that the optimiser's state would take; old files, no archives, cannot have it.
        found: Any = torch.load(path, map_location="cpu", mmap=zipfile.is_zipfile(path), weights_only=True)
    except UnpicklingError as error:
        stranger = re.search(r"GLOBAL (\S+)", str(error))
        if stranger is None:
            raise CheckpointError(f"{path} cannot be read: it is no checkpoint of torch") from None
        raise CheckpointError(f"{path} holds {stranger[1]} besides tensors and plain values: not opened") from None
    except (OSError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise CheckpointError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds no dict, as official checkpoints do")
    checkpoint = cast(dict[str, Any], found)
    return from_official(checkpoint, heads=heads, predictor_heads=predictor_heads)


def _read_hf(path: Path, predictor_heads: int) -> Network:
    try:
        described: Any = json.loads((path / "config.json").read_text("utf-8"))
        tensors = _load_tensors(path / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({type(error).__name__}: {error})") from None
    if not isinstance(described, dict):
        raise CheckpointError(f"{path / 'config.json'} holds no object")
    return from_hugging_face(cast(dict[str, Any], described), tensors, predictor_heads=predictor_heads)


def _read_engram(path: Path) -> Network:
    """Reads a file of ours, or the newest checkpoint of a run, or one checkpoint."""
    if path.is_file():
        return Network.load(path)
    folder = path if (path / "model.safetensors").exists() else latest(path / "checkpoints")
    if folder is None:
        raise ConfigError("source", str(path), "must be a .safetensors file, a run directory or one of its checkpoints")
    run = from_yaml(folder.absolute().parent.parent / "config.yaml")
    try:
        tensors = _load_tensors(folder / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder} cannot be read ({type(error).__name__}: {error})") from None
    return Network(config=run.learner.model, image_size=run.world.image_size, tensors=tensors)


def _load_tensors(path: Path) -> dict[str, Tensor]:
    return safetensors.torch.load_file(path)  # pyright: ignore[reportUnknownMemberType]


def _write_official(network: Network, path: Path, asked: Conversion) -> None:
    torch.save(to_official(network), path)


def _write_hf(network: Network, path: Path, asked: Conversion) -> None:
    """Writes the folder, with what Hugging Face's image processor needs to feed it."""
    described, tensors = to_hugging_face(network, Part(f"{asked.encoder}_encoder"))
    height, width = network.image_size
    pictures = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": network.config.pixel_mean,
        "image_std": network.config.pixel_std,
    }
    path.mkdir()
    for name, content in (("config.json", described), ("preprocessor_config.json", pictures)):
        (path / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    safetensors.torch.save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})  # pyright: ignore[reportUnknownMemberType]


def _write_engram(network: Network, path: Path, asked: Conversion) -> None:
    network.save(path)


_WRITERS: dict[Format, Callable[[Network, Path, Conversion], None]] = {
    Format.OFFICIAL: _write_official,
    Format.HF: _write_hf,
    Format.ENGRAM: _write_engram,
}
