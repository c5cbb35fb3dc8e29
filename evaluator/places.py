"""The place score taken apart: what was asked in each world and how much of it was right, walk by walk.

Walks are kept apart so that whoever reads the rows can draw them anew, the same ones at every version
(`evaluator/continual/`).

Shapes: C walks, W worlds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluator.scores import NotMeasurable, Result, Sample, ratio


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Place probe of one world.

    Attributes:
        score: Accuracy.
        right: Frames of each test walk whose cell was told right, walks in the order of their numbers.
        asked: Frames of each test walk.
    """

    score: Result
    right: tuple[int, ...]
    asked: tuple[int, ...]

    def row(self) -> dict[str, Any]:
        """Gives the score as plain JSON, the walks beside it."""
        return {**self.score.row(), "right": list(self.right), "asked": list(self.asked)}


def by_world(sample: Sample | NotMeasurable, worlds: Sequence[str]) -> dict[str, Places | NotMeasurable]:
    """Takes apart the sample of the place task.

    Args:
        sample: Its sums are float64 [C, 2 W]: frames told right in each world, then frames asked in each.
        worlds: Names of the W worlds.
    """
    if isinstance(sample, NotMeasurable):
        return dict.fromkeys(worlds, sample)
    right_CW, asked_CW = np.split(sample.sums_CS, 2, axis=1)
    return {world: _of(np.stack([right_CW[:, w], asked_CW[:, w]], axis=1)) for w, world in enumerate(worlds)}


def _of(sums_C2: NDArray[np.float64]) -> Places:
    here_C2 = sums_C2[sums_C2[:, 1] > 0]
    right, asked = here_C2.astype(int).T.tolist()
    sample = Sample(sums_CS=here_C2, statistic=ratio, frames=sum(asked), undefined="no frame is asked")
    return Places(score=sample.score(), right=tuple(right), asked=tuple(asked))
