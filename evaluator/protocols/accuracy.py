"""Share of right answers with its interval."""

from math import sqrt
from statistics import NormalDist

from evaluator.scores import LEVEL, NotMeasurable, Result, Score


def wilson(right: int, asked: int) -> Result:
    """Scores independent answers by Wilson's interval (1927, JASA 22:209), which holds near 0 and 1 too.

        (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) ÷ (1 + z²/n)

    Args:
        right: Right answers.
        asked: Answers.
    """
    if not asked:
        return NotMeasurable("no picture is asked")
    share, quantile = right / asked, NormalDist().inv_cdf((1 + LEVEL) / 2)
    square = quantile**2 / asked
    middle = (share + square / 2) / (1 + square)
    half = quantile * sqrt(share * (1 - share) / asked + square / (4 * asked)) / (1 + square)
    return Score(value=share, low=max(0.0, middle - half), high=min(1.0, middle + half), frames=asked, clusters=asked)
