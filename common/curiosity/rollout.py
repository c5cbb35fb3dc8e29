"""What a curious actor sends: some steps in a row, with all that its trainers need."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

ROLLOUTS = "rollouts"
"""Name of the buffer that both networks are trained on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """T steps of one actor.

    Attributes:
        actor: Who.
        features: What was seen at each step and after the last, float32 [T + 1, D].
        versions: Weights version of the encoder that saw it, int64 [T + 1].
        choices: What was done, int8 [T, A].
        asked: Whether a head was asked for its choice, or kept the one before, bool [T, A].
        log_probs: Log-probability of the choices of heads that were asked, float32 [T].
        values: What the policy expected there, float32 [T + 1].
        memories: What the policy remembered there, float32 [T, C].
        rewards: Intrinsic reward of what came of it, float32 [T], not normalised.
        joined: Whether it led on within one visit, bool [T].
        hidden: Hidden state of the forward dynamics before the first step, float32 [L, C].
    """

    actor: str
    features: NDArray[np.float32]
    versions: NDArray[np.int64]
    choices: NDArray[np.int8]
    asked: NDArray[np.bool_]
    log_probs: NDArray[np.float32]
    values: NDArray[np.float32]
    memories: NDArray[np.float32]
    rewards: NDArray[np.float32]
    joined: NDArray[np.bool_]
    hidden: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.choices)

    def as_value(self) -> dict[str, Any]:
        """As what collectors take (`common.values`)."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def of_value(cls, value: Mapping[str, Any]) -> Self:
        """From what arrived.

        Raises:
            KeyError: It is no rollout.
        """
        return cls(**{item.name: value[item.name] for item in fields(cls)})
