"""Memory bits: how much a prediction tells about which of 256 targets of its position is its own.

    S = log₂ K' − CE₂,   CE₂ = −log₂ [ e^{β c₀} / (e^{β c₀} + (K' − 1) ⟨e^{β c_i}⟩_i) ],   K' = 256

with c₀ the cosine to its own target and c_i those to N targets of other frames. With N = 255 this is the cross entropy
of telling one of K' (InfoNCE, van den Oord et al. 2018, arXiv:1807.03748, eq. 4; by its eq. 5, S bounds the mutual
information from below). With fewer, each stands for 255 / N: the sum over negatives keeps its expectation, so the scale
and the range (−∞, 8] stay, and S reads a little too high, to second order by half the relative variance of the mean.

Shapes: F frames, Q predictions of a frame, N negatives.
"""

from math import exp, log
from typing import Any, cast

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

CANDIDATES = 256
"""K': targets that a prediction is told from, its own included."""

SHARPEST = 100.0
"""Greatest inverse temperature β."""

BLUNTEST = 1.0
"""Smallest: with β = 0 a network that knows one experience and nothing of the calibration frames would score 0
everywhere. At 1 a wrong prediction costs a few hundredths of a bit."""

type Floats = NDArray[np.float32]


def memory_bits(cosines_FQN: Floats, beta: float) -> NDArray[np.float64]:
    """Scores frames: float64 [F], the mean over predictions.

    Args:
        cosines_FQN: Each prediction's cosine to its own target, then to those of N other frames; [F, Q, 1 + N].
        beta: Inverse temperature.
    """
    logits_FQN = beta * cosines_FQN.astype(np.float64)
    weight = (CANDIDATES - 1) / (logits_FQN.shape[-1] - 1)
    above_FQN = np.exp(logits_FQN[..., 1:] - logits_FQN[..., :1])  # at most e^200: no overflow
    nats_FQ = np.log1p(weight * above_FQN.sum(axis=-1))
    return (log(CANDIDATES) - nats_FQ.mean(axis=1)) / log(2)


def fit_beta(calibration: list[Floats]) -> float:
    """Finds the inverse temperature that gives the most bits on frames that nobody trained on, from 1 to 100.

    The cross entropy is convex in β, so there is one such.

    Args:
        calibration: Cosines as `memory_bits` takes them, one array a world; at least one.
    """

    def lost(log_beta: float) -> float:
        frames = np.concatenate([memory_bits(cosines, exp(log_beta)) for cosines in calibration])
        return -float(frames.mean())

    minimise = cast(Any, scipy.optimize).minimize_scalar
    found = minimise(lost, bounds=(log(BLUNTEST), log(SHARPEST)), method="bounded", options={"xatol": 1e-2})
    return exp(float(found.x))
