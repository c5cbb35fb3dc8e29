"""Steps of one actor on their way to its trainers: gathered until there are enough for a rollout."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from common.curiosity.rollout import Rollout


@dataclass(kw_only=True, slots=True)
class Step:
    """One step; what came of it, `reward` and `joined`, is known at the next. `Rollout` explains the fields."""

    features: NDArray[np.float32]
    version: int
    choices: NDArray[np.int8]
    asked: NDArray[np.bool_]
    log_prob: float
    value: float
    memory: NDArray[np.float32]
    hidden: NDArray[np.float32]
    reward: float = 0.0
    joined: bool = False


class Gathering:
    """Makes rollouts of steps.

    Args:
        actor: Name of the actor.
        length: Steps of a rollout.
    """

    def __init__(self, actor: str, length: int) -> None:
        self._actor = actor
        self._length = length
        self._steps: list[Step] = []

    def settle(self, reward: float, *, joined: bool) -> None:
        """Says what came of the last step."""
        if self._steps:
            self._steps[-1].reward, self._steps[-1].joined = reward, joined

    def add(self, step: Step) -> Rollout | None:
        """Takes the next step.

        Returns:
            The rollout of the steps before this one, where they are enough; the next begins with this step.
        """
        self._steps.append(step)
        if len(self._steps) <= self._length:
            return None
        steps, self._steps = self._steps, [step]
        done = steps[:-1]
        return Rollout(
            actor=self._actor,
            features=np.stack([one.features for one in steps]),
            versions=np.array([one.version for one in steps], np.int64),
            choices=np.stack([one.choices for one in done]),
            asked=np.stack([one.asked for one in done]),
            log_probs=np.array([one.log_prob for one in done], np.float32),
            values=np.array([one.value for one in steps], np.float32),
            memories=np.stack([one.memory for one in done]),
            rewards=np.array([one.reward for one in done], np.float32),
            joined=np.array([one.joined for one in done]),
            hidden=done[0].hidden,
        )

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The steps that wait, by field."""
        if not self._steps:
            return {}
        return {item.name: np.stack([getattr(step, item.name) for step in self._steps]) for item in fields(Step)}

    def restore(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Goes on with such steps."""
        count = len(arrays["reward"]) if arrays else 0
        self._steps = [
            Step(
                **{
                    name: column[number] if column.ndim > 1 else column[number].item()
                    for name, column in arrays.items()
                }
            )
            for number in range(count)
        ]
