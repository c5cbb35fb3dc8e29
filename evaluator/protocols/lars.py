"""LARS: steps as long as each layer's weights warrant (You et al. 2017, "Large batch training", arXiv:1708.03888).

Shapes: H stacked models.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, override

import torch
from torch import Tensor
from torch.optim import Optimizer


class Lars(Optimizer):
    """Layer-wise adaptive rates with momentum.

        d ← ∇L + β w            q = η ‖w‖ ÷ ‖d‖, or 1 where a norm is zero or the parameter is not adapted
        m ← μ m + q d           w ← w − γ m

    This is algorithm 1 of the paper as VISSL has it, by which I-JEPA was evaluated: the norm of gradient and decay
    together, γ outside of the momentum. Many models of one shape can be stacked along the first axis of every
    parameter; each has norms, γ and β of its own.

    Args:
        params: Groups; one with `"adapt": False` holds biases and the affine parameters of norms, whose q is 1.
        lr: γ of each model, [H].
        weight_decay: β of each model, [H].
        momentum: μ.
        trust: η.
    """

    def __init__(
        self,
        params: Iterable[Mapping[str, Any]],
        *,
        lr: Tensor,
        weight_decay: Tensor,
        momentum: float = 0.9,
        trust: float = 0.001,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "trust": trust, "adapt": True}
        super().__init__([dict(group) for group in params], defaults)

    @override
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Makes one step; a closure is not supported."""
        assert closure is None, "LARS needs one gradient only"
        for group in self.param_groups:
            for weight in group["params"]:
                each = (-1,) + (1,) * (weight.ndim - 1)
                step = weight.grad + group["weight_decay"].view(each) * weight
                if group["adapt"]:
                    weight_H, step_H = weight.flatten(1).norm(dim=1), step.flatten(1).norm(dim=1)
                    ratio_H = group["trust"] * weight_H / step_H
                    step *= torch.where((weight_H > 0) & (step_H > 0), ratio_H, 1.0).view(each)
                state = self.state[weight]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].mul_(group["momentum"]).add_(step)
                weight.sub_(group["lr"].view(each) * state["momentum"])
