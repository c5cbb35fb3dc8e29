"""What can be read off a frozen encoder with a linear map, or from its nearest neighbours.

| task | target | score |
|---|---|---|
| world | which world, one-vs-rest on ±1 | accuracy |
| place | which 256-unit cell, given the world: one probe a world | accuracy, mean over worlds |
| heading | (sin, cos) of the direction of view | R² |
| depth | the 9 medians of a 3×3 grid | R² |

R² = 1 − Σ(y − ŷ)² ÷ Σ(y − ȳ)², both sums over test frames *and* outputs (scikit-learn's `variance_weighted`): an
output that hardly varies, such as the floor's depth, cannot dominate, and a constant one is not divided by zero.

Shapes: N frames of the probe set, M test frames, D features, T targets, C clusters (walks), S sums, R replicates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from evaluator.encoders import Pause, fault
from evaluator.folds import UNCHOSEN, Bools, Fold, Ints, Split, chooser, strongest_best
from evaluator.places import Places, by_world
from evaluator.probeset import ProbeSet
from evaluator.ridge import Floats, Standardiser, one_against_rest
from evaluator.scores import NotMeasurable, Result, Sample, cluster_sums, divide, mean_sample

MIN_CELL_FRAMES = 5
"""Fewest training frames of a place cell; smaller cells are dropped from their world's task."""


type Sampled = Sample | NotMeasurable


class Task(StrEnum):
    """What is read off the features."""

    WORLD = "world"
    PLACE = "place"
    HEADING = "heading"
    DEPTH = "depth"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeScores:
    """Scores of one encoder.

    Attributes:
        linear: By ridge regression, all tasks.
        knn: By the nearest neighbours, `world` and `place`.
        samples: Data behind `linear`, by which two encoders are compared.
    """

    linear: Mapping[Task, Result]
    knn: Mapping[Task, Result]
    samples: Mapping[Task, Sampled] = field(repr=False, compare=False)

    @classmethod
    def of(cls, linear: Mapping[Task, Sampled], knn: Mapping[Task, Sampled]) -> "ProbeScores":
        """Scores samples."""
        return cls(
            linear={task: _score(sample) for task, sample in linear.items()},
            knn={task: _score(sample) for task, sample in knn.items()},
            samples=linear,
        )

    @classmethod
    def none(cls, because: str) -> "ProbeScores":
        """Says of every task why it cannot be measured."""
        no = NotMeasurable(because)
        return cls.of(dict.fromkeys(Task, no), {Task.WORLD: no, Task.PLACE: no})

    def gain_over(self, other: "ProbeScores") -> dict[Task, Result]:
        """Scores the linear probes' self − other, both on the same probe set, walks drawn in pairs."""
        return {task: _gain(sample, other.samples[task]) for task, sample in self.samples.items()}


def _score(sample: Sampled) -> Result:
    return sample if isinstance(sample, NotMeasurable) else sample.score()


def _gain(sample: Sampled, other: Sampled) -> Result:
    if isinstance(sample, NotMeasurable):
        return sample
    return other if isinstance(other, NotMeasurable) else sample.gain_over(other)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Places:
    """Place task of one world.

    Attributes:
        world: Its name.
        split: Frames in cells with enough training frames.
        cell: Number of the cell within the task, −1 elsewhere, int64 [N].
        cells: How many cells.
    """

    world: str
    split: Split
    cell: Ints
    cells: int


