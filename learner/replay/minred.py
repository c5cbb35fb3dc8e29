"""MinRed: a full buffer gives up the most redundant frame.

Shape suffixes: B frames of a batch, U of them that differ, C slots, D width of the features, R rows compared anew.
"""

from typing import Any, override

import numpy as np
from numpy.typing import NDArray

from common.config import Keep
from learner.replay.keep import Keeper

FEATURE_EMA = 0.5
"""Share of the old features that stays when a frame is trained on again."""
ROWS = 8
"""Bounds that are made exact at once: one pass over all features serves them all."""
_NONE = -1


class MinRed(Keeper):
    """Replaces the frame whose nearest neighbour is nearest (Purushwalkam et al. 2022, arXiv:2203.12710).

        victim = argmin_i min_{j≠i} (1 − f_i · f_j)        f_i ← normalise(m f_i + (1 − m) x ÷ |x|)

    x are the features that a training step found, m = 0.5. Of a closest pair either may go. Frames that were not
    trained on yet have no features: they are neither compared nor replaced, so about 1 ÷ replay ratio of a buffer drawn
    uniformly waits unseen. While fewer than two frames have features, slots are taken in turn.

    Exact, but lazy. A frame is compared with all others when it is learned, and keeps the greatest similarity as bound,
    with the neighbour's name. Of each pair the one that was learned later knows of the other, which is enough to find
    the closest pair. A neighbour that goes or changes takes its name along and leaves the bound; only bounds that come
    out on top without a name are computed anew.

    Time: an addition mostly one pass over all features, O(C D); a batch that was learned O(B C D) in one matrix product
    (about 2 B C D FLOP). Memory 4 C D + 13 C bytes.

    Args:
        capacity: Number of slots.
        dim: Width of the features.
    """

    name = Keep.MINRED
    wants_features = True

    def __init__(self, capacity: int, *, dim: int) -> None:
        super().__init__(capacity)
        self._features_CD = np.zeros((capacity, dim), np.float32)
        self._known_C = np.zeros(capacity, np.bool_)
        self._bound_C = np.full(capacity, -np.inf, np.float32)
        self._neighbour_C = np.full(capacity, _NONE, np.int64)

    @override
    def _replace(self, serial: int) -> int:
        if np.count_nonzero(self._known_C) < 2:
            slot = serial % self.capacity
        else:
            while self._neighbour_C[slot := int(self._bound_C.argmax())] == _NONE:
                self._tighten()
        self._forget(slot)
        return slot

    @override
    def learned(self, slots_B: NDArray[np.int64], features_BD: NDArray[np.float32]) -> None:
        slots_U, first_U = np.unique(slots_B, return_index=True)
        if not len(slots_U):
            return
        found_UD = _normalised(features_BD[first_U])
        stays_U1 = np.where(self._known_C[slots_U, None], np.float32(FEATURE_EMA), np.float32(0))
        self._features_CD[slots_U] = _normalised(stays_U1 * self._features_CD[slots_U] + (1 - stays_U1) * found_UD)
        self._known_C[slots_U] = True
        changed_C = np.zeros(self.capacity, np.bool_)
        changed_C[slots_U] = True
        self._neighbour_C[changed_C[self._neighbour_C] & (self._neighbour_C != _NONE)] = _NONE
        self._measure(slots_U)

    @override
    def settings(self) -> dict[str, Any]:
        return {"dim": self._features_CD.shape[1]}

    @override
    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "features": self._features_CD,
            "known": self._known_C,
            "bound": self._bound_C,
            "neighbour": self._neighbour_C,
        }

    def _measure(self, slots_R: NDArray[np.int64]) -> None:
        """Makes the bounds of these frames exact: compares them with all others that have features."""
        rows_R = np.arange(len(slots_R))
        similar_RC = self._features_CD[slots_R] @ self._features_CD.T
        similar_RC[:, ~self._known_C] = -np.inf
        similar_RC[rows_R, slots_R] = -np.inf
        nearest_R = similar_RC.argmax(1)
        best_R = similar_RC[rows_R, nearest_R]
        self._bound_C[slots_R] = best_R
        self._neighbour_C[slots_R] = np.where(np.isneginf(best_R), _NONE, nearest_R)

    def _tighten(self) -> None:
        """Makes the greatest bounds exact that are not."""
        loose = np.flatnonzero(self._known_C & (self._neighbour_C == _NONE))
        if len(loose) > ROWS:
            loose = loose[np.argpartition(self._bound_C[loose], -ROWS)[-ROWS:]]
        self._measure(loose)

    def _forget(self, slot: int) -> None:
        self._known_C[slot] = False
        self._features_CD[slot] = 0.0
        self._bound_C[slot] = -np.inf
        self._neighbour_C[slot] = _NONE
        self._neighbour_C[self._neighbour_C == slot] = _NONE


def _normalised(features_BD: NDArray[np.float32]) -> NDArray[np.float32]:
    norm_B1 = np.linalg.norm(features_BD, axis=1, keepdims=True)
    return (features_BD / np.maximum(norm_B1, 1e-12)).astype(np.float32, copy=False)
