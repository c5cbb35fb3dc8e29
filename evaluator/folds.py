"""Who may learn and who is asked: the walks of a probe set by role, and the fits that respect it.

Shapes: N frames of the probe set, M held-out frames, D features, T targets, C classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluator.probeset import ProbeSet
from evaluator.ridge import Floats, Ridge, Standardiser, neighbour_votes

STRENGTHS = tuple(10.0**power for power in range(-4, 3))
"""Candidates for λ, per frame and standardised feature."""

UNCHOSEN = 0.1
"""λ where no walk is left to choose it on."""

VALIDATE_EVERY = 3
"""Of each so many training walks of a world, the last one picks λ."""

type Ints = NDArray[np.int64]
type Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Roles of the frames, the same for all frames of a walk; bool [N] each, disjoint, together all frames.

    Attributes:
        fit: Probes are fitted on these while λ is chosen.
        validate: λ is chosen on these; then probes are fitted on `fit` and these together.
        test: Scores come from these alone.
    """

    fit: Bools
    validate: Bools
    test: Bools

    @classmethod
    def of(cls, probe_set: ProbeSet) -> "Split":
        """Splits by walk, world by world."""
        train = ~probe_set.is_test
        validate = np.zeros_like(train)
        for world in np.unique(probe_set.world):
            walks = np.unique(probe_set.walk[train & (probe_set.world == world)])
            validate |= np.isin(probe_set.walk, walks[VALIDATE_EVERY - 1 :: VALIDATE_EVERY])
        return cls(fit=train & ~validate, validate=validate, test=probe_set.is_test)

    def among(self, chosen: Bools) -> "Split":
        """Keeps the chosen frames only."""
        return Split(fit=self.fit & chosen, validate=self.validate & chosen, test=self.test & chosen)

    @property
    def train(self) -> Bools:
        """All frames that the scored probe is fitted on."""
        return self.fit | self.validate


class Fold:
    """One fit and the frames held out from it.

    Args:
        features_ND: Features of all frames.
        fit_on: Frames to fit on, at least one.
        held_out: Frames to predict.
    """

    def __init__(self, features_ND: NDArray[np.float32], fit_on: Bools, held_out: Bools) -> None:
        standardise = Standardiser(features_ND[fit_on])
        self._fit_on, self._fit_x = fit_on, standardise(features_ND[fit_on])
        self.held_out, self._held_x = held_out, standardise(features_ND[held_out])
        self._ridge = Ridge(self._fit_x)
        self._projected = self._ridge.project(self._held_x)

    def predict(self, targets_NT: Floats, strength: float) -> Floats:
        """Predicts the targets of the held-out frames by a ridge fit, float64 [M, T]."""
        return self._ridge.predict(self._projected, targets_NT[self._fit_on], strength)

    def vote(self, label_N: Ints, classes: int) -> Ints:
        """Guesses the class of the held-out frames by the nearest frames that were fitted on, int64 [M]."""
        return neighbour_votes(self._fit_x, label_N[self._fit_on], self._held_x, classes)

    def squared_errors(self, targets_NT: Floats) -> Floats:
        """Mean squared error over held-out frames and targets for each of `STRENGTHS`."""
        truth = targets_NT[self.held_out]
        return np.array([((self.predict(targets_NT, strength) - truth) ** 2).mean() for strength in STRENGTHS])

    def error_rates(self, targets_NC: Floats, label_N: Ints) -> Floats:
        """Share of held-out frames whose largest output is not their class, for each of `STRENGTHS`."""
        truth = label_N[self.held_out]
        return np.array([(self.predict(targets_NC, s).argmax(axis=1) != truth).mean() for s in STRENGTHS])


def chooser(features_ND: NDArray[np.float32], split: Split) -> Fold | None:
    """Makes the fold that λ is chosen on, or None where it would have nothing to fit or to ask."""
    if not split.fit.any() or not split.validate.any():
        return None
    return Fold(features_ND, split.fit, split.validate)


def strongest_best(errors: Floats) -> float:
    """Picks the strength with the smallest error, of equals the largest."""
    return STRENGTHS[len(errors) - 1 - int(np.argmin(errors[::-1]))]
