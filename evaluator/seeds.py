"""Numbers of several trials, one a seed: their mean, their differences, and what many comparisons do to a p-value.

Intervals are Student's: with three seeds a 95 % interval is 2.5 standard deviations to either side, which is honest.

Shapes: S seeds, K comparisons.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan, sqrt
from typing import Any, cast

import numpy as np
from scipy import stats

from evaluator.scores import NotMeasurable, Result, Score
from evaluator.times.contrasts import t_half


def over_seeds(results: Sequence[Result]) -> Result:
    """Mean over trials with its t-interval; without one below two trials. What is not measurable is left out.

    Args:
        results: One of each trial; their own intervals, over walks or visits, are not used.
    """
    values = [result.value for result in results if isinstance(result, Score) and isfinite(result.value)]
    if not values:
        return next(
            (result for result in results if isinstance(result, NotMeasurable)), NotMeasurable("no trial has ended")
        )
    return _mean(values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One condition minus another.

    Attributes:
        score: The difference; `clusters` is the number of pairs, or of trials where they are not paired.
        p: Of a two-sided t-test of no difference; NaN where there is no interval.
        paired: Whether by seed.
    """

    score: Score
    p: float
    paired: bool


def paired(pairs: Sequence[tuple[Result, Result]]) -> Difference | NotMeasurable:
    """Mean of the differences within pairs; a pair of which one is not measurable is left out."""
    gaps = [one.value - other.value for one, other in pairs if isinstance(one, Score) and isinstance(other, Score)]
    if not gaps:
        return NotMeasurable("no pair of trials with the same seed and stream has both numbers")
    score = _mean(gaps)
    error = float(np.std(gaps, ddof=1)) / sqrt(len(gaps)) if len(gaps) > 1 else nan
    return Difference(score=score, p=_p(score.value, error, len(gaps) - 1), paired=True)


def unpaired(one: Sequence[Result], other: Sequence[Result]) -> Difference | NotMeasurable:
    """Difference of two means of independent trials, with Welch's interval (Welch 1947)."""
    groups = [[result.value for result in results if isinstance(result, Score)] for results in (one, other)]
    if not all(groups):
        return NotMeasurable("one of the two has no trial with this number")
    value = float(np.mean(groups[0]) - np.mean(groups[1]))
    count = sum(len(group) for group in groups)
    if min(len(group) for group in groups) < 2:
        return Difference(
            score=Score(value=value, low=None, high=None, frames=count, clusters=count), p=nan, paired=False
        )
    parts = np.array([np.var(group, ddof=1) / len(group) for group in groups])
    error = float(np.sqrt(parts.sum()))
    below = float((parts**2 / np.array([len(group) - 1 for group in groups])).sum())
    freedom = float(parts.sum()) ** 2 / below if below > 0 else float(count - 2)
    half = t_half(error, freedom)
    score = Score(value=value, low=value - half, high=value + half, frames=count, clusters=count)
    return Difference(score=score, p=_p(value, error, freedom), paired=False)


def slope(lines: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Difference | NotMeasurable:
    """Mean over seeds of the least-squares slope of each seed's own line.

    Args:
        lines: Of each seed its x and y; one with fewer than two places is left out.
    """
    slopes = [float(np.polyfit(x, y, 1)[0]) for x, y in lines if len(set(x)) > 1]
    if not slopes:
        return NotMeasurable("no seed has the number at all levels, and at two places at least")
    return paired([(_mean([value]), _mean([0.0])) for value in slopes])


def holm(p_K: Sequence[float]) -> list[float]:
    """Adjusts p-values for having made all of these comparisons (Holm 1979); NaN stays, and does not count."""
    known = sorted((p, place) for place, p in enumerate(p_K) if isfinite(p))
    adjusted = [nan] * len(p_K)
    greatest = 0.0
    for rank, (p, place) in enumerate(known):
        greatest = max(greatest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = greatest
    return adjusted


def _mean(values: Sequence[float]) -> Score:
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return Score(value=mean, low=None, high=None, frames=count, clusters=count)
    half = t_half(float(np.std(values, ddof=1)) / sqrt(count), count - 1)
    return Score(value=mean, low=mean - half, high=mean + half, frames=count, clusters=count)


def _p(value: float, error: float, freedom: float) -> float:
    if not isfinite(error):
        return nan
    if not error:  # all alike: counts of few, not an effect without noise
        return nan if value else 1.0
    t = abs(value) / error
    return 2 * float(cast(Any, stats).t.sf(t, freedom))
