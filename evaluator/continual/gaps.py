"""The stability gap: how far known worlds fall after a change of world, and how long until they are back.

The phenomenon is De Lange et al.'s (2023, arXiv:2205.13452), who show it as curves; these two numbers are ours. A
change is the beginning of a visit to a world where no actor was. Its known worlds are those visited before it, but not
the one that is entered. ā(v) is the mean of their accuracies at version v.

    v₋    the last version made before the change
    v*    the version of least ā after it, until the next change
    depth = ā(v₋) − ā(v*);  negative where ā only rose

A minimum over noisy numbers lies low, so `unseen_depth` gives the same over worlds that are never visited: what of the
depth would be there if nothing had been known.

Recovery is the time from the change to the first version after v* with ā ≥ ā(v₋), of those changes whose depth has an
interval above 0; censored at the next change. Where every world is back before the first version, nothing is seen.

Shapes: V versions, W worlds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluator.continual.stream import Difference, Ints, Stream, Visit
from evaluator.scores import NotMeasurable, Result, Score
from evaluator.times.events import Outcome
from evaluator.times.survival import Durations, median


@dataclass(frozen=True, kw_only=True, eq=False)
class WorldChange:
    """One change of world with at least one version before it and one before the next.

    Attributes:
        time: System time at which the visit began, s.
        entered: The world that was entered.
        known: Worlds that were known before.
        before: Column of v₋.
        after: Columns of the versions until the next change.
    """

    time: float
    entered: str
    known: Ints
    before: int
    after: Ints

    def depth(self, stream: Stream, worlds: Ints | None = None) -> Difference:
        """ā(v₋) − ā(v*) of its known worlds, or of others."""
        chosen = self.known if worlds is None else worlds
        mean_V = stream.accuracy_VW[:, chosen].mean(axis=1)
        found = Difference.zero(stream)
        found.of_VW[self.before, chosen] += 1 / len(chosen)
        found.of_VW[self.after[mean_V[self.after].argmin()], chosen] -= 1 / len(chosen)
        return found


def world_changes(stream: Stream) -> list[WorldChange]:
    """Finds the changes of world, oldest first."""
    place = {world: index for index, world in enumerate(stream.worlds)}
    entries: list[tuple[Visit, set[str]]] = []
    seen, going_on = set[str](), dict[str, str]()
    for visit in stream.visits:
        if seen and visit.world not in going_on.values():
            entries.append((visit, seen - {visit.world}))
        going_on[visit.actor] = visit.world
        seen = seen | {visit.world}
    found: list[WorldChange] = []
    for number, (visit, others) in enumerate(entries):
        end = entries[number + 1][0].start if number + 1 < len(entries) else np.inf
        after = np.flatnonzero((stream.time_V > visit.start) & (stream.time_V <= end))
        before = int((stream.time_V <= visit.start).sum()) - 1
        known = np.array(sorted(place[name] for name in others if name in place), np.int64)
        if before >= 0 and len(after) and len(known):
            found.append(WorldChange(time=visit.start, entered=visit.world, known=known, before=before, after=after))
    return found


def mean_depth(stream: Stream, changes: Sequence[WorldChange]) -> Difference | NotMeasurable:
    """Mean depth over changes."""
    if not changes:
        return NotMeasurable("no change to another world has a version before it and one before the next change")
    return _mean([change.depth(stream) for change in changes])


def unseen_depth(stream: Stream, changes: Sequence[WorldChange], unseen: Ints) -> Difference | NotMeasurable:
    """The same of worlds that were never visited."""
    if not len(unseen):
        return NotMeasurable("every world of the probe set was visited, so there is no control")
    if not changes:
        return NotMeasurable("no change to another world has a version before it and one before the next change")
    return _mean([change.depth(stream, unseen) for change in changes])


def recovery(stream: Stream, changes: Sequence[WorldChange]) -> Result:
    """Median time to recovery, s (Kaplan–Meier), each change a cluster."""
    low, high, outcome = list[float](), list[float](), list[int]()
    for change in changes:
        depth = change.depth(stream).score(stream)
        if not isinstance(depth, Score) or depth.low is None or depth.low <= 0:
            continue
        mean_V = stream.accuracy_VW[:, change.known].mean(axis=1)
        lowest = change.after[mean_V[change.after].argmin()]
        back = [v for v in change.after.tolist() if v > lowest and mean_V[v] >= mean_V[change.before]]
        low.append(float(stream.time_V[back[0] - 1 if back else change.after[-1]]) - change.time)
        high.append(float(stream.time_V[back[0]]) - change.time if back else np.inf)
        outcome.append(Outcome.EVENT if back else Outcome.CENSORED)
    if not low:
        return NotMeasurable(
            "after no change did the known worlds fall so far that the interval of the depth is above 0"
        )
    return median(
        Durations(
            low_N=np.array(low),
            high_N=np.array(high),
            followed_N=np.array(low),
            outcome_N=np.array(outcome, np.int64),
            cluster_N=np.arange(len(low)),
        ),
        what="recovery",
    )


def _mean(depths: Sequence[Difference]) -> Difference:
    return Difference(
        of_VW=np.mean([depth.of_VW for depth in depths], axis=0),
        of_base_W=np.mean([depth.of_base_W for depth in depths], axis=0),
    )
