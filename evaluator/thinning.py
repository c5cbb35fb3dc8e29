"""Which experience to give up when there are too many to follow."""

from collections import Counter
from collections.abc import Sequence
from math import log
from typing import Protocol


class Aged(Protocol):
    """What the choice looks at: never at the loss, which would bias it."""

    @property
    def visit(self) -> str:
        """The visit that must stay represented."""
        ...

    @property
    def kind(self) -> str:
        """Exposed or withheld: a visit with both allows a contrast within itself."""
        ...

    @property
    def end(self) -> float:
        """When it ended, seconds."""
        ...


def most_redundant(experiences: Sequence[Aged], now: float, block: float) -> int:
    """Picks the experience that can be spared best.

    Candidates are, in this order of preference, those of which their visit has another one of the same kind; those of
    which their visit has another one; all. Among them goes the one that sits closest to its neighbours in the
    logarithm of age, so that what stays is dense among the young and sparse among the old, as forgetting curves need
    it; of equals, the oldest.

    Args:
        experiences: At least one, in any order.
        now: Present moment, on the clock of `end`.
        block: Length of an experience, seconds; the smallest age that is told apart.

    Returns:
        Its index in `experiences`.
    """
    of_kind = Counter((item.visit, item.kind) for item in experiences)
    of_visit = Counter(item.visit for item in experiences)

    def sacrifice(item: Aged) -> int:
        if of_kind[item.visit, item.kind] > 1:
            return 0
        return 1 if of_visit[item.visit] > 1 else 2

    order = sorted(range(len(experiences)), key=lambda index: experiences[index].end)
    log_age = [log(max(now - experiences[index].end, 0.0) + block) for index in order]

    def gap(rank: int) -> float:
        older = log_age[rank - 1] if rank else float("inf")
        younger = log_age[rank + 1] if rank + 1 < len(order) else -float("inf")
        return older - younger

    best = min(range(len(order)), key=lambda rank: (sacrifice(experiences[order[rank]]), gap(rank), rank))
    return order[best]
