"""Parameters of any pamiq-core model on their way from the trainers to the actors.

    trainer.sync_models() ─► snapshot() ─► ModelBoard ─► ModelSource.newer() ─► restore(), model.sync()

Models of torch travel as safetensors in their own precision. Any other model travels as the files that it saves, which
the actor's own model loads: only its code knows what they mean.
"""

from collections.abc import Mapping
from typing import Any, Protocol, cast

import safetensors
import safetensors.torch
from pamiq_core.model import TrainingModel
from pamiq_core.torch import TorchTrainingModel
from torch import Tensor

from common import saved_files
from common.errors import WireError

_TENSORS, _FILES = b"T", b"F"
_NAME = "model"


class ModelSink(Protocol):
    """Where trainers bring new parameters."""

    def publish(self, name: str, version: int, state: bytes) -> None:
        """Returns once they can be had."""
        ...


class ModelSource(Protocol):
    """Where actors get them."""

    def newer(self, versions: Mapping[str, int], wait: float) -> Mapping[str, tuple[int, bytes]]:
        """Gives the newest version and state of each model that has a newer one than named; waits so many seconds."""
        ...


def snapshot(model: TrainingModel[Any]) -> bytes:
    """Copies the parameters of a model."""
    if isinstance(model, TorchTrainingModel):
        state = cast(TorchTrainingModel[Any], model).model.state_dict()
        if all(isinstance(value, Tensor) for value in state.values()):
            own = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in state.items()}
            return _TENSORS + safetensors.torch.save(own)
    return _FILES + saved_files.pack(saved_files.save(model.save_state, _NAME))


def holds_tensors(state: bytes) -> bool:
    """Says whether a state is of a torch model and nothing but tensors, so that no code of a model reads it."""
    return state[:1] == _TENSORS


def restore(model: TrainingModel[Any], state: bytes) -> None:
    """Sets the parameters of a model that was made as the other one was; those that act follow by `model.sync()`.

    Raises:
        WireError: They are damaged, or those of another model; nothing is changed then.
    """
    kind, content = state[:1], state[1:]
    if kind == _TENSORS:
        own = cast(TorchTrainingModel[Any], model).model
        try:
            tensors = safetensors.torch.load(content)
        except safetensors.SafetensorError as error:
            raise WireError(f"a model's parameters cannot be read: {error}") from None
        shapes = {name: tuple(value.shape) for name, value in own.state_dict().items()}
        found = {name: tuple(value.shape) for name, value in tensors.items()}
        if odd := sorted(name for name in shapes.keys() | found.keys() if shapes.get(name) != found.get(name)):
            raise WireError(f"parameters of another model: {odd[0]} is {found.get(odd[0])}, not {shapes.get(odd[0])}")
        own.load_state_dict(tensors)
    else:
        saved_files.load(model.load_state, _NAME, saved_files.unpack(content))
