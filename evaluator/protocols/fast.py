"""A quick grade of a frozen encoder: ridge and logistic regression, and nearest neighbours, on cached features.

Both read-outs are standardised on the pictures that are fitted on. λ is the one with the fewest errors on the
validation part (of equals the largest); the fit is then made anew on the whole training set with that λ per picture.

Shapes: N pictures, D features, C classes.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray

from evaluator.encoders import fault
from evaluator.folds import STRENGTHS as RIDGE_STRENGTHS
from evaluator.folds import Fold, chooser, strongest_best
from evaluator.folds import Split as Roles
from evaluator.protocols.accuracy import wilson
from evaluator.protocols.features import Readout, Watch, readouts
from evaluator.protocols.images import ImageFolder
from evaluator.protocols.logistic import STRENGTHS, Logistic
from evaluator.ridge import Standardiser, one_against_rest
from evaluator.scores import NotMeasurable, Result

_TASKS = 3
"""Fits of each read-out that `Watch` counts."""


class Method(StrEnum):
    """How classes are read off."""

    RIDGE = "ridge"
    LOGISTIC = "logistic"
    NEIGHBOURS = "neighbours"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One method on one read-out.

    Attributes:
        readout: What was read.
        method: How.
        strength: λ, per picture; None for neighbours.
        validation: Accuracy on the validation part, None where nothing is chosen there.
        test: Accuracy on the test set.
    """

    readout: Readout
    method: Method
    strength: float | None
    validation: float | None
    test: Result

    def row(self) -> dict[str, object]:
        """Gives the reading as plain JSON."""
        return {**asdict(self), "test": self.test.row()}


def fast(
    layers_NJD: NDArray[np.float32], folder: ImageFolder, *, device: torch.device, watch: Watch
) -> list[Reading] | NotMeasurable:
    """Reads the classes of a folder off features.

    Args:
        layers_NJD: Features of all its pictures.
        folder: The folder.
        device: Where logistic regression is fitted.
        watch: Told the number of fits done.
    """
    if because := fault(layers_NJD):
        return NotMeasurable(because)
    found: list[Reading] = []
    chosen = readouts(layers_NJD.shape[1])
    total = _TASKS * len(chosen)
    roles = Roles(fit=folder.fit, validate=folder.validate, test=folder.test)
    for readout in chosen:
        x_ND = readout.take(layers_NJD)
        if not Standardiser(x_ND[roles.fit]).varies:
            return NotMeasurable("the features do not vary over the training pictures")
        reader = _Reader(x_ND, folder, roles, device)
        for read in (reader.ridge, reader.logistic, reader.neighbours):
            method, strength, validation, right_M = read()
            test = wilson(int(right_M.sum()), len(right_M))
            found.append(Reading(readout=readout, method=method, strength=strength, validation=validation, test=test))
            watch("reading", len(found), total)
    return found


type _Read = tuple[Method, float | None, float | None, NDArray[np.bool_]]


class _Reader:
    """The methods on one read-out; each says what was chosen, and which test pictures it got right."""

    def __init__(self, x_ND: NDArray[np.float32], folder: ImageFolder, roles: Roles, device: torch.device) -> None:
        self._x_ND, self._label_N, self._classes = x_ND, folder.label, len(folder.classes)
        self._roles, self._device = roles, device
        self._final = Fold(x_ND, roles.train, roles.test)

    def ridge(self) -> _Read:
        targets_NC = one_against_rest(self._label_N, self._classes)
        choose = chooser(self._x_ND, self._roles)
        assert choose is not None, "every class has pictures to fit and to validate"
        errors = choose.error_rates(targets_NC, self._label_N)
        best = strongest_best(errors)
        guess_M = self._final.predict(targets_NC, best).argmax(axis=1)
        validation = 1 - float(errors[RIDGE_STRENGTHS.index(best)])
        return Method.RIDGE, best, validation, guess_M == self._label_N[self._roles.test]

    def neighbours(self) -> _Read:
        guess_M = self._final.vote(self._label_N, self._classes)
        return Method.NEIGHBOURS, None, None, guess_M == self._label_N[self._roles.test]

    def logistic(self) -> _Read:
        rates = self._along(self._roles.fit, self._roles.validate, lambda right_M: float(right_M.mean()))
        best = int(np.argmax(rates))
        right = self._along(self._roles.train, self._roles.test, lambda right_M: right_M, until=best)
        return Method.LOGISTIC, STRENGTHS[best], rates[best], right[-1]

    def _along[T](
        self,
        fit_on: NDArray[np.bool_],
        asked: NDArray[np.bool_],
        measure: Callable[[NDArray[np.bool_]], T],
        until: int = len(STRENGTHS) - 1,
    ) -> list[T]:
        """Fits with one λ after the other, and measures each time who was right."""
        standardise = Standardiser(self._x_ND[fit_on])
        x_ND, x_MD = (torch.as_tensor(standardise(self._x_ND[role]), device=self._device) for role in (fit_on, asked))
        model = Logistic(x_ND, torch.as_tensor(self._label_N[fit_on], device=self._device), self._classes)
        found: list[T] = []
        for strength in STRENGTHS[: until + 1]:
            model.fit(strength)
            guess_M = model.logits(x_MD).argmax(1).cpu().numpy()
            found.append(measure(guess_M == self._label_N[asked]))
        return found
