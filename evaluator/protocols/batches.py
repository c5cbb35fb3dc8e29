"""What linear heads are trained on, epoch by epoch: cached features, or new random crops each time.

Shapes: N pictures, B of a batch, J layers, D features.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluator.protocols.features import Layered, encoded


class Batches(Protocol):
    """Where training features come from."""

    def epoch(self, number: int, /) -> Iterator[tuple[Tensor, Tensor]]:
        """Gives the batches of an epoch: layers_BJD and label_B, on the device; the same ones for the same number."""
        ...


class CachedBatches:
    """The same features in each epoch, in another order.

    Args:
        layers_NJD: Features of the training pictures, in memory.
        label_N: Their classes, int64.
        steps: Batches an epoch.
        device: Where batches are wanted.
        seed: Of the order.
    """

    def __init__(self, layers_NJD: Tensor, label_N: Tensor, *, steps: int, device: torch.device, seed: int) -> None:
        self._layers_NJD, self._label_N = layers_NJD, label_N
        self._steps, self._device, self._seed = steps, device, seed

    def epoch(self, number: int, /) -> Iterator[tuple[Tensor, Tensor]]:
        """Gives the batches of an epoch."""
        for chosen in orders(len(self._label_N), self._steps, seed=self._seed, epoch=number):
            index_B = torch.as_tensor(chosen)
            yield self._layers_NJD[index_B].to(self._device), self._label_N[index_B].to(self._device)


class AugmentedBatches:
    """New random crops of every picture in each epoch, encoded as they come.

    Args:
        encoder: The encoder, on `device`.
        index_N: Numbers of the training pictures.
        label_N: Their classes, int64.
        decode: From the number of a picture and a generator to a random part of it, uint8 [H, W, 3].
        steps: Batches an epoch.
        encoded_at_once: Pictures that go through the encoder together.
        device: Where.
        seed: Of the order and the crops.
    """

    def __init__(
        self,
        encoder: Layered,
        index_N: NDArray[np.int64],
        label_N: Tensor,
        decode: Callable[[int, np.random.Generator], NDArray[np.uint8]],
        *,
        steps: int,
        encoded_at_once: int,
        device: torch.device,
        seed: int,
    ) -> None:
        self._encoder, self._index_N, self._label_N, self._decode = encoder, index_N, label_N, decode
        self._steps, self._at_once, self._device, self._seed = steps, encoded_at_once, device, seed

    def epoch(self, number: int, /) -> Iterator[tuple[Tensor, Tensor]]:
        """Gives the batches of an epoch.

        Raises:
            ImageError: A picture cannot be read.
        """
        parts = orders(len(self._index_N), self._steps, seed=self._seed, epoch=number)
        sequence: list[int] = self._index_N[np.concatenate(parts)].tolist()

        def decode(index: int) -> NDArray[np.uint8]:
            return self._decode(index, np.random.default_rng([self._seed, number, index]))

        stream = encoded(self._encoder, sequence, decode, batch=self._at_once, device=self._device)
        held_BJD = next(stream)
        for chosen in parts:
            while len(held_BJD) < len(chosen):
                held_BJD = torch.cat([held_BJD, next(stream)])
            yield held_BJD[: len(chosen)], self._label_N[torch.as_tensor(chosen)].to(self._device)
            held_BJD = held_BJD[len(chosen) :]


def orders(count: int, steps: int, *, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Deals all pictures into `steps` batches whose sizes differ by at most one."""
    return np.array_split(np.random.default_rng([seed, epoch]).permutation(count), steps)
