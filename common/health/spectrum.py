"""Health of a representation, read off the spectrum of its features.

Shapes: N frames, Q views of a frame, D features, K = min(N, D) singular values.
"""

import math

import numpy as np
from numpy.typing import NDArray

RANKME_EPSILON = 1e-7
"""Added to each normalised singular value (Garrido et al. 2023, arXiv:2210.02885, eq. 2, for float32)."""
LIDAR_RIDGE = 1e-4
"""Added to the scatter within frames, δ of Thilak et al., as a share of its mean diagonal: in units of the features it
would make the number depend on their scale."""
ALPHA_RANKS = (4, 48)
"""First and last rank between which the decay is fitted: the first few follow what is common to all frames, the last
few the number of frames."""
ROUNDING = 1e-12
"""Eigenvalues below this share of the largest are float64 rounding and count as zero."""


def rankme(features_ND: NDArray[np.floating]) -> float:
    """Exponential of the entropy of the normalised singular values, from 1 to K (Garrido et al. 2023, eq. 2).

        p_k = σ_k / Σσ + 1e-7,    RankMe = exp(−Σ p_k log p_k)

    The features are not centred, as in the paper: equal features of all frames give 1 (within 0.1 %).
    """
    count, dim = features_ND.shape
    wide_ND = features_ND.astype(np.float64)
    gram = wide_ND.T @ wide_ND if dim <= count else wide_ND @ wide_ND.T
    singular_K = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0))
    total = singular_K.sum()
    if total <= 0:
        return 1.0
    share_K = singular_K / total + RANKME_EPSILON
    return float(np.exp(-(share_K * np.log(share_K)).sum()))


def effective_rank(features_ND: NDArray[np.floating]) -> float:
    """Exponential of the entropy of the normalised singular values of the centred features, from 1 to K.

        p_k = σ_k / Σσ of X − mean(X),    erank = exp(−Σ p_k log p_k)

    Roy & Vetterli 2007 (EUSIPCO), applied to deviations from the mean. RankMe counts the mean feature as a direction of
    its own, and the strongest: it reads near 1 as soon as what differs between frames is small beside what they share.
    This number says how many directions those differences have, however small they are. 0 where there are none.
    """
    eigenvalues_K = covariance_spectrum(features_ND)
    if not len(eigenvalues_K):
        return 0.0
    return _entropy_rank(np.sqrt(eigenvalues_K))


def alpha_req(features_ND: NDArray[np.floating], ranks: tuple[int, int] = ALPHA_RANKS) -> float:
    """Exponent of the power law that the eigenvalues of the features' covariance follow.

        λ_k ∝ k^(−α)

    Agrawal et al. 2022 (α-ReQ, NeurIPS 35), who find the best read-outs near α = 1: above, the features are few; far
    below, they are noise. Least squares in log–log with weights 1/k, the fit of Stringer et al. 2019 (Nature 571) that
    they use. NaN where fewer than three eigenvalues lie between `ranks`.

    Args:
        features_ND: One vector a frame.
        ranks: First and last rank that is fitted, from 1; fewer where the spectrum ends before. Compare α only at equal
            numbers of frames: their number bends the end of the spectrum down.
    """
    eigenvalues_K = covariance_spectrum(features_ND)
    first, last = ranks[0], min(ranks[1], len(eigenvalues_K))
    if last - first < 2:
        return math.nan
    rank_K = np.arange(first, last + 1, dtype=np.float64)
    log_rank_K, log_value_K = np.log(rank_K), np.log(eigenvalues_K[first - 1 : last])
    weight_K = 1 / rank_K / (1 / rank_K).sum()
    rank_off_K = log_rank_K - (weight_K * log_rank_K).sum()
    value_off_K = log_value_K - (weight_K * log_value_K).sum()
    return float(-(weight_K * rank_off_K * value_off_K).sum() / (weight_K * rank_off_K**2).sum())


def lidar(views_NQD: NDArray[np.floating]) -> float:
    """Effective rank of what tells frames apart beside what tells views of one frame apart, from 1 to min(N − 1, D).

        Σ_b = 1/N Σ_n (μ_n − μ)(μ_n − μ)ᵀ                     μ_n mean over the views of frame n, μ over all
        Σ_w = 1/(N Q) Σ_n Σ_q (x_nq − μ_n)(x_nq − μ_n)ᵀ + δ I
        LiDAR = exp(−Σ p_k log p_k),   p_k = λ_k / Σλ of Σ_w^(−½) Σ_b Σ_w^(−½)

    Thilak et al. 2023, arXiv:2312.04000, equations 1 to 4, with δ relative to the mean of Σ_w's diagonal. A direction
    in which views differ as much as frames do counts for nothing, which RankMe cannot see. Depends on N and Q: compare
    only at equal numbers. 0 where no frame differs from another.

    Args:
        views_NQD: Features of Q ≥ 2 augmented views of each of N frames.
    """
    count, views, dim = views_NQD.shape
    wide_NQD = views_NQD.astype(np.float64)
    mean_ND = wide_NQD.mean(1)
    within = (wide_NQD - mean_ND[:, None]).reshape(-1, dim)
    within_DD = within.T @ within / (count * views)
    off_ND = mean_ND - mean_ND.mean(0)
    between_DD = off_ND.T @ off_ND / count
    if between_DD.trace() <= ROUNDING * np.square(wide_NQD).mean() * dim:
        return 0.0
    # Views that do not differ at all leave no scale of their own: then that of the frames.
    scale = within_DD.trace() if within_DD.trace() > ROUNDING * between_DD.trace() else between_DD.trace()
    value_D, vector_DD = np.linalg.eigh(within_DD + LIDAR_RIDGE * scale / dim * np.eye(dim))
    whitened_ND = off_ND @ (vector_DD / np.sqrt(value_D))
    gram = whitened_ND.T @ whitened_ND if dim <= count else whitened_ND @ whitened_ND.T
    eigenvalues_K = np.linalg.eigvalsh(gram)
    return _entropy_rank(eigenvalues_K[eigenvalues_K > ROUNDING * eigenvalues_K[-1]])


def covariance_spectrum(features_ND: NDArray[np.floating]) -> NDArray[np.float64]:
    """Eigenvalues of the features' covariance that are above rounding, largest first: float64 [≤ min(N − 1, D)]."""
    count, dim = features_ND.shape
    wide_ND = features_ND.astype(np.float64)
    off_ND = wide_ND - wide_ND.mean(0)
    gram = off_ND.T @ off_ND if dim <= count else off_ND @ off_ND.T
    eigenvalues_K = np.linalg.eigvalsh(gram)[::-1] / max(1, count - 1)
    floor = ROUNDING * max(float(eigenvalues_K[0]), float(np.square(wide_ND).mean()) * dim)
    return eigenvalues_K[: min(count - 1, dim)][eigenvalues_K[: min(count - 1, dim)] > floor]


def _entropy_rank(values_K: NDArray[np.float64]) -> float:
    share_K = values_K / values_K.sum()
    return float(np.exp(-(share_K * np.log(share_K)).sum()))
