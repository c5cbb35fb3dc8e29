"""A space whose meaning never changes: features of a convolutional net that is drawn once and never trained.

The targets of the other measures move with the encoder. Here the prediction is read out into the same features at
every version; only the readout is fitted anew, on frames that nobody trained on (linear readouts: Alain & Bengio 2016,
arXiv:1610.01644; random filters describe pictures well: Jarrett et al. 2009, ICCV).

Shapes: F frames, H×W pixels, R×C grid, P = R·C patches, Q predictions of a frame, J = F·Q, D width, E features.
"""

from typing import Any, cast, override

import torch
from torch import Tensor, nn
from torch.nn import functional

SEED = 20_000_003
"""Seed of the filters; one for all runs, so that they can be compared."""

CHANNELS = (24, 32)
"""Features of the two layers."""

PENALTY = 1e-2
"""Ridge penalty, in units of the mean variance of the predictions' dimensions."""

ROUNDING = 1e-12
"""Predictions whose variance is below this share of their mean square are constant but for float32 rounding: nothing is
read out of them."""


class ReferenceNet(nn.Module):
    """Two layers of random filters, averaged over each patch.

    Conv 5×5 stride 2 → ReLU → conv 3×3 stride 2 → ReLU → mean over the patch.

    Args:
        grid: Rows and columns of patches.
        mean: Mean of the colours R, G, B, from 0 to 1.
        std: Their standard deviation.
    """

    def __init__(self, grid: tuple[int, int], mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self._grid = grid
        first, second = CHANNELS
        self._layers = nn.Sequential(
            nn.Conv2d(3, first, 5, stride=2, padding=2, bias=False), nn.ReLU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1, bias=False), nn.ReLU(),
        )  # fmt: skip
        generator = torch.Generator().manual_seed(SEED)
        for weights in self._layers.parameters():
            nn.init.kaiming_normal_(weights, generator=generator)
        self.requires_grad_(False)
        self.register_buffer("_mean_C11", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("_std_C11", torch.tensor(std)[:, None, None], persistent=False)

    @override
    def forward(self, frames_FHWC: Tensor) -> Tensor:
        """Describes every patch of uint8 frames: float32 [F, P, E]."""
        planes_FCHW = frames_FHWC.permute(0, 3, 1, 2).float() / 255
        layers = self._layers((planes_FCHW - self.get_buffer("_mean_C11")) / self.get_buffer("_std_C11"))
        return functional.adaptive_avg_pool2d(layers, self._grid).flatten(2).transpose(1, 2)


class Readout:
    """Ridge regression from predictions to reference features, fitted at one version.

        Ŷ = (X − x̄) W / s + ȳ,   W minimises ‖X̃ W − Ỹ‖² / J + λ ‖W‖²,   s² = mean variance of X's dimensions

    Y is centred at each position and scaled by each feature's deviation over the calibration frames, which do not
    change: an error of 1 is no better than each position's mean. One scale for all of X makes it indifferent to
    rotation, scale and shift of the space that predictions live in.

    Args:
        references_FPE: Reference features of the calibration frames, all patches.
        predictions_FQD: Predictions for the same frames.
        positions_FQ: int64, the patch that each is about.
    """

    def __init__(self, references_FPE: Tensor, predictions_FQD: Tensor, positions_FQ: Tensor) -> None:
        self._mean_PE = references_FPE.mean(0)
        scale_E = (references_FPE - self._mean_PE).square().mean((0, 1)).sqrt()
        self._inverse_E = torch.where(scale_E > 0, 1 / scale_E, torch.zeros_like(scale_E))
        wide_JD = predictions_FQD.flatten(0, 1).double()
        self._centre_D = wide_JD.mean(0)
        centred_JD = wide_JD - self._centre_D
        variance = float(centred_JD.square().mean())
        self._inverse = variance**-0.5 if variance > ROUNDING * float(wide_JD.square().mean()) else 0.0
        scaled_JD = centred_JD * self._inverse
        wanted_JE = self._standardised(references_FPE, positions_FQ).flatten(0, 1).double()
        self._offset_E = wanted_JE.mean(0)
        gram_DD = scaled_JD.T @ scaled_JD / len(scaled_JD)
        gram_DD.diagonal().add_(PENALTY)
        seen_DE = scaled_JD.T @ (wanted_JE - self._offset_E) / len(scaled_JD)
        finite = bool(gram_DD.isfinite().all())
        weights_DE: Tensor = cast(Any, torch.linalg).solve(gram_DD, seen_DE) if finite else seen_DE * torch.nan
        self._weights_DE = weights_DE

    def errors(self, references_FPE: Tensor, predictions_FQD: Tensor, positions_FQ: Tensor) -> Tensor:
        """Mean squared error of each frame's readout, in units of the calibration variance: float64 [F]."""
        scaled_FQD = (predictions_FQD.double() - self._centre_D) * self._inverse
        read_FQE = scaled_FQD @ self._weights_DE + self._offset_E
        return (read_FQE - self._standardised(references_FPE, positions_FQ)).square().mean((1, 2))

    def _standardised(self, references_FPE: Tensor, positions_FQ: Tensor) -> Tensor:
        centred_FPE = (references_FPE - self._mean_PE) * self._inverse_E
        return centred_FPE.gather(1, positions_FQ[..., None].expand(-1, -1, centred_FPE.shape[-1]))
