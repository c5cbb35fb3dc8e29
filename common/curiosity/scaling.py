"""Features as networks like them: each dimension around 0, about as wide as 1, though the encoder moves on."""

from typing import override

import torch
from torch import Tensor, nn

_LEAST_STD = 1e-3


class RunningNorm(nn.Module):
    """Standardises by moving averages of mean and variance, which travel with the parameters.

    Args:
        dim: Numbers of a vector.
        momentum: Share of the old averages that an update keeps; the first takes what it is given.
    """

    def __init__(self, dim: int, momentum: float = 0.99) -> None:
        super().__init__()
        self._momentum = momentum
        self.mean: Tensor
        self.variance: Tensor
        self.updates: Tensor
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))
        self.register_buffer("updates", torch.zeros(()))

    @override
    def forward(self, vectors_ND: Tensor) -> Tensor:
        """Standardises vectors, float32 [..., D]."""
        return (vectors_ND - self.mean) / self.variance.sqrt().clamp_min(_LEAST_STD)

    @torch.no_grad()
    def update(self, vectors_ND: Tensor) -> None:
        """Takes vectors, float32 [N, D], into the averages; early ones count more, as in Adam's correction."""
        self.updates += 1
        fresh = (1 - self._momentum) / (1 - self._momentum**self.updates)
        mean = vectors_ND.mean(0)
        self.variance.lerp_((vectors_ND - self.mean.lerp(mean, fresh)).square().mean(0), fresh)
        self.mean.lerp_(mean, fresh)