class Probes:
    """The probes of one probe set; the same for every encoder that is put to them.

    Args:
        probe_set: Labelled frames.
    """

    def __init__(self, probe_set: ProbeSet) -> None:
        self._set = probe_set
        self._split = Split.of(probe_set)
        self._places = [task for world in range(len(probe_set.spec.names)) if (task := self._places_of(world))]

    def run(self, features_ND: NDArray[np.float32], pause: Pause) -> ProbeScores:
        """Scores the features of all frames of the probe set."""
        if because := self._obstacle(features_ND):
            return ProbeScores.none(because)
        choose = chooser(features_ND, self._split)
        final = Fold(features_ND, self._split.train, self._split.test)
        pause()
        world, world_knn = self._world(choose, final)
        pause()
        heading_N2 = np.stack([np.sin(self._set.heading), np.cos(self._set.heading)], axis=1).astype(np.float64)
        heading = self._regress(choose, final, heading_N2, "the heading")
        depth = self._regress(choose, final, self._set.depth.reshape(-1, 9).astype(np.float64), "the depth")
        pause()
        place, place_knn = self._place(features_ND, pause)
        return ProbeScores.of(
            {Task.WORLD: world, Task.PLACE: place, Task.HEADING: heading, Task.DEPTH: depth},
            {Task.WORLD: world_knn, Task.PLACE: place_knn},
        )

    def places(self, scores: ProbeScores) -> dict[str, Places | NotMeasurable]:
        """Takes the linear place score of an encoder apart; worlds without a place task are left out."""
        return by_world(scores.samples[Task.PLACE], [task.world for task in self._places])

    def _obstacle(self, features_ND: NDArray[np.float32]) -> str:
        if because := fault(features_ND):
            return because
        if not self._split.train.any() or not self._split.test.any():
            return "the probe set has too few walks for a training and a test set"
        if not Standardiser(features_ND[self._split.train]).varies:
            return "the features do not vary over the training frames"
        return ""

    def _world(self, choose: Fold | None, final: Fold) -> tuple[Sampled, Sampled]:
        world_N, worlds = self._set.world, len(self._set.spec.names)
        if worlds < 2:
            no = NotMeasurable("the probe set has one world only")
            return no, no
        targets = one_against_rest(world_N, worlds)
        best = strongest_best(choose.error_rates(targets, world_N)) if choose else UNCHOSEN
        truth, walk = world_N[final.held_out], self._set.walk[final.held_out]
        guesses = final.predict(targets, best).argmax(axis=1), final.vote(world_N, worlds)
        linear, knn = (
            mean_sample((guess == truth).astype(np.float64), walk, undefined="no frame is asked") for guess in guesses
        )
        return linear, knn

    def _regress(self, choose: Fold | None, final: Fold, targets_NT: Floats, what: str) -> Sampled:
        if not np.isfinite(targets_NT).all():
            return NotMeasurable(f"{what} is not known for all frames")
        best = strongest_best(choose.squared_errors(targets_NT)) if choose else UNCHOSEN
        truth_MT = targets_NT[final.held_out]
        residual_MT = truth_MT - final.predict(targets_NT, best)
        centred_MT = truth_MT - truth_MT.mean(axis=0)
        one_M = np.ones((len(truth_MT), 1))
        square_MS = np.concatenate([one_M, residual_MT**2, centred_MT**2, centred_MT], axis=1)
        return Sample(
            sums_CS=cluster_sums(square_MS, self._set.walk[final.held_out]),
            statistic=_r2,
            frames=len(truth_MT),
            undefined=f"{what} does not vary over the test frames",
        )

    def _places_of(self, world: int) -> _Places | None:
        here, cell_N = self._set.world == world, self._set.cell
        cells, counts = np.unique(cell_N[here & ~self._set.is_test], return_counts=True)
        kept = cells[counts >= MIN_CELL_FRAMES]
        chosen: Bools = here & np.isin(cell_N, kept)
        if len(kept) < 2 or not (chosen & self._set.is_test).any():
            return None
        label_N = np.where(chosen, np.searchsorted(kept, cell_N), -1)
        name = self._set.spec.names[world]
        return _Places(world=name, split=self._split.among(chosen), cell=label_N, cells=len(kept))

    def _place(self, features_ND: NDArray[np.float32], pause: Pause) -> tuple[Sampled, Sampled]:
        """Scores each world's own place probe, with one λ for all worlds."""
        if not self._places:
            no = NotMeasurable(f"no world has two place cells with {MIN_CELL_FRAMES} training frames and a test frame")
            return no, no
        errors, finals = list[Floats](), list[Fold]()
        for task in self._places:
            if choose := chooser(features_ND, task.split):
                errors.append(choose.error_rates(one_against_rest(task.cell, task.cells), task.cell))
            finals.append(Fold(features_ND, task.split.train, task.split.test))
            pause()
        best = strongest_best(np.mean(errors, axis=0)) if errors else UNCHOSEN
        pairs = list(zip(self._places, finals, strict=True))
        linear = [final.predict(one_against_rest(task.cell, task.cells), best).argmax(axis=1) for task, final in pairs]
        knn = [final.vote(task.cell, task.cells) for task, final in pairs]
        return self._mean_accuracy(linear), self._mean_accuracy(knn)

    def _mean_accuracy(self, guesses: list[Ints]) -> Sample:
        """Averages the accuracies of worlds; a replicate averages over the worlds that it has drawn."""
        columns, walks = list[Floats](), list[Ints]()
        for index, (task, guess) in enumerate(zip(self._places, guesses, strict=True)):
            correct_M2W = np.zeros((len(guess), 2, len(guesses)))
            correct_M2W[:, 0, index] = guess == task.cell[task.split.test]
            correct_M2W[:, 1, index] = 1.0
            columns.append(correct_M2W.reshape(len(guess), -1))
            walks.append(self._set.walk[task.split.test])
        correct_MS = np.concatenate(columns)
        sums_CS = cluster_sums(correct_MS, np.concatenate(walks))
        return Sample(sums_CS=sums_CS, statistic=_mean_of_ratios, frames=len(correct_MS), undefined="no frame is asked")


def _mean_of_ratios(sums_RS: Floats) -> Floats:
    """Mean of right ÷ all over the worlds with frames; the first half of the sums counts right, the second all."""
    right_RW, all_RW = np.split(sums_RS, 2, axis=1)
    rates_RW = np.where(all_RW > 0, divide(right_RW, all_RW), 0.0)
    return divide(rates_RW.sum(axis=1), (all_RW > 0).sum(axis=1).astype(np.float64))


def _r2(sums_RS: Floats) -> Floats:
    """R² from sums of one and, for each output, of the squared residual, the squared target, and the target."""
    count_R = sums_RS[:, 0]
    residual_RT, square_RT, target_RT = np.split(sums_RS[:, 1:], 3, axis=1)
    of_mean_R = divide((target_RT**2).sum(axis=1), count_R)
    total_R = square_RT.sum(axis=1) - of_mean_R
    varies_R = total_R > 1e-9 * (of_mean_R + 1e-3)
    return 1.0 - divide(residual_RT.sum(axis=1), np.where(varies_R, total_R, 0.0))
