"""The continual metrics of a run, each a mean of differences of place accuracies, with its interval over walks.

N worlds j were visited; e_g is the end of task g, G the last task, g(j) the task of world j, b random-init's accuracy.

| metric | formula | from |
|---|---|---|
| `acc` | mean over all j of a(e_G, j) | [1], eq. 2 |
| `bwt` | mean over j before task G of a(e_G, j) − a(e_g(j), j) | [1], eq. 3 |
| `fwt` | mean over j after task 1 of a(e_(g(j)−1), j) − b(j) | [1], eq. 4 |
| `forgetting` | mean over j before task G of max over g < G of a(e_g, j) − a(e_G, j) | [2], section 4 |
| `min_acc` | mean over j before task G of the least a(v, j) at any version v after e_g(j) | [3], section 3 |
| `wc_acc` | (Σ over j of task G of a(e_G, j) + Σ over the other j of their least) ÷ N | [3], section 3 |

[1] Lopez-Paz & Ranzato 2017, arXiv:1706.08840; [2] Chaudhry et al. 2018, arXiv:1801.10112; [3] De Lange et al. 2023,
arXiv:2205.13452.

A maximum or minimum over noisy numbers is biased: `forgetting` of an encoder that never changes comes out above 0, and
`min_acc` below its accuracy. `forgetting_unseen` is therefore the same formula, over the same task ends, on worlds that
were never visited: it holds the same selection, and whatever moves all worlds together.

Shapes: V versions, W worlds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from evaluator.continual.gaps import WorldChange, recovery, unseen_depth, world_changes
from evaluator.continual.gaps import mean_depth as mean_gap
from evaluator.continual.stream import Difference, Floats, Ints, Stream
from evaluator.continual.tasks import Tasks
from evaluator.scores import NotMeasurable, Result


class Metric(StrEnum):
    """Names of the metrics, in the order in which they are shown."""

    ACC = "acc"
    BWT = "bwt"
    FWT = "fwt"
    FORGETTING = "forgetting"
    FORGETTING_UNSEEN = "forgetting_unseen"
    MIN_ACC = "min_acc"
    WC_ACC = "wc_acc"
    GAP_DEPTH = "gap_depth"
    GAP_DEPTH_UNSEEN = "gap_depth_unseen"
    RECOVERY = "recovery"


@dataclass(frozen=True, kw_only=True, eq=False)
class Continual:
    """What one run says.

    Attributes:
        scores: Every metric; `recovery` in seconds, the others in accuracy.
        tasks: Names of the worlds of each task.
        versions: Versions with place scores.
        unmeasured: Versions left out for want of them.
        returns: Visits to a world that had been visited before.
        changes: World changes with a version on either side.
    """

    scores: Mapping[Metric, Result]
    tasks: Sequence[Sequence[str]] = ()
    versions: int = 0
    unmeasured: int = 0
    returns: int = 0
    changes: Sequence[WorldChange] = ()

    def row(self) -> dict[str, Any]:
        """Gives it as plain JSON."""
        return {
            "tasks": [list(worlds) for worlds in self.tasks],
            "versions": self.versions,
            "unmeasured": self.unmeasured,
            "returns": self.returns,
            "changes": len(self.changes),
            **{str(metric): result.row() for metric, result in self.scores.items()},
        }


def continual(stream: Stream | NotMeasurable) -> Continual:
    """Takes all metrics of a run."""
    if isinstance(stream, NotMeasurable):
        return Continual(scores=dict.fromkeys(Metric, stream))
    tasks = Tasks.of(stream)
    changes = world_changes(stream)
    depth = mean_gap(stream, changes)
    scores: dict[Metric, Result] = {
        Metric.ACC: _score(_accuracy(stream, tasks), stream),
        Metric.BWT: _score(_backward(stream, tasks), stream),
        Metric.FWT: _score(_forward(stream, tasks), stream),
        Metric.FORGETTING: _score(_forgetting(stream, tasks, tasks.earlier), stream),
        Metric.FORGETTING_UNSEEN: _score(_forgetting(stream, tasks, tasks.unseen), stream),
        Metric.MIN_ACC: _score(_least(stream, tasks), stream),
        Metric.WC_ACC: _score(_worst_case(stream, tasks), stream),
        Metric.GAP_DEPTH: _score(depth, stream),
        Metric.GAP_DEPTH_UNSEEN: _score(unseen_depth(stream, changes, tasks.unseen), stream),
        Metric.RECOVERY: depth if isinstance(depth, NotMeasurable) else recovery(stream, changes),
    }
    return Continual(
        scores=scores,
        tasks=[[stream.worlds[w] for w in np.flatnonzero(tasks.task_W == task)] for task in range(len(tasks))],
        versions=len(stream.time_V),
        unmeasured=stream.unmeasured,
        returns=len(stream.visits) - len({visit.world for visit in stream.visits}),
        changes=changes,
    )


type _Difference = Difference | NotMeasurable


def _score(difference: _Difference, stream: Stream) -> Result:
    return difference if isinstance(difference, NotMeasurable) else difference.score(stream)


def _accuracy(stream: Stream, tasks: Tasks) -> _Difference:
    if not len(tasks):
        return NotMeasurable("no version was measured after the first visit of a world of the probe set")
    found = Difference.zero(stream)
    found.of_VW[-1, tasks.seen] = 1 / len(tasks.seen)
    return found


def _backward(stream: Stream, tasks: Tasks) -> _Difference:
    if because := _one_task(tasks):
        return because
    return _mean_of(stream, tasks.earlier, plus=_last(stream, tasks), minus=tasks.end_G[tasks.task_W[tasks.earlier]])


def _forward(stream: Stream, tasks: Tasks) -> _Difference:
    if because := _one_task(tasks):
        return because
    later = tasks.later
    found = _mean_of(stream, later, plus=tasks.end_G[tasks.task_W[later] - 1])
    found.of_base_W[later] = -1 / len(later)
    return found


def _forgetting(stream: Stream, tasks: Tasks, worlds: Ints) -> _Difference:
    if because := _one_task(tasks):
        return because
    if not len(worlds):
        return NotMeasurable("every world of the probe set was visited, so there is no control")
    ends = tasks.end_G[:-1]
    best = ends[stream.accuracy_VW[np.ix_(ends, worlds)].argmax(axis=0)]
    return _mean_of(stream, worlds, plus=best, minus=np.full(len(worlds), len(stream.time_V) - 1))


def _least(stream: Stream, tasks: Tasks) -> _Difference:
    if because := _one_task(tasks):
        return because
    return _mean_of(stream, tasks.earlier, plus=_lowest(stream, tasks))


def _worst_case(stream: Stream, tasks: Tasks) -> _Difference:
    if because := _one_task(tasks):
        return because
    seen, earlier = tasks.seen, tasks.earlier
    found = Difference.zero(stream)
    found.of_VW[-1, np.setdiff1d(seen, earlier)] = 1 / len(seen)
    found.of_VW[_lowest(stream, tasks), earlier] = 1 / len(seen)
    return found


def _lowest(stream: Stream, tasks: Tasks) -> Ints:
    """Column of the least accuracy of each earlier world after the end of its task."""
    accuracy_VW: Floats = stream.accuracy_VW
    ends = tasks.end_G[tasks.task_W[tasks.earlier]]
    found = [end + 1 + accuracy_VW[end + 1 :, w].argmin() for w, end in zip(tasks.earlier, ends, strict=True)]
    return np.array(found, np.int64)


def _last(stream: Stream, tasks: Tasks) -> Ints:
    return np.full(len(tasks.earlier), len(stream.time_V) - 1, np.int64)


def _mean_of(stream: Stream, worlds: Ints, *, plus: Ints, minus: Ints | None = None) -> Difference:
    """Mean over worlds of a at one version of each − a at another."""
    found = Difference.zero(stream)
    found.of_VW[plus, worlds] += 1 / len(worlds)
    if minus is not None:
        found.of_VW[minus, worlds] -= 1 / len(worlds)
    return found


def _one_task(tasks: Tasks) -> NotMeasurable | None:
    if len(tasks) > 1:
        return None
    return NotMeasurable(
        "no version was measured between the first visits of two worlds, so nothing can be compared before and after"
        if len(tasks.seen) > 1
        else f"{len(tasks.seen) or 'no'} world of the probe set was visited; it takes two"
    )
