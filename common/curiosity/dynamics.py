"""Forward dynamics: what will be seen next, given what was seen and done; a distribution, learned with its width.

    features ─► norm ─┬─► ⊕ action ─► GRU layers (residual) ─► change, log width ─┐
                      └───────────────────────────────────────────────────────────⊕─► Normal(next features)

Shape suffixes: B rollouts, N vectors, T steps, D features, A heads, L layers, C width.
"""

import math
from typing import NamedTuple, override

import torch
from torch import Tensor, nn
from torch.nn import functional

from common.config.curiosity import DynamicsConfig
from common.curiosity.controls import CHOICES
from common.curiosity.scaling import RunningNorm

_LOG_STD = (-4.0, 2.0)
"""Bounds of the learned width: a narrower one would make one surprise outweigh everything."""
_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class Foreseen(NamedTuple):
    """A normal distribution of standardised features, each dimension by itself.

    Attributes:
        mean: float32 [..., D].
        log_std: Logarithm of the standard deviation, float32 [..., D].
    """

    mean: Tensor
    log_std: Tensor

    def surprise(self, came: Tensor) -> Tensor:
        """Negative log-likelihood of what came, float32 [..., D], in nats a dimension: float32 [...]."""
        deviation = (came - self.mean) * (-self.log_std).exp()
        return (0.5 * deviation.square() + self.log_std + _HALF_LOG_TAU).mean(-1)

    def error(self, came: Tensor) -> Tensor:
        """Mean squared error of the mean: float32 [...]."""
        return (came - self.mean).square().mean(-1)


class ForwardDynamics(nn.Module):
    """Predicts the next features.

    Args:
        config: Sizes.
        features: Numbers of a feature vector.
    """

    def __init__(self, config: DynamicsConfig, features: int) -> None:
        super().__init__()
        dim = config.dim
        self.norm = RunningNorm(features)
        self.enter = nn.Linear(features + sum(CHOICES), dim)
        self.layers = nn.ModuleList(nn.GRU(dim, dim, batch_first=True) for _ in range(config.depth))
        self.leave = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, 2 * features))
        self.hidden_shape = (config.depth, dim)
        """Shape of one hidden state."""

    @override
    def forward(self, seen_BTD: Tensor, actions_BTA: Tensor, hidden_BLC: Tensor) -> tuple[Foreseen, Tensor]:
        """Goes through steps in order.

        Args:
            seen_BTD: Standardised features (`norm`), seen or foreseen.
            actions_BTA: Choice of each head, int64.
            hidden_BLC: Hidden state before the first.

        Returns:
            What comes after each step, [B, T, D], and the hidden state after each, [B, T, L, C].
        """
        heads = [
            functional.one_hot(chosen, count) for chosen, count in zip(actions_BTA.unbind(-1), CHOICES, strict=True)
        ]
        stream_BTC = functional.silu(self.enter(torch.cat([seen_BTD, *heads], -1)))
        hiddens: list[Tensor] = []
        for layer, first_BC in zip(self.layers, hidden_BLC.unbind(1), strict=True):
            out_BTC, _ = layer(stream_BTC, first_BC.unsqueeze(0).contiguous())
            hiddens.append(out_BTC)
            stream_BTC = stream_BTC + out_BTC
        change_BTD, log_std_BTD = self.leave(stream_BTC).chunk(2, -1)
        return Foreseen(seen_BTD + change_BTD, log_std_BTD.clamp(*_LOG_STD)), torch.stack(hiddens, 2)

    def loss(
        self, features_BSD: Tensor, actions_BTA: Tensor, hidden_BLC: Tensor, true_BT: Tensor, imagination: int
    ) -> tuple[Tensor, Tensor]:
        """Surprise at what came, after one step and after more that were only imagined.

        Args:
            features_BSD: Features as they were seen; S = T + 1.
            actions_BTA: What was done at each but the last, int64.
            hidden_BLC: Hidden state at the first.
            true_BT: Whether the step from one to the next was one of the world; others are left out.
            imagination: Steps foreseen in a row, 1 to T.

        Returns:
            The mean over steps foreseen, and the surprise after 1 … `imagination` steps, float32 [imagination].
        """
        seen_BSD = self.norm(features_BSD)
        steps = actions_BTA.shape[1]
        foreseen, hidden_BTLC = self(seen_BSD[:, :-1], actions_BTA, hidden_BLC)
        surprises = [_mean(foreseen.surprise(seen_BSD[:, 1:]), true_BT)]
        true_BK = true_BT
        for ahead in range(1, imagination):
            left = steps - ahead
            imagined_NTD = foreseen.mean[:, :left].flatten(0, 1).unsqueeze(1)
            hidden_NLC = hidden_BTLC[:, :left].flatten(0, 1)
            foreseen_N, hidden_NTLC = self(imagined_NTD, actions_BTA[:, ahead:].flatten(0, 1).unsqueeze(1), hidden_NLC)
            foreseen = Foreseen(*(one.view(-1, left, one.shape[-1]) for one in foreseen_N))
            hidden_BTLC = hidden_NTLC.view(-1, left, *self.hidden_shape)
            true_BK = true_BK[:, :left] & true_BT[:, ahead:]
            surprises.append(_mean(foreseen.surprise(seen_BSD[:, ahead + 1 :]), true_BK))
        each = torch.stack(surprises)
        return each.mean(), each


def _mean(values_BT: Tensor, counted_BT: Tensor) -> Tensor:
    """Mean of what counts; 0 where nothing does."""
    return (values_BT * counted_BT).sum() / counted_BT.sum().clamp_min(1)
