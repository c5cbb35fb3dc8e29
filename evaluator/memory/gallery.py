"""The targets of a world's pool at one version: their mean at each position, and how like them a prediction is.

Shapes: P positions, N frames of the pool, F frames measured, Q predictions of a frame, D width, J = F·Q.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

FLOOR = 1e-3
"""ε, per dimension: layer-normed targets have mean square 1, so deviations of less than 3 % of that are as good as
none. It is the norm's floor in a cosine, and the least variance that an error is divided by."""


class Gallery:
    """Targets that a prediction is held against.

    Args:
        targets_NPD: Layer-normed targets of N frames, float32.
    """

    def __init__(self, targets_NPD: Tensor) -> None:
        self.targets_NPD = targets_NPD
        self._mean_PD = targets_NPD.mean(0)
        self._directions_PND = _unit(targets_NPD - self._mean_PD).transpose(0, 1).contiguous()

    def __len__(self) -> int:
        return len(self.targets_NPD)

    def baseline(self, chosen: Sequence[int]) -> Tensor:
        """The mean target at each position over some frames of the pool: float32 [P, D]."""
        return self.targets_NPD[list(chosen)].mean(0)

    def cosines(self, predictions_FQD: Tensor, targets_FQD: Tensor, positions_FQ: Tensor) -> Tensor:
        """Compares each prediction with its own target and with those of the pool at the same position.

            c(a, b) = ⟨a − μ, b − μ⟩ / √((‖a − μ‖² + ε D) (‖b − μ‖² + ε D)),   μ the position's mean target

        Returns:
            float32 [F, Q, 1 + N], its own first.
        """
        means_FQD = self._mean_PD[positions_FQ]
        asked_JD = _unit(predictions_FQD - means_FQD).flatten(0, 1)
        own_J = (asked_JD * _unit(targets_FQD - means_FQD).flatten(0, 1)).sum(1)
        found_JN = asked_JD.new_empty(len(asked_JD), 1 + len(self))
        found_JN[:, 0] = own_J
        position_J = positions_FQ.flatten()
        for position in range(len(self._directions_PND)):
            at_J = position_J == position
            found_JN[at_J, 1:] = asked_JD[at_J] @ self._directions_PND[position].T
        return found_JN.view(*positions_FQ.shape, -1)


def _unit(centred: Tensor) -> Tensor:
    return centred * torch.rsqrt(centred.square().sum(-1, keepdim=True) + FLOOR * centred.shape[-1])
