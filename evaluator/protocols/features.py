"""From pictures to the read-outs of a frozen encoder, kept on disk so that nothing is encoded twice.

Shapes: N pictures, B pictures a batch, J last layers, D width of a layer, H×W pixels.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from enum import StrEnum
from hashlib import blake2b
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from common.ijepa.model import mixed_precision
from evaluator.encoders import Pixels
from evaluator.protocols.images import ImageFolder

LAYERS = 4
"""Last layers that are kept (I-JEPA, appendix A: "concatenation of the last 4 layers")."""

SHARD = 512
"""Pictures in one file of the cache: what a kill can cost."""

_AHEAD = 2
"""Batches that are decoded while one is encoded."""

type Watch = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is; may raise to stop."""

type Decode = Callable[[int], NDArray[np.uint8]]
"""Reads the picture of this number, uint8 [H, W, 3]."""


class Readout(StrEnum):
    """Which vector stands for a picture."""

    LAST = "last"
    """Patch tokens of the last layer, averaged."""
    LAST4 = "last4"
    """The same of each of the last four layers, one after the other."""

    def take[A: (Tensor, NDArray[np.float32])](self, layers_NJD: A) -> A:
        """Takes the read-out from the layers: [N, D] or [N, J·D]."""
        return layers_NJD[:, -1] if self is Readout.LAST else layers_NJD.reshape(len(layers_NJD), -1)


def readouts(layers: int) -> tuple[Readout, ...]:
    """The read-outs that differ for an encoder with so many layers kept."""
    return (Readout.LAST,) if layers == 1 else tuple(Readout)


class Layered(Protocol):
    """An encoder whose last layers can be read."""

    def pooled_layers(self, frames_BHWC: Tensor, count: int, /) -> Tensor:
        """Encodes uint8 [B, H, W, 3] to the mean tokens of the last layers (pooled_BJD, J ≤ `count`)."""
        ...


class PixelLayers:
    """The 8×8 picture as an encoder of one layer."""

    def pooled_layers(self, frames_BHWC: Tensor, count: int, /) -> Tensor:
        """Shrinks uint8 [B, H, W, 3] to float32 [B, 1, 192]."""
        return Pixels().pooled(frames_BHWC)[:, None]


def encoded(
    encoder: Layered, indices: Sequence[int], decode: Decode, *, batch: int, device: torch.device
) -> Iterator[Tensor]:
    """Encodes pictures in order, decoding the next ones meanwhile: layers_BJD, float32, on the device."""
    batches = [indices[start : start + batch] for start in range(0, len(indices), batch)]
    for frames_BHWC in _decoded(batches, decode):
        with torch.no_grad(), mixed_precision(device):
            layers_BJD = encoder.pooled_layers(torch.as_tensor(frames_BHWC, device=device), LAYERS)
        yield layers_BJD.float()


def _decoded(batches: Iterable[Sequence[int]], decode: Decode) -> Iterator[NDArray[np.uint8]]:
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        waiting: deque[list[Future[NDArray[np.uint8]]]] = deque()
        try:
            for indices in batches:
                waiting.append([pool.submit(decode, index) for index in indices])
                if len(waiting) > _AHEAD:
                    yield np.stack([future.result() for future in waiting.popleft()])
            while waiting:
                yield np.stack([future.result() for future in waiting.popleft()])
        finally:
            pool.shutdown(cancel_futures=True)


def cache_key(weights: str, folder: ImageFolder, **settings: object) -> str:
    """Names features by what they depend on: weights, files, and how both are used; 16 hexadecimal digits.

    Args:
        weights: Hash of the encoder and its sizes.
        folder: The pictures.
        **settings: The rest, JSON-able.
    """
    text = json.dumps([weights, LAYERS, folder.identity(), settings], sort_keys=True)
    return blake2b(text.encode(), digest_size=8).hexdigest()


def cached_features(
    encoder: Layered, folder: ImageFolder, decode: Decode, *, home: Path, batch: int, device: torch.device, watch: Watch
) -> NDArray[np.float32]:
    """Encodes all pictures of a folder, or reads what an earlier call has left.

    Args:
        encoder: The encoder, on `device`.
        folder: The pictures.
        decode: How one is read.
        home: Folder of these very features (`cache_key`); shards of 512 pictures appear there whole, so that a call
            that was killed is gone on with.
        batch: Pictures at a time.
        device: Where to encode.
        watch: Told the number of pictures done.

    Returns:
        float32 [N, J, D], in the order of the folder.

    Raises:
        ImageError: A picture cannot be read.
    """
    home.mkdir(parents=True, exist_ok=True)
    parts: list[NDArray[np.float32]] = []
    for start in range(0, len(folder), SHARD):
        indices = range(start, min(start + SHARD, len(folder)))
        path = home / f"{start:08d}.safetensors"
        part = _load(path, len(indices))
        if part is None:
            done, found = start, list[NDArray[np.float32]]()
            for layers_BJD in encoded(encoder, indices, decode, batch=batch, device=device):
                found.append(layers_BJD.cpu().numpy())
                done += len(layers_BJD)
                watch("encoding", done, len(folder))
            part = np.concatenate(found)
            partial = path.with_suffix(".part")
            save_file({"layers_BJD": part}, partial)
            partial.replace(path)
        watch("encoding", indices.stop, len(folder))
        parts.append(part)
    return np.concatenate(parts)


def _load(path: Path, count: int) -> NDArray[np.float32] | None:
    """Reads a shard; None where there is none, or a damaged one."""
    try:
        found = cast(Mapping[str, NDArray[np.float32]], load_file(path))["layers_BJD"]
    except (OSError, KeyError, SafetensorError):
        return None
    return found if len(found) == count else None
