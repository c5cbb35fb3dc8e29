"""Policy and value: what to do, and how much is to be found from here on, given what is seen and remembered.

Shape suffixes: N vectors, D features, C width of the dynamics' hidden state, A heads.
"""

import math
from collections.abc import Sequence
from typing import override

import torch
from torch import Tensor, nn

from common.config.curiosity import PolicyConfig
from common.curiosity.controls import CHOICES
from common.curiosity.scaling import RunningNorm


class Choices:
    """Independent categorical distributions, one a head.

    Args:
        logits: Of each head, float32 [N, choices].
    """

    def __init__(self, logits: Sequence[Tensor]) -> None:
        self._logs = [head.log_softmax(-1) for head in logits]

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draws a choice of each head, int64 [N, A], on the CPU: a generator means the same whatever the device."""
        return torch.cat([torch.multinomial(log.exp().cpu(), 1, generator=generator) for log in self._logs], -1)

    def log_prob(self, choices_NA: Tensor, asked_NA: Tensor) -> Tensor:
        """Log-probability of a row's choices together, of those heads that were asked (bool [N, A]): float32 [N]."""
        found = [
            log.gather(-1, chosen.unsqueeze(-1)) for log, chosen in zip(self._logs, choices_NA.unbind(-1), strict=True)
        ]
        return (torch.cat(found, -1) * asked_NA).sum(-1)

    def entropy(self) -> Tensor:
        """Entropy, nats, float32 [N]."""
        return torch.stack([-(log.exp() * log).sum(-1) for log in self._logs], -1).sum(-1)


class PolicyValue(nn.Module):
    """Policy and value on one trunk.

    Args:
        config: Sizes.
        features: Numbers of a feature vector.
        memory: Width of the dynamics' hidden state.
    """

    def __init__(self, config: PolicyConfig, features: int, memory: int) -> None:
        super().__init__()
        self.norm = RunningNorm(features)
        self.trunk = nn.Sequential(
            nn.Linear(features + memory, config.dim), nn.Tanh(), nn.Linear(config.dim, config.dim), nn.Tanh()
        )
        self.heads = nn.Linear(config.dim, sum(CHOICES))
        self.value = nn.Linear(config.dim, 1)
        for module in self.trunk:
            if isinstance(module, nn.Linear):
                _orthogonal(module, math.sqrt(2))
        # Nearly even choices and values to begin with (Andrychowicz et al. 2021, arXiv:2006.05990).
        _orthogonal(self.heads, 0.01)
        _orthogonal(self.value, 0.01)

    @override
    def forward(self, features_ND: Tensor, memory_NC: Tensor) -> tuple[Choices, Tensor]:
        """Decides.

        Args:
            features_ND: Features as they were seen.
            memory_NC: Hidden state of the last layer of the forward dynamics before this step.

        Returns:
            The distributions of choices, and the value, float32 [N]: what normalised reward is expected, discounted.
        """
        trunk = self.trunk(torch.cat([self.norm(features_ND), memory_NC], -1))
        return Choices(self.heads(trunk).split(CHOICES, -1)), self.value(trunk).squeeze(-1)


def _orthogonal(layer: nn.Linear, gain: float) -> None:
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
