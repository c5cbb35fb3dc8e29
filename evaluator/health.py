"""State of an encoder, measured on the probe set: MEASURES section 3, formulas in `common.health`.

Shapes: N frames, Q views of a frame, D features.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite, nan

import numpy as np
from numpy.typing import NDArray

from common.health.network import DORMANT
from common.health.spectrum import alpha_req, effective_rank, rankme
from evaluator.encoders import fault
from evaluator.scores import NotMeasurable

CONSTANT = 1e-6
"""Deviations below this share of the largest feature are float32 rounding and count as zero."""

LIDAR_FRAMES = 96
"""Frames of the probe set, evenly chosen, whose views LiDAR compares: it is at most one less."""

LIDAR_VIEWS = 6
"""Views of each; Thilak et al. take 50 of 1000 frames, which would cost more than everything else together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """State of a representation; NaN for what is not measured.

    Attributes:
        rankme: Effective number of dimensions, from 1 to min(N, D).
        feature_std: Standard deviation over frames, mean over dimensions. The features are taken behind the encoder's
            last layer norm, so 1 would be reached if nothing but the frame decided a feature.
        dormant: Share of dimensions that hardly react to the frame.
        frames: Frames measured; compare RankMe, effective rank and α only at equal numbers.
        effective_rank: As RankMe, of what differs between frames.
        alpha: Exponent of the decay of the features' covariance.
        lidar: Effective rank of what tells frames apart beside what tells views apart, up to `LIDAR_FRAMES` − 1.
        feature_std_before: As `feature_std`, before the last layer norm: the scale of the residual stream.
        dormant_units: Share of hidden units of the MLPs that are dormant.
        weight: Mean |weight| of the encoder.
        target_distance: Distance of the target from the context encoder, relative; 0 for one that was never trained.
    """

    rankme: float
    feature_std: float
    dormant: float
    frames: int
    effective_rank: float = nan
    alpha: float = nan
    lidar: float = nan
    feature_std_before: float = nan
    dormant_units: float = nan
    weight: float = nan
    target_distance: float = nan

    def row(self) -> dict[str, float | None]:
        """Gives the numbers as plain JSON; None for what is not measured."""
        return {name: value if isfinite(value) else None for name, value in asdict(self).items()}

    def numbers(self) -> dict[str, float]:
        """Gives what was measured."""
        return {name: value for name, value in asdict(self).items() if isfinite(value)}


def measure_health(
    features_ND: NDArray[np.float32], network: Mapping[str, float] | None = None
) -> Health | NotMeasurable:
    """Measures pooled features.

    Args:
        features_ND: One vector a frame.
        network: What else is known of the encoder, by the names of `Health`.
    """
    if because := fault(features_ND):
        return NotMeasurable(because)
    if len(features_ND) < 2:
        return NotMeasurable("fewer than two frames")
    wide_ND = features_ND.astype(np.float64)
    std_D = wide_ND.std(axis=0)
    std_D[std_D <= CONSTANT * np.abs(wide_ND).max()] = 0.0
    varies = bool(std_D.any())
    return Health(
        rankme=rankme(wide_ND),
        feature_std=float(std_D.mean()),
        dormant=dormant_share(wide_ND),
        frames=len(wide_ND),
        effective_rank=effective_rank(wide_ND) if varies else 0.0,
        alpha=alpha_req(wide_ND) if varies else nan,
        **(network or {}),
    )


def dormant_share(features_ND: NDArray[np.float64]) -> float:
    """Share of dimensions whose mean absolute deviation is at most 2.5 % of the mean over dimensions.

    Sokar et al. take mean |activation|, which is 0 for a dead ReLU. A feature behind a layer norm may rest at any
    constant, so the deviation from its mean stands in for the activation; of hidden units `dormant_units` tells.
    """
    deviation_D = np.abs(features_ND - features_ND.mean(axis=0)).mean(axis=0)
    deviation_D[deviation_D <= CONSTANT * np.abs(features_ND).max()] = 0.0
    return float((deviation_D <= DORMANT * deviation_D.mean()).mean())
