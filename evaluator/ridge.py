"""Ridge regression by one factorisation for all targets and all strengths, and cosine nearest neighbours.

Shapes: N training frames, M other frames, D features, P = min(N, D) components, T targets, K neighbours, C classes.
"""

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]

CONSTANT = 1e-5
"""A feature whose standard deviation is below this share of its mean is float32 rounding, and left out."""

NEIGHBOURS = 10
"""Neighbours that vote."""

TEMPERATURE = 0.07
"""A neighbour at cosine similarity s votes with weight exp(s / 0.07) (Wu et al. 2018, arXiv:1805.01978, eq. 4)."""

_SIMILARITIES = 2**25
"""Similarities that are held at a time: 256 MiB."""


class Standardiser:
    """Shifts and scales features by the mean and standard deviation of the training frames.

    Args:
        features_ND: Training features; those that do not vary become zero.
    """

    def __init__(self, features_ND: NDArray[np.float32]) -> None:
        wide_ND = features_ND.astype(np.float64)
        self._mean_D, std_D = wide_ND.mean(axis=0), wide_ND.std(axis=0)
        varies_D = std_D > CONSTANT * np.abs(self._mean_D)
        self._scale_D = np.divide(1.0, std_D, out=np.zeros_like(std_D), where=varies_D)
        self.varies = bool(varies_D.any())
        """Whether any feature varies at all."""

    def __call__(self, features_ND: NDArray[np.float32]) -> Floats:
        """Gives the standardised features, float64 [N, D]."""
        return (features_ND.astype(np.float64) - self._mean_D) * self._scale_D


class Ridge:
    """Least squares with a penalty on the weights, intercept free (Hoerl & Kennard 1970).

    Minimises ‖Y − XW − b‖² + Nλ‖W‖² for standardised X [N, D] and Y [N, T]. The smaller of XᵀX and XXᵀ is factorised
    once; each target and each λ then costs one small product. λ counts per frame, so that one chosen on some walks
    holds for more. Equals `sklearn.linear_model.Ridge(alpha=N * λ)` on X.

    Args:
        x_ND: Standardised training features.
    """

    def __init__(self, x_ND: Floats) -> None:
        count, dim = x_ND.shape
        self._x_ND, self._primal = x_ND, dim <= count
        gram = x_ND.T @ x_ND if self._primal else x_ND @ x_ND.T
        eigenvalues_P, self._vectors = np.linalg.eigh(gram / count)
        self._eigenvalues_P = np.maximum(eigenvalues_P, 0.0)

    def project(self, x_MD: Floats) -> Floats:
        """Writes standardised features in the components of the factorisation, float64 [M, P], for `predict`."""
        if self._primal:
            return x_MD @ self._vectors
        return x_MD @ (self._x_ND.T @ self._vectors)

    def predict(self, projected_MP: Floats, y_NT: Floats, strength: float) -> Floats:
        """Fits targets on the training frames and predicts them where `projected_MP` comes from, float64 [M, T].

        Args:
            projected_MP: Result of `project`.
            y_NT: Targets of the training frames.
            strength: λ, above zero.
        """
        mean_T = y_NT.mean(axis=0)
        centred_NT = y_NT - mean_T
        seen = self._x_ND.T @ centred_NT if self._primal else centred_NT
        weights_PT = (self._vectors.T @ seen) / (len(y_NT) * (self._eigenvalues_P + strength))[:, None]
        return projected_MP @ weights_PT + mean_T


def one_against_rest(label_N: NDArray[np.int64], classes: int) -> Floats:
    """Codes labels 0 … classes − 1 as +1 in their own column and −1 elsewhere, float64 [N, C]."""
    return np.where(label_N[:, None] == np.arange(classes), 1.0, -1.0)


def neighbour_votes(x_ND: Floats, label_N: NDArray[np.int64], x_MD: Floats, classes: int) -> NDArray[np.int64]:
    """Lets the nearest training frames by cosine similarity vote on the class of each other frame, int64 [M].

    A zero vector is similar to nothing and hears all its neighbours alike. Similarities are held for some frames at a
    time only, `_SIMILARITIES` of them.
    """
    unit_DN, count = _unit(x_ND).T, min(NEIGHBOURS, len(x_ND))
    batch, votes_MC = max(1, _SIMILARITIES // len(x_ND)), np.zeros((len(x_MD), classes))
    for start in range(0, len(x_MD), batch):
        part = slice(start, start + batch)
        similarity_MN = _unit(x_MD[part]) @ unit_DN
        nearest_MK = np.argpartition(-similarity_MN, count - 1, axis=1)[:, :count]
        weight_MK = np.exp(np.take_along_axis(similarity_MN, nearest_MK, axis=1) / TEMPERATURE)
        np.add.at(votes_MC[part], (np.arange(len(nearest_MK))[:, None], label_N[nearest_MK]), weight_MK)
    return votes_MC.argmax(axis=1)


def _unit(x_ND: Floats) -> Floats:
    norm_N1 = np.linalg.norm(x_ND, axis=1, keepdims=True)
    return np.divide(x_ND, norm_N1, out=np.zeros_like(x_ND), where=norm_N1 > 0)
