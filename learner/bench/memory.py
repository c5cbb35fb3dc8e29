"""How much memory a step takes."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


class StepMemory:
    """Measures the memory of one implementation, whatever else is in the process.

    On a GPU: the most that is allocated at one moment of a step, parameters and optimiser included. On a CPU, where
    torch keeps no such count: bytes of the tensors that the way back needs of the way forth, each storage once,
    parameters left out.

    Args:
        device: Where the work is done. To be made before the implementation is.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        self._own = 0

    @property
    def what(self) -> str:
        """What the number is, in words."""
        return "peak on the device" if self._device.type == "cuda" else "kept for the way back"

    def settled(self) -> None:
        """Says that the implementation has done its first steps and that all it keeps is there."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            self._own = torch.cuda.memory_allocated(self._device) - self._before

    def of(self, step: Callable[[], object], parameters: Iterable[Tensor]) -> int:
        """Does a step; returns bytes."""
        if self._device.type != "cuda":
            return _kept(step, parameters)
        torch.cuda.synchronize(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        step()
        torch.cuda.synchronize(self._device)
        return self._own + torch.cuda.max_memory_allocated(self._device) - before


def _kept(step: Callable[[], object], parameters: Iterable[Tensor]) -> int:
    known = {value.untyped_storage().data_ptr() for value in parameters}
    kept: dict[int, int] = {}

    def note(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
        step()
    return sum(kept.values())
