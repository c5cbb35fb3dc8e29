"""Health of the network itself: units that sleep, features before the last norm, the size of weights.

Shapes: N frames, B frames a batch, L tokens, D features, U hidden units of one layer.
"""

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from common.ijepa.model import IJepa
from common.ijepa.vit import VisionTransformer

DORMANT = 0.025
"""A unit is dormant when its activation is at most this share of its layer's mean (Sokar et al. 2023,
arXiv:2302.12902, definition 3.1, τ of their experiments)."""


class Watch:
    """Listens to an encoder while it encodes: what its hidden units do, and its features before the last norm.

    Use as a context manager around the encoding; outside it costs nothing.

    Args:
        encoder: The network that will be called.
    """

    def __init__(self, encoder: VisionTransformer) -> None:
        self._encoder = encoder
        self._hooks: list[RemovableHandle] = []
        self._before: list[NDArray[np.float32]] = []
        self._sums: dict[int, Tensor] = {}

    def __enter__(self) -> Self:
        self._hooks.append(self._encoder.norm.register_forward_pre_hook(self._note_before))
        for index, block in enumerate(self._encoder.blocks):
            hidden: Any = block.get_submodule("mlp.fc2")
            self._hooks.append(hidden.register_forward_pre_hook(self._noting(index)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()

    def before_ND(self) -> NDArray[np.float32]:
        """Features of the frames encoded so far, pooled over their patches before the last norm: float32 [N, D]."""
        return np.concatenate(self._before)

    def dormant_units(self, threshold: float = DORMANT) -> float:
        """Share of the MLPs' hidden units that are dormant.

            s_u = mean |h_u| over tokens and frames ÷ mean over the units of the layer;   dormant: s_u ≤ τ

        Sokar et al. 2023, definition 3.1. h is taken behind GELU, which lets a little through below zero: a unit whose
        input stays far below rests at 0 like a dead ReLU's. A layer that says nothing at all counts as dormant.
        """
        asleep = [(sum_U <= threshold * sum_U.mean()).double().mean() for sum_U in self._sums.values()]
        return float(torch.stack(asleep).mean())

    def _note_before(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._before.append(inputs[0].float().mean(1).cpu().numpy())

    def _noting(self, index: int) -> Any:
        def note(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            sum_U = inputs[0].detach().float().abs().flatten(0, -2).sum(0)
            self._sums[index] = self._sums[index] + sum_U if index in self._sums else sum_U

        return note


@torch.no_grad()
def weight_magnitude(module: nn.Module) -> float:
    """Mean |w| over all parameters; grows as a network stiffens (Dohare et al. 2024, Nature 632)."""
    parameters = list(module.parameters())
    total = torch.stack([parameter.abs().sum(dtype=torch.float64) for parameter in parameters]).sum()
    return float(total) / sum(parameter.numel() for parameter in parameters)


@torch.no_grad()
def target_distance(model: IJepa) -> float:
    """How far the target encoder is behind: ‖θ_target − θ_context‖₂ ÷ ‖θ_context‖₂ over all parameters."""
    target, context = list(model.target_encoder.parameters()), list(model.context_encoder.parameters())
    apart = _squares(old - new for old, new in zip(target, context, strict=True))
    return float((apart / _squares(context)).sqrt())


def _squares(tensors: Iterable[Tensor]) -> Tensor:
    return torch.stack([tensor.double().square().sum() for tensor in tensors]).sum()
