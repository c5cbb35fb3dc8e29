"""A measured number with its interval, or the reason why there is none.

Frames of one walk resemble each other, so intervals come from a bootstrap that draws whole clusters (walks, visits)
with replacement (Davison & Hinkley 1997, section 3.8). Every statistic here is a function of sums over frames; a
cluster is therefore reduced to its sums once, and a replicate is one row of a small matrix product.

Shapes: C clusters, S sums, R replicates, N samples.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REPLICATES = 1000
"""Bootstrap replicates; the ends of a 95 % interval then rest on 25 replicates each."""

SEED = 0
"""Seed of the draws: equal numbers of clusters are drawn alike, which pairs the scores of two encoders."""

LEVEL = 0.95
"""Coverage that the intervals aim at. With few clusters (below about 20) percentile intervals come out too narrow."""

type Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From sums [R, S] to values [R]; NaN where the sums leave the value undefined."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """A number measured on some frames.

    Attributes:
        value: The number, finite.
        low: Lower end of the 95 % interval, or None where fewer than two clusters leave no interval.
        high: Upper end, or None likewise.
        frames: Frames that the number was measured on.
        clusters: Walks or visits that these frames come from.
    """

    value: float
    low: float | None
    high: float | None
    frames: int
    clusters: int

    def row(self) -> dict[str, float | int | None]:
        """Gives the score as plain JSON."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "frames": self.frames,
            "clusters": self.clusters,
        }


@dataclass(frozen=True, slots=True)
class NotMeasurable:
    """No number, and why.

    Attributes:
        because: The reason, a clause that continues "not measurable, because …".
    """

    because: str

    def row(self) -> dict[str, str]:
        """Gives the reason as plain JSON."""
        return {"not_measurable": self.because}


type Result = Score | NotMeasurable
"""What every measure returns: never NaN."""


def cluster_sums(values_NS: NDArray[np.float64], cluster_N: NDArray[np.int64]) -> NDArray[np.float64]:
    """Adds up rows by cluster: float64 [C, S], clusters in the order of their ids."""
    _, index_N = np.unique(cluster_N, return_inverse=True)
    sums_CS = np.zeros((int(index_N.max(initial=-1)) + 1, values_NS.shape[1]))
    np.add.at(sums_CS, index_N, values_NS)
    return sums_CS


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sample:
    """Data of one score: from it come the score, and its difference to another score on the same clusters.

    Attributes:
        sums_CS: Sums of each cluster.
        statistic: The number as a function of the sums over all clusters.
        frames: Frames behind the sums.
        undefined: The reason to give where the number is not finite.
    """

    sums_CS: NDArray[np.float64]
    statistic: Statistic
    frames: int
    undefined: str

    def score(self) -> Result:
        """Evaluates the statistic on all clusters and bootstraps its interval."""
        return self._result(self._value(), self._replicates)

    def gain_over(self, other: "Sample") -> Result:
        """Scores self − other, both measured on the same frames, drawing the same clusters for both."""
        assert len(self.sums_CS) == len(other.sums_CS), "paired samples have the same clusters"
        return self._result(self._value() - other._value(), lambda: self._replicates() - other._replicates())

    def _result(self, value: float, replicates: Callable[[], NDArray[np.float64]]) -> Result:
        if not np.isfinite(value):
            return NotMeasurable(self.undefined)
        low, high = interval(replicates()) if len(self.sums_CS) > 1 else (None, None)
        return Score(value=value, low=low, high=high, frames=self.frames, clusters=len(self.sums_CS))

    def _value(self) -> float:
        if not np.isfinite(self.sums_CS).all():
            return float("nan")
        return float(self.statistic(self.sums_CS.sum(axis=0, keepdims=True))[0])

    def _replicates(self) -> NDArray[np.float64]:
        clusters = len(self.sums_CS)
        draws_RC = np.random.default_rng(SEED).multinomial(clusters, np.full(clusters, 1 / clusters), size=REPLICATES)
        return self.statistic(draws_RC.astype(np.float64) @ self.sums_CS)


def mean_sample(value_N: NDArray[np.float64], cluster_N: NDArray[np.int64], *, undefined: str) -> Sample:
    """Takes the plain mean of N samples, each counting once, clustered by `cluster_N`."""
    sums_CS = cluster_sums(np.stack([value_N, np.ones(len(value_N))], axis=1), cluster_N)
    return Sample(sums_CS=sums_CS, statistic=ratio, frames=len(value_N), undefined=undefined)


def ratio(sums_RS: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divides the first sum by the second; NaN where the second is zero."""
    return divide(sums_RS[:, 0], sums_RS[:, 1])


def divide(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divides element by element, without a warning; NaN where the denominator is not above zero."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def interval(values_R: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Takes the percentile interval of replicates; none where fewer than half of them are finite."""
    finite_R = values_R[np.isfinite(values_R)]
    if len(finite_R) < REPLICATES / 2:
        return None, None
    low, high = np.quantile(finite_R, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
