"""Where the network is trained, and how its frames get there."""

import re

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.errors import ConfigError

_DEPTH = 2
"""Batches in pinned memory: one is on its way to the device while the host fills the other."""


def choose_device(name: str) -> torch.device:
    """Turns the config's `auto`, `cpu` or `cuda:N` into a device.

    On a GPU the few products that autocast leaves in float32 may round their factors to TF32.

    Raises:
        ConfigError: It is none of these, or not here.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", name):
        raise ConfigError("device", name, "must be auto, cpu, cuda or cuda:N")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cpu":
        if int(name.partition(":")[2] or 0) >= torch.cuda.device_count():
            found = f"is not here: {torch.cuda.device_count()} GPUs; auto takes one where there is one"
            raise ConfigError("device", name, found)
        torch.backends.cuda.matmul.fp32_precision = "tf32"
    return torch.device(name)


class Staging:
    """Takes batches of frames to a device, on a GPU without a wait of the host and beside the work of the step before.

    A copy from pageable memory makes the host wait until it is done. So a batch goes into one of two pinned buffers,
    and from there to the device on a stream of its own, which the training stream waits for. The host waits only where
    the copy out of the buffer that it wants to fill again, two batches ago, is still under way.

    Args:
        device: Where the frames should go.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._buffers: list[_Pinned] = []
        self._turn = 0
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, frames_BHWC: NDArray[np.uint8]) -> Tensor:
        """Starts to copy a batch (uint8) and returns it on the device, ready for what is launched next."""
        frames = torch.from_numpy(frames_BHWC)  # pyright: ignore[reportUnknownMemberType]
        if self._stream is None:
            return frames
        self._buffers = self._buffers or [_Pinned(frames.shape) for _ in range(_DEPTH)]
        self._turn = (self._turn + 1) % _DEPTH
        training = torch.cuda.current_stream(self._device)
        moved = self._buffers[self._turn].send(frames, self._stream)
        training.wait_stream(self._stream)
        # The allocator must not give these bytes to the copy stream again before the step has read them.
        moved.record_stream(training)
        return moved


class _Pinned:
    """A buffer that the device can read by itself."""

    def __init__(self, shape: torch.Size) -> None:
        self._frames = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        self._sent = torch.cuda.Event()

    def send(self, frames_BHWC: Tensor, stream: torch.cuda.Stream) -> Tensor:
        """Copies frames on a stream, after a wait for the copy before."""
        self._sent.synchronize()
        self._frames.copy_(frames_BHWC)
        with torch.cuda.stream(stream):
            moved = self._frames.to(stream.device, non_blocking=True)
            self._sent.record(stream)
        return moved
