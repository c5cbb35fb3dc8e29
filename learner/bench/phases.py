"""Where the time of a step goes: marks at the seams of a step that is otherwise left as it is."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from common.ijepa.model import IJepa


class Phase(StrEnum):
    """A stretch of a step, in the order of a step."""

    FRAMES = "frames to device"
    MASKS = "masks"
    TARGET = "target forward"
    FORWARD = "context and predictor forward"
    LOSS = "loss and regulariser"
    BACKWARD = "backward, gradient norm"
    OPTIMISER = "optimiser"
    AVERAGE = "target average"


class PhaseClock:
    """Adds up the time between marks, each stretch under the name of the phase that ends there.

    On a GPU marks are events in the stream of the work, read after the step, so that the host does not wait within it.

    Args:
        device: Where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._events = device.type == "cuda"
        self._marks: list[tuple[Phase | None, Any]] = []

    def start(self) -> None:
        """Begins a step."""
        self._marks = [(None, self._now())]

    def mark(self, phase: Phase) -> None:
        """Ends a phase."""
        self._marks.append((phase, self._now()))

    @property
    def last(self) -> Phase | None:
        """The phase that ended last."""
        return self._marks[-1][0]

    def read(self) -> dict[Phase, float]:
        """Seconds of each phase of the step; waits for the device."""
        if self._events:
            torch.cuda.synchronize()
        seconds = dict.fromkeys(Phase, 0.0)
        for (_, before), (phase, after) in zip(self._marks, self._marks[1:], strict=False):
            assert phase is not None
            seconds[phase] += before.elapsed_time(after) / 1e3 if self._events else after - before
        return seconds

    def _now(self) -> Any:
        if not self._events:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


@contextmanager
def watching(model: IJepa, clock: PhaseClock) -> Generator[None]:
    """Marks the seams of the steps within: calls of the networks, the way back, the optimiser."""

    def marks(phase: Phase) -> Callable[..., None]:
        return lambda *_: clock.mark(phase)

    def begin(_module: nn.Module, _inputs: Any) -> None:
        if clock.last is Phase.LOSS:  # of the part before, where a batch is cut into parts
            clock.mark(Phase.BACKWARD)

    handles: list[RemovableHandle] = [
        model.target_encoder.register_forward_pre_hook(begin),
        model.target_encoder.register_forward_hook(marks(Phase.TARGET)),
        model.predictor.register_forward_hook(marks(Phase.FORWARD)),
        model.predictor.register_full_backward_pre_hook(marks(Phase.LOSS)),
        register_optimizer_step_pre_hook(marks(Phase.BACKWARD)),
        register_optimizer_step_post_hook(marks(Phase.OPTIMISER)),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
