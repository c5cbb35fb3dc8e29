"""θ: how large D must be to be called a memory, so that what was never trained on hardly ever is.

Shapes: P placebos, V versions.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np

from evaluator.scores import NotMeasurable
from evaluator.times.contrasts import placebo
from evaluator.times.series import Series, run_maxima
from evaluator.times.study import Floats, Numbers, Study

FALSE_MEMORIES = 0.05
"""Greatest chance, over a whole run, that something never trained on is called memorised."""
FOLDS = 5
"""Parts of the placebos; each is judged by the θ of the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold:
    """θ, and how it did on placebos that it was not taken from.

    Attributes:
        theta: Smallest D of a memory.
        placebos: Placebos behind it.
        false: Of them, those that the θ of the other folds calls memorised.
        judged: Of them, those that could be judged so: where the other folds hold enough for a θ.
    """

    theta: float
    placebos: int
    false: int
    judged: int


def least_placebos() -> int:
    """Fewest placebos whose greatest run-maximum bounds the chance of a false memory: 19 for 5 %."""
    return ceil((1 - FALSE_MEMORIES) / FALSE_MEMORIES - 1e-9)


def calibrate(study: Study, m: int) -> Threshold | NotMeasurable:
    """Takes θ from the placebos of all runs of the study.

    θ is the ⌈0.95 (P + 1)⌉-th smallest run-maximum: the 95th percentile, with the correction that makes the chance that
    the next placebo exceeds it at most 5 % whatever the distribution (split conformal; Papadopoulos et al. 2002; Vovk
    et al. 2005). Trained experiences have no part in it, so it is out of sample for them; for placebos it is
    cross-fitted.
    """
    maxima: list[Floats] = []
    walks: list[Numbers] = []
    for run in study.runs:
        contrast = placebo(run)
        found_P = run_maxima(Series.of(np.where(run.healthy_V, contrast.full_NV, np.nan)).value_NL, m)
        maxima.append(found_P[np.isfinite(found_P)])
        offset = max((int(of_run.max(initial=-1)) for of_run in walks), default=-1) + 1
        walks.append(offset + run.visit_E[contrast.experience_N[np.isfinite(found_P)]])
    maximum_P = np.concatenate(maxima) if maxima else np.zeros(0)
    theta = quantile(maximum_P)
    if theta is None:
        needs = f"θ needs the run-maxima of {least_placebos()}, each measured {m} times in a row"
        return NotMeasurable(f"there are {len(maximum_P)} placebos and {needs}")
    fold_P = np.unique(np.concatenate(walks), return_inverse=True)[1] % FOLDS
    false = judged = 0
    for fold in range(FOLDS):
        of_others = quantile(maximum_P[fold_P != fold])
        if of_others is not None:
            false += int((maximum_P[fold_P == fold] > of_others).sum())
            judged += int((fold_P == fold).sum())
    return Threshold(theta=theta, placebos=len(maximum_P), false=false, judged=judged)


def quantile(maximum_P: Floats) -> float | None:
    """The ⌈0.95 (P + 1)⌉-th smallest; None with fewer than `least_placebos()`.

    Nudged up by one unit in the last place, since D ≥ θ is a memory and the chance is bounded for D > it.
    """
    if len(maximum_P) < least_placebos():
        return None
    rank = ceil((1 - FALSE_MEMORIES) * (len(maximum_P) + 1) - 1e-9)
    return float(np.nextafter(np.partition(maximum_P, rank - 1)[rank - 1], np.inf))
