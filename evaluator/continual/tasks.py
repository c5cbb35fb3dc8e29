"""Where a live stream has the task boundaries that continual metrics are defined on.

Shapes: V versions, W worlds, G tasks.
"""

from dataclasses import dataclass

import numpy as np

from evaluator.continual.stream import Ints, Stream


@dataclass(frozen=True, kw_only=True, eq=False)
class Tasks:
    """A stream cut at the first visits of worlds.

    Visited worlds are put in the order of their first visits. Task g lasts from the first visit of its world to that of
    the next world; the last one to the last version. Its end e_g is the last version made before the next first visit,
    so the papers' R[g, j] is a(e_g, j). Two things that a benchmark does not have:

    - **Returns.** A return to a known world is no boundary. It belongs to the task during which it happens, and what it
      refreshes counts: the metrics speak of the stream as it was lived, rehearsal by returns included.
    - **Ties.** Worlds between whose first visits no version was measured (several actors; visits shorter than the time
      between evaluations) have one end and make up one task together. With one world a task the definitions are the
      papers'.

    Worlds first visited after the last version belong to no task, and count as not visited.

    Attributes:
        task_W: Task of each world; −1 without one.
        end_G: Column of the version at each task's end.
    """

    task_W: Ints
    end_G: Ints

    @classmethod
    def of(cls, stream: Stream) -> "Tasks":
        """Cuts a stream."""
        before_W = np.searchsorted(stream.time_V, stream.first_W, side="left")
        known_W = before_W < len(stream.time_V)
        starts_G, index = np.unique(before_W[known_W], return_inverse=True)
        task_W = np.full(len(stream.worlds), -1, np.int64)
        task_W[known_W] = index
        ends = np.append(starts_G[1:], len(stream.time_V)) - 1 if len(starts_G) else np.zeros(0)
        return cls(task_W=task_W, end_G=ends.astype(np.int64))

    def __len__(self) -> int:
        return len(self.end_G)

    @property
    def seen(self) -> Ints:
        """Worlds of any task."""
        return np.flatnonzero(self.task_W >= 0)

    @property
    def earlier(self) -> Ints:
        """Worlds of all tasks but the last."""
        return np.flatnonzero((self.task_W >= 0) & (self.task_W < len(self) - 1))

    @property
    def later(self) -> Ints:
        """Worlds of all tasks but the first."""
        return np.flatnonzero(self.task_W > 0)

    @property
    def unseen(self) -> Ints:
        """Worlds that nobody visited while versions were measured: the control."""
        return np.flatnonzero(self.task_W < 0)
