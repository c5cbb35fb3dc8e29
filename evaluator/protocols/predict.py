"""Second offline axis: how well a light recurrent net foretells the frozen features of a visit.

    x_t ─► GRU ─► linear ─► x̂_{t+h} − x_t        for h = 1, 2, 4, 8 steps at once

x is the pooled feature, standardised by the visits that the net is fitted on, so that each dimension counts alike
whatever its unit; dimensions that do not vary are left out of the mean. The net is fitted by absolute error on some
visits and asked about the others, fold by fold.

    MAE(h) = mean |x̂_{t+h} − x_{t+h}|    relative(h) = MAE(h) ÷ that of the mean    copy(h) = MAE(h) ÷ that of x̂ = x_t

The mean has about the same MAE (0.8 for normal features) for every encoder, so `relative` compares encoders; `copy`
below 1 says that more than slowness was learned. Beside the encoder stand the 8×8 pixels and an encoder of the same
shape with random weights. Features that say little, slowly, are easily foretold: see `reconstruct` for the other side.

Shapes: V visits, T frames of one, D features, B windows of a batch, L steps of a window, S horizons.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import override

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evaluator.protocols.features import Watch
from evaluator.protocols.fitting import Count, fit
from evaluator.protocols.reconstruct import Of
from evaluator.ridge import Standardiser
from evaluator.scores import NotMeasurable, Result, Sample, ratio

HORIZONS = (1, 2, 4, 8)
HIDDEN = 128
STEPS = 500
BATCH = 16
RATE = 3e-3

WINDOW = 64
"""Steps that the net sees in one go."""

WARM = 8
"""First steps of a window, in which the net has seen too little to be asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """Errors of one encoder at one horizon.

    Attributes:
        mae: Mean absolute error in standard deviations of a feature.
        relative: mae ÷ that of predicting the mean.
        copy: mae ÷ that of predicting the present feature.
        gain: `relative` of the random encoder − that of this one, by pairs of visits; None for the random one itself.
    """

    mae: Result
    relative: Result
    copy: Result
    gain: Result | None

    def row(self) -> dict[str, object]:
        """Gives the errors as plain JSON."""
        gain = self.gain.row() if self.gain else None
        return {"mae": self.mae.row(), "relative": self.relative.row(), "copy": self.copy.row(), "gain": gain}


type Predictions = Mapping[int, Prediction] | NotMeasurable
"""By horizon."""


