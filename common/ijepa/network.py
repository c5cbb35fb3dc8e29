"""A network in a file of its own: parameters, and what is needed to build it again.

The file is safetensors. Tensors have the names of `IJepa.state_dict()`, float32; the file's metadata hold, under
`engram`, a JSON object with the schema, the `ModelConfig` and the size of the pictures. Either all three parts are
there or the target encoder alone.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from common.config.model import ModelConfig
from common.errors import CheckpointError
from common.ijepa.model import IJepa
from common.ijepa.vit import VisionTransformer

SCHEMA = 1
METADATA = "engram"
_LISTED = 12
"""Names of each kind that an error lists before it only counts."""


class Part(StrEnum):
    """One of the three networks, by its name in the state."""

    CONTEXT = "context_encoder"
    PREDICTOR = "predictor"
    TARGET = "target_encoder"


@dataclass(frozen=True, kw_only=True)
class Network:
    """Parameters that fit their sizes: all three parts, or the target encoder alone.

    Attributes:
        config: Sizes. Where the predictor is not here, its sizes are those it would get.
        image_size: Height and width of a picture, pixels.
        tensors: Parameters under the names of `IJepa.state_dict()`, float32.

    Raises:
        CheckpointError: Parameters are missing, surplus or of the wrong shape.
        ConfigError: The patch does not divide the picture.
    """

    config: ModelConfig
    image_size: tuple[int, int]
    tensors: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        require_fit(self.tensors, blank(self.config, self.image_size, self.parts), "the network")

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is here: all parts, or the target encoder alone."""
        alone = all(name.startswith(f"{Part.TARGET}.") for name in self.tensors)
        return (Part.TARGET,) if alone else tuple(Part)

    def part(self, part: Part) -> dict[str, Tensor]:
        """Parameters of one part, under its own names; empty where it is not here."""
        return {name.partition(".")[2]: tensor for name, tensor in self.tensors.items() if name.startswith(f"{part}.")}

    def resized(self, image_size: tuple[int, int]) -> "Network":
        """The same parameters for pictures of another size; the positions they know are stretched over the new grid.

        Raises:
            ConfigError: The patch does not divide the picture.
        """
        known, grid = self.config.position_grid, self.config.grid(self.image_size)
        origin = grid if known == (0, 0) else known
        position_grid = (0, 0) if self.config.grid(image_size) == origin else origin
        return replace(self, image_size=image_size, config=replace(self.config, position_grid=position_grid))

    def with_fresh_predictor(self, seed: int) -> "Network":
        """All three parts: the target encoder's parameters in both encoders, and an untrained predictor."""
        encoder = self.part(Part.TARGET)
        fresh = IJepa(self.config, self.image_size, seed=seed).predictor.state_dict()
        parts = {Part.CONTEXT: encoder, Part.PREDICTOR: fresh, Part.TARGET: encoder}
        tensors = {f"{part}.{name}": tensor.clone() for part, state in parts.items() for name, tensor in state.items()}
        return replace(self, tensors=tensors)

    def encoder(self) -> VisionTransformer:
        """Builds the target encoder."""
        encoder = VisionTransformer(self.config, self.image_size)
        encoder.load_state_dict(self.part(Part.TARGET))
        return encoder

    def build(self) -> IJepa:
        """Builds all three parts.

        Raises:
            CheckpointError: Only the target encoder is here.
        """
        if self.parts != tuple(Part):
            raise CheckpointError("the network is a target encoder alone: it cannot be trained without a predictor")
        model = IJepa(self.config, self.image_size, seed=0)
        model.load_state_dict(self.tensors)
        return model

    def save(self, path: Path) -> None:
        """Writes the file."""
        described = {"v": SCHEMA, "model": asdict(self.config), "image_size": self.image_size}
        metadata = {"format": "pt", METADATA: json.dumps(described)}
        tensors = {name: tensor.detach().float().contiguous() for name, tensor in self.tensors.items()}
        safetensors.torch.save_file(tensors, path, metadata=metadata)  # pyright: ignore[reportUnknownMemberType]

    @classmethod
    def load(cls, path: Path) -> "Network":
        """Reads the file.

        Raises:
            CheckpointError: It is missing, damaged, of another schema, or what it holds does not fit what it says.
        """
        try:
            with safe_open(path, "pt") as file:  # pyright: ignore[reportUnknownVariableType]
                metadata = cast(dict[str, str], file.metadata() or {})  # pyright: ignore[reportUnknownMemberType]
            if METADATA not in metadata:
                raise CheckpointError(f"{path} does not say what it holds: its metadata lack {METADATA!r}")
            described: dict[str, Any] = json.loads(metadata[METADATA])
            if described.get("v") != SCHEMA:
                raise CheckpointError(f"{path}: schema {described.get('v')!r} is unknown; {SCHEMA} is allowed")
            sizes: dict[str, Any] = described["model"]
            pairs: dict[str, Any] = {
                name: tuple(cast(list[Any], value)) for name, value in sizes.items() if isinstance(value, list)
            }
            height, width = described["image_size"]
            tensors = safetensors.torch.load_file(path)  # pyright: ignore[reportUnknownMemberType]
            return cls(config=ModelConfig(**(sizes | pairs)), image_size=(height, width), tensors=tensors)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            raise CheckpointError(f"{path} cannot be read ({type(error).__name__}: {error})") from error


def blank(config: ModelConfig, image_size: tuple[int, int], parts: Iterable[Part] = tuple(Part)) -> dict[str, Tensor]:
    """The state of a network of these sizes, as tensors without values (device `meta`)."""
    with torch.device("meta"):
        state = IJepa(config, image_size).state_dict()
    return {name: tensor for name, tensor in state.items() if name.partition(".")[0] in set(parts)}


def require_fit(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: str) -> None:
    """Makes sure that names and shapes agree, each with each.

    Args:
        found: Tensors that are there.
        wanted: Tensors that there should be; only their shapes are looked at.
        where: What is being read, for the error.

    Raises:
        CheckpointError: They do not; the error lists what is missing, surplus, of the wrong shape, and not of numbers.
    """
    complaints = {
        "missing": sorted(wanted.keys() - found.keys()),
        "surplus": sorted(found.keys() - wanted.keys()),
        "wrong shape": [
            f"{name} {tuple(found[name].shape)} instead of {tuple(wanted[name].shape)}"
            for name in sorted(found.keys() & wanted.keys())
            if found[name].shape != wanted[name].shape
        ],
        "no floating-point numbers": sorted(name for name, tensor in found.items() if not tensor.is_floating_point()),
    }
    lists: list[str] = []
    for kind, names in complaints.items():
        if names:
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            lists.append(f"{kind}: {', '.join(names[:_LISTED])}{more}")
    if lists:
        raise CheckpointError(f"{where} does not fit: {'; '.join(lists)}")
