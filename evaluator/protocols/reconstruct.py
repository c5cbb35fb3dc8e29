"""First offline axis: how much of the input a light decoder finds in the frozen patch features.

    patch features_GD ─► standardise ─► linear + a learned place ─► GELU ─► linear ─► pixels of the patch

A decoder of one hidden layer sees one patch's feature at a time: what it cannot say is not there, rather than hard to
get at. It is fitted by squared error on some visits and asked about the others, fold by fold. Errors are of colours
from 0 to 1: MAE = mean |y − ŷ|, MSE = mean (y − ŷ)². Beside the encoder stand the mean picture, the same decoder on
the 8×8 picture (each patch sees its 3×3 neighbourhood there), and on an encoder of the same shape with random weights.

An encoder that forgets everything but its input's colours does well here; see `predict` for the other side.

Shapes: N frames, B of a batch, G patches of a frame, D features, P numbers of a patch, U hidden units, V visits.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import override

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from common.ijepa.vit import VisionTransformer
from evaluator.encoders import PIXEL_GRID, Pixels
from evaluator.protocols.features import Watch
from evaluator.protocols.fitting import Count, fit
from evaluator.scores import NotMeasurable, Result, Sample, mean_sample

HIDDEN = 256
STEPS = 1000
BATCH = 16
"""Frames a step."""

RATE = 2e-3


class Of(StrEnum):
    """What is decoded."""

    TRAINED = "trained"
    RANDOM = "random"
    PIXELS = "pixels"
    MEAN = "mean"
    """Nothing: the mean picture of the visits that the decoder was fitted on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconstruction:
    """Errors of one source.

    Attributes:
        mae: Mean absolute error, colours from 0 to 1.
        mse: Mean squared error.
        gain: mae of the random encoder − mae, by pairs of visits; above 0 is better. None for the random one itself.
    """

    mae: Result
    mse: Result
    gain: Result | None

    def row(self) -> dict[str, object]:
        """Gives the errors as plain JSON."""
        return {"mae": self.mae.row(), "mse": self.mse.row(), "gain": self.gain.row() if self.gain else None}


@dataclass(frozen=True, kw_only=True, eq=False)
class Stills:
    """Which visits frames are of.

    Attributes:
        visit: Number of each frame's visit, int64 [N].
        fold: Fold of each visit, int64 [V].
    """

    visit: NDArray[np.int64]
    fold: NDArray[np.int64]


class Decoder(nn.Module):
    """From one patch's feature to its pixels.

    Args:
        dim: Features.
        patches: Patches of a frame.
        pixels: Numbers of a patch.
    """

    def __init__(self, dim: int, patches: int, pixels: int) -> None:
        super().__init__()
        self.enter = nn.Linear(dim, HIDDEN)
        self.place_GU = nn.Parameter(torch.zeros(patches, HIDDEN))
        self.leave = nn.Linear(HIDDEN, pixels)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    @override
    def forward(self, tokens_BGD: Tensor) -> Tensor:
        """Gives pixels_BGP; zero, the mean picture, before the first step."""
        return self.leave(functional.gelu(self.enter(tokens_BGD) + self.place_GU))


def patch_tokens(encoder: VisionTransformer, frames_BHWC: Tensor) -> Tensor:
    """Encodes frames (tokens_BGD, float32), without gradient."""
    with torch.no_grad():
        return encoder(frames_BHWC).float()


def pixel_tokens(frames_BHWC: Tensor, grid: tuple[int, int]) -> Tensor:
    """Gives each patch the 3×3 neighbourhood of its place in the 8×8 picture (tokens_BGD, D = 27)."""
    small_BCHW: Tensor = Pixels().pooled(frames_BHWC).view(-1, 3, PIXEL_GRID, PIXEL_GRID)
    if grid != (PIXEL_GRID, PIXEL_GRID):
        small_BCHW = functional.interpolate(small_BCHW, grid, mode="bilinear", align_corners=False)
    edged = functional.pad(small_BCHW, (1, 1, 1, 1), mode="replicate")
    return functional.unfold(edged, 3).transpose(1, 2)


