"""Processes that train one network together, and the one that trains alone.

Every rank holds the whole network and draws its own share of the stream. Gradients are averaged by torch's
DistributedDataParallel while the backward pass goes on; what else must be the same everywhere goes through here:
tensors of a step on the training device, and what hosts tell each other (`each`, `collect`) on the CPU, so that no host
waits for a device because of it. All ranks make the same calls in the same order, each from one thread.

Shape suffixes: B pictures of a rank, R pictures of all ranks, D width.
"""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import override

import numpy as np
import torch
import torch.distributed as dist
from numpy.random import SeedSequence
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather  # pyright: ignore[reportUnknownVariableType]
from torch.nn.parallel import DistributedDataParallel

from common.cohort import of_member


def part_name(rank: int, member: str = "") -> str:
    """Name of a rank among the parts of a run: `learner` for the first, `learner-1` for the next.

    Args:
        rank: Its number.
        member: Whose learner it is, where several train on one stream.
    """
    return of_member(f"learner-{rank}" if rank else "learner", member)


class Ranks:
    """One process that trains alone.

    Attributes:
        rank: Number of this process, from 0.
        count: How many there are.
        waited: Seconds that this host has waited for what the others had to say.
    """

    def __init__(self) -> None:
        self.rank = 0
        self.count = 1
        self.waited = 0.0

    @property
    def first(self) -> bool:
        """Whether this is the rank that speaks for all: it publishes, judges, and decides what only one can."""
        return self.rank == 0

    def each(self, *numbers: int) -> Sequence[Sequence[int]]:
        """Tells the others some numbers (int64): what each rank said, in their order."""
        return (numbers,)

    def collect(self, message: bytes) -> list[bytes]:
        """Tells the others something of any length: what each rank said, in their order."""
        return [message]

    def all(self, *wishes: bool) -> tuple[bool, ...]:
        """Of each wish, whether all ranks have it."""
        return tuple(map(all, zip(*self.each(*wishes), strict=True)))

    def lead(self, *numbers: int) -> Sequence[int]:
        """The first rank's numbers, for all."""
        return self.each(*numbers)[0]

    def seed(self, seed: int) -> int:
        """Seed of what each rank draws for itself, from the seed of the run."""
        return seed

    def wrap(self, objective: nn.Module) -> nn.Module:
        """Makes a module whose backward pass leaves the mean gradient of all ranks."""
        return objective

    def quiet(self, wrapped: nn.Module) -> AbstractContextManager[None]:
        """Backward passes within leave each rank its own gradient, which the next one outside takes along."""
        return nullcontext()

    def gather(self, rows_BD: Tensor) -> Tensor:
        """Puts the rows of all ranks together (rows_RD), with gradient."""
        return rows_BD

    def average(self, values: Tensor) -> Tensor:
        """Averages over the ranks, without gradient."""
        return values

    def agree(self, condition: Tensor) -> Tensor:
        """True where the bool scalar is true on all ranks."""
        return condition

    def common(self, value: float) -> float:
        """The first rank's value, for all; with several ranks the host waits for it."""
        return value


class DistributedRanks(Ranks):
    """The ranks of torch's default process group, which must have been initialised.

    Each rank draws masks of its own and keeps their state for itself; all else that a step leaves behind is the same on
    all ranks, to the bit.

    Args:
        device: Where the networks are.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.rank = dist.get_rank()
        self.count = dist.get_world_size()
        self._device = device

    @override
    def each(self, *numbers: int) -> Sequence[Sequence[int]]:
        began = time.monotonic()
        told = torch.empty(self.count * len(numbers), dtype=torch.int64)
        dist.all_gather_into_tensor(told, torch.tensor(numbers, dtype=torch.int64))
        self.waited += time.monotonic() - began
        numbers_RN: NDArray[np.int64] = told.view(self.count, -1).numpy()
        return numbers_RN.tolist()

    @override
    def collect(self, message: bytes) -> list[bytes]:
        sizes = [size for (size,) in self.each(len(message))]
        padded = torch.frombuffer(bytearray(message.ljust(max(1, *sizes), b"\0")), dtype=torch.uint8)
        told = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(told, padded)
        return [one[:size].numpy().tobytes() for one, size in zip(told, sizes, strict=True)]

    @override
    def seed(self, seed: int) -> int:
        return int(SeedSequence((seed, self.rank)).generate_state(1)[0]) if self.rank else seed

    @override
    def wrap(self, objective: nn.Module) -> nn.Module:
        # Buffers are constants, or counters that all ranks raise alike.
        return DistributedDataParallel(objective, broadcast_buffers=False)

    @override
    def quiet(self, wrapped: nn.Module) -> AbstractContextManager[None]:
        assert isinstance(wrapped, DistributedDataParallel)
        return wrapped.no_sync()

    @override
    def gather(self, rows_BD: Tensor) -> Tensor:
        return torch.cat(all_gather(rows_BD))  # pyright: ignore[reportUnknownArgumentType]

    @override
    def average(self, values: Tensor) -> Tensor:
        summed = values.clone()
        dist.all_reduce(summed)
        return summed / self.count

    @override
    def agree(self, condition: Tensor) -> Tensor:
        votes = condition.float()
        dist.all_reduce(votes, dist.ReduceOp.MIN)
        return votes > 0.5

    @override
    def common(self, value: float) -> float:
        shared = torch.tensor(value, dtype=torch.float64, device=self._device)
        dist.broadcast(shared, 0)
        return float(shared)