class Foretell(nn.Module):
    """The recurrent net.

    Args:
        dim: Features.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.recur = nn.GRU(dim, HIDDEN, batch_first=True)
        self.leave = nn.Linear(HIDDEN, len(HORIZONS) * dim)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    @override
    def forward(self, x_BLD: Tensor) -> Tensor:
        """Predicts the features at each horizon after each step (x_BLSD); the present ones before the first step."""
        change = self.leave(self.recur(x_BLD)[0]).unflatten(2, (len(HORIZONS), -1))
        return x_BLD[:, :, None] + change

    def loss(self, x_BLD: Tensor) -> Tensor:
        """Mean absolute error of windows that go on to the last horizon."""
        return (self(x_BLD[:, :WINDOW]) - _futures(x_BLD)).abs().mean()


def predict(
    features: Mapping[Of, Sequence[NDArray[np.float32]]],
    fold: NDArray[np.int64],
    *,
    device: torch.device,
    watch: Watch,
    seed: int = 0,
    steps: int = STEPS,
) -> dict[Of, Predictions]:
    """Fits the nets and measures them.

    Args:
        features: By source, the pooled features of each visit in order of time, float32 [T, D].
        fold: Fold of each visit, int64 [V].
        device: Where.
        watch: Told the number of steps done.
        seed: Of the nets and their batches.
        steps: Steps of each fit.
    """
    count = Count(watch, "predicting", len(features) * len(np.unique(fold)) * steps)
    fitting = _Fitting(fold=fold, device=device, seed=seed, steps=steps, count=count)
    sums = {of: fitting.measure(visits) for of, visits in features.items()}
    return {of: _scored(one, sums.get(Of.RANDOM) if of is not Of.RANDOM else None) for of, one in sums.items()}


type _Sums = tuple[NDArray[np.float64], NDArray[np.int64]] | NotMeasurable
"""For each visit and horizon the summed errors of net, mean and copy, and their number: [V, S, 4]; frames [V]."""


def _scored(sums: _Sums, random: _Sums | None) -> Predictions:
    if isinstance(sums, NotMeasurable):
        return sums
    table_VS4, frames_V = sums
    found: dict[int, Prediction] = {}
    for index, horizon in enumerate(HORIZONS):

        def sample(column: int, of: NDArray[np.float64] = table_VS4, at: int = index) -> Sample:
            """Divides the net's error by another column."""
            pairs_C2 = of[:, at][:, [0, column]]
            return Sample(sums_CS=pairs_C2, statistic=ratio, frames=int(frames_V.sum()), undefined="nothing moves")

        gain = sample(1, random[0]).gain_over(sample(1)) if isinstance(random, tuple) else None
        found[horizon] = Prediction(
            mae=sample(3).score(), relative=sample(1).score(), copy=sample(2).score(), gain=gain
        )
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fitting:
    """What all encoders are fitted and asked on."""

    fold: NDArray[np.int64]
    device: torch.device
    seed: int
    steps: int
    count: Count

    def measure(self, visits: Sequence[NDArray[np.float32]]) -> _Sums:
        """Fits a net in each fold and asks it."""
        if not all(np.isfinite(visit).all() for visit in visits):
            return NotMeasurable("feature values are not finite")
        longest = WINDOW + HORIZONS[-1]
        if short := sum(len(visit) < longest for visit in visits):
            return NotMeasurable(f"{short} visits are shorter than {longest} steps")
        table_VS4, frames_V = np.zeros((len(visits), len(HORIZONS), 4)), np.zeros(len(visits), np.int64)
        for chosen in np.unique(self.fold):
            fitted = [visit for visit, fold in zip(visits, self.fold, strict=True) if fold != chosen]
            standardise = Standardiser(np.concatenate(fitted))
            if not standardise.varies:
                return NotMeasurable("the features do not vary over the visits that the net is fitted on")
            x = [torch.as_tensor(standardise(one), dtype=torch.float32, device=self.device) for one in fitted]
            net = self._fitted(x, self.seed + int(chosen))
            varying = int(torch.stack([one.any(0) for one in x]).any(0).sum())
            asked: list[int] = np.flatnonzero(self.fold == chosen).tolist()
            for index in asked:
                asked_TD = torch.as_tensor(standardise(visits[index]), dtype=torch.float32, device=self.device)
                table_VS4[index], frames_V[index] = _asked(net, asked_TD, varying)
        return table_VS4, frames_V

    def _fitted(self, x: Sequence[Tensor], seed: int) -> Foretell:
        with torch.random.fork_rng([]):  # pyright: ignore[reportUnknownMemberType]
            torch.default_generator.manual_seed(seed)
            net = Foretell(x[0].shape[1]).to(self.device)
        fit(net, _batches(x, seed), net.loss, steps=self.steps, lr=RATE, count=self.count)
        return net


def _futures(x_BLD: Tensor) -> Tensor:
    """The features at each horizon after the first `WINDOW` steps (x_BLSD)."""
    return torch.stack([x_BLD[:, horizon : horizon + WINDOW] for horizon in HORIZONS], dim=2)


@torch.no_grad()
def _asked(net: Foretell, x_TD: Tensor, varying: int) -> tuple[NDArray[np.float64], int]:
    """Adds up the errors of a visit's windows: net, mean, copy, and their number ([S, 4]); frames asked about.

    Dimensions that did not vary are zero everywhere, so that they add nothing to any sum; `varying` counts the others.
    """
    stride = WINDOW - WARM
    windows_BLD = x_TD.unfold(0, WINDOW + HORIZONS[-1], stride).transpose(1, 2)
    future_BLSD = _futures(windows_BLD)[:, WARM:]
    present_BLD = windows_BLD[:, :WINDOW]
    guesses = (net(present_BLD)[:, WARM:], torch.zeros_like(future_BLSD), present_BLD[:, WARM:, None])
    sums = [(guess - future_BLSD).abs().sum((0, 1, 3)).double() for guess in guesses]
    frames = windows_BLD.shape[0] * stride
    number_S = torch.full((len(HORIZONS),), frames * varying, dtype=torch.float64)
    return torch.stack([*(one.cpu() for one in sums), number_S], dim=1).numpy(), frames


def _batches(visits: Sequence[Tensor], seed: int) -> Iterator[tuple[Tensor]]:
    """Draws windows, each place of the visits as likely as another."""
    rng, length = np.random.default_rng(seed), WINDOW + HORIZONS[-1]
    starts = np.array([len(visit) - length + 1 for visit in visits])
    while True:
        drawn = rng.choice(len(visits), BATCH, p=starts / starts.sum())
        at = [int(rng.integers(starts[index])) for index in drawn]
        yield (torch.stack([visits[index][start : start + length] for index, start in zip(drawn, at, strict=True)]),)
