"""Numbers that show a collapsing representation, from the features of the probe set.

Shapes: N frames, D features.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from evaluator.encoders import fault
from evaluator.scores import NotMeasurable

RANKME_EPSILON = 1e-7
"""Added to each normalised singular value (Garrido et al. 2023, arXiv:2210.02885, eq. 2, for float32)."""

DORMANT = 0.025
"""A unit is dormant when its activation is at most this share of the mean over units (Sokar et al. 2023,
arXiv:2302.12902, definition 3.1)."""

CONSTANT = 1e-6
"""Deviations below this share of the largest feature are float32 rounding and count as zero."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """State of a representation.

    Attributes:
        rankme: Effective number of dimensions, from 1 to min(N, D).
        feature_std: Standard deviation over frames, mean over dimensions. The features are taken behind the encoder's
            last layer norm, so 1 would be reached if nothing but the frame decided a feature.
        dormant: Share of dimensions that hardly react to the frame.
        frames: Frames measured; compare RankMe only at equal numbers.
    """

    rankme: float
    feature_std: float
    dormant: float
    frames: int

    def row(self) -> dict[str, float]:
        """Gives the numbers as plain JSON."""
        return asdict(self)


def measure_health(features_ND: NDArray[np.float32]) -> Health | NotMeasurable:
    """Measures pooled features."""
    if because := fault(features_ND):
        return NotMeasurable(because)
    if len(features_ND) < 2:
        return NotMeasurable("fewer than two frames")
    wide_ND = features_ND.astype(np.float64)
    std_D = wide_ND.std(axis=0)
    std_D[std_D <= CONSTANT * np.abs(wide_ND).max()] = 0.0
    return Health(
        rankme=rankme(wide_ND), feature_std=float(std_D.mean()), dormant=dormant_share(wide_ND), frames=len(wide_ND)
    )


def rankme(features_ND: NDArray[np.float64]) -> float:
    """Exponential of the entropy of the normalised singular values (Garrido et al. 2023, eq. 2).

        p_k = σ_k / Σσ + 1e-7,    RankMe = exp(−Σ p_k log p_k)

    The features are not centred, as in the paper: equal features of all frames give 1 (within 0.1 %).
    """
    count, dim = features_ND.shape
    gram = features_ND.T @ features_ND if dim <= count else features_ND @ features_ND.T
    singular = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0))
    total = singular.sum()
    if total <= 0:
        return 1.0
    share = singular / total + RANKME_EPSILON
    return float(np.exp(-(share * np.log(share)).sum()))


def dormant_share(features_ND: NDArray[np.float64]) -> float:
    """Share of dimensions whose mean absolute deviation is at most 2.5 % of the mean over dimensions.

    Sokar et al. take mean |activation|, which is 0 for a dead ReLU. A dead unit behind GELU or a layer norm rests at
    any constant, so the deviation from its mean stands in for the activation.
    """
    deviation_D = np.abs(features_ND - features_ND.mean(axis=0)).mean(axis=0)
    deviation_D[deviation_D <= CONSTANT * np.abs(features_ND).max()] = 0.0
    return float((deviation_D <= DORMANT * deviation_D.mean()).mean())