def reconstruct(
    tokens: Mapping[Of, Tensor],
    pixels_NGP: Tensor,
    stills: Stills,
    *,
    watch: Watch,
    seed: int = 0,
    steps: int = STEPS,
) -> dict[Of, Reconstruction | NotMeasurable]:
    """Fits the decoders and measures them.

    Args:
        tokens: By source, tokens_NGD on the device.
        pixels_NGP: uint8, the frames in patches, on the device.
        stills: Whose frames they are.
        watch: Told the number of steps done.
        seed: Of the decoders and their batches.
        steps: Steps of each fit.
    """
    count = Count(watch, "decoding", len(tokens) * len(np.unique(stills.fold)) * steps)
    samples: dict[Of, tuple[Sample, Sample] | NotMeasurable] = {}
    for of, tokens_NGD in {**tokens, Of.MEAN: None}.items():
        fitting = _Fitting(pixels_NGP=pixels_NGP, stills=stills, seed=seed, steps=steps, count=count)
        samples[of] = fitting.measure(tokens_NGD)
    found: dict[Of, Reconstruction | NotMeasurable] = {}
    random = samples.get(Of.RANDOM)
    for of, pair in samples.items():
        if isinstance(pair, NotMeasurable):
            found[of] = pair
            continue
        mae, mse = pair
        paired = None if of is Of.RANDOM or not isinstance(random, tuple) else random[0].gain_over(mae)
        found[of] = Reconstruction(mae=mae.score(), mse=mse.score(), gain=paired)
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fitting:
    """What all sources are fitted and asked on."""

    pixels_NGP: Tensor
    stills: Stills
    seed: int
    steps: int
    count: Count

    def measure(self, tokens_NGD: Tensor | None) -> tuple[Sample, Sample] | NotMeasurable:
        """Fits a decoder in each fold and asks it: samples of MAE and of MSE."""
        if tokens_NGD is not None and not bool(torch.isfinite(tokens_NGD).all()):
            return NotMeasurable("feature values are not finite")
        visit_N, fold_N = self.stills.visit, self.stills.fold[self.stills.visit]
        absolute_N, square_N = np.zeros(len(visit_N)), np.zeros(len(visit_N))
        for fold in np.unique(fold_N):
            decode = self._fitted(tokens_NGD, np.flatnonzero(fold_N != fold), self.seed + int(fold))
            for part in np.array_split(np.flatnonzero(fold_N == fold), max(1, (fold_N == fold).sum() // BATCH)):
                index_B = torch.as_tensor(part, device=self.pixels_NGP.device)
                error_BGP = decode(index_B) - self.pixels_NGP[index_B].float() / 255
                absolute_N[part] = error_BGP.abs().mean((1, 2)).cpu().numpy()
                square_N[part] = error_BGP.square().mean((1, 2)).cpu().numpy()
        mae, mse = (mean_sample(one_N, visit_N, undefined="no frame is asked") for one_N in (absolute_N, square_N))
        return mae, mse

    def _fitted(self, tokens_NGD: Tensor | None, chosen: NDArray[np.int64], seed: int) -> "_Decode":
        fitted = torch.as_tensor(chosen, device=self.pixels_NGP.device)
        decode = _Decode(tokens_NGD, self.pixels_NGP, fitted, seed)
        if tokens_NGD is not None:
            fit(decode.decoder, _batches(fitted, seed), decode.loss, steps=self.steps, lr=RATE, count=self.count)
        return decode


class _Decode:
    """A fitted decoder; without tokens it gives the mean picture."""

    def __init__(self, tokens_NGD: Tensor | None, pixels_NGP: Tensor, fitted: Tensor, seed: int) -> None:
        self._tokens_NGD, self._pixels_NGP = tokens_NGD, pixels_NGP
        chosen_NGP = pixels_NGP[fitted].float() / 255
        self._mean_GP = chosen_NGP.mean(0)
        self._scale = float((chosen_NGP - self._mean_GP).std()) or 1.0
        if tokens_NGD is not None:
            seen_ND = tokens_NGD[fitted].flatten(0, 1)
            self._centre_D, deviation_D = seen_ND.mean(0), seen_ND.std(0)
            varies_D = deviation_D > 1e-5 * self._centre_D.abs() + 1e-12
            self._gain_D = torch.where(varies_D, 1 / deviation_D.clamp_min(1e-12), 0.0)
            with torch.random.fork_rng([]):  # pyright: ignore[reportUnknownMemberType]
                torch.default_generator.manual_seed(seed)
                self.decoder = Decoder(tokens_NGD.shape[2], *pixels_NGP.shape[1:]).to(tokens_NGD.device)

    def loss(self, chosen: Tensor) -> Tensor:
        """Mean squared error of some frames, in units of the pictures' variance."""
        target_BGP = (self._pixels_NGP[chosen].float() / 255 - self._mean_GP) / self._scale
        return functional.mse_loss(self.decoder(self._standardised(chosen)), target_BGP)

    @torch.no_grad()
    def __call__(self, chosen: Tensor) -> Tensor:
        """Decodes some frames: pixels_BGP from 0 to 1."""
        if self._tokens_NGD is None:
            return self._mean_GP.expand(len(chosen), -1, -1)
        return (self._mean_GP + self._scale * self.decoder(self._standardised(chosen))).clamp(0, 1)

    def _standardised(self, chosen: Tensor) -> Tensor:
        assert self._tokens_NGD is not None, "only what has tokens is decoded"
        return (self._tokens_NGD[chosen] - self._centre_D) * self._gain_D


def _batches(fitted: Tensor, seed: int) -> Iterator[tuple[Tensor]]:
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(fitted))
        for start in range(0, max(1, len(order) - BATCH + 1), BATCH):
            yield (fitted[torch.as_tensor(order[start : start + BATCH], device=fitted.device)],)
