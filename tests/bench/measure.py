"""How a benchmark measures: ours and the limit in turns, so that a noisy neighbour hits both."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Result:
    """One line of the table.

    Attributes:
        what: What was measured.
        ours: Our figure, with its unit.
        limit: The raw limit's, measured in the same run.
        ratio: Median over the rounds of ours ÷ limit; None where there is nothing to divide.
        value: What the goal is about; the ratio unless it is something else.
        least: Goal: it is at least this.
        most: Goal: it is at most this.
        also: A second condition of the goal, already judged.
    """

    what: str
    ours: str
    limit: str
    ratio: float | None = None
    value: float | None = None
    least: float | None = None
    most: float | None = None
    also: bool = True

    @property
    def goal(self) -> str:
        """The goal in words; empty without one."""
        low = "" if self.least is None else f"≥ {self.least:g}"
        return low or ("" if self.most is None else f"≤ {self.most:g}")

    @property
    def met(self) -> bool | None:
        """Whether the goal was reached; None without one."""
        value = self.ratio if self.value is None else self.value
        if value is None or not self.goal:
            return None
        return self.also and (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def row(self) -> dict[str, Any]:
        """The line as JSON."""
        return asdict(self) | {"met": self.met}


def rates(ours: Callable[[], float], limit: Callable[[], float], rounds: int = 7) -> tuple[float, float, float]:
    """Runs both in turns after one round of warm-up.

    Args:
        ours: Does the work and returns a rate, anything a second.
        limit: Does the raw work and returns its rate in the same unit.
        rounds: Rounds that count.

    Returns:
        Median of ours, median of the limit, median of the ratios.
    """
    ours()
    limit()
    pairs = [(ours(), limit()) for _ in range(rounds)]
    return median(a for a, _ in pairs), median(b for _, b in pairs), median(a / b for a, b in pairs)


def timed(work: Callable[[], object], count: int) -> float:
    """Does the work once; returns `count` ÷ seconds."""
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)
