"""The curious agent's hands: four heads of discrete choices, as VRChat's OSC input has them, and all worlds take them.

| head | choices | entry of the action |
|---|---|---|
| vertical | stay, ahead, back | 0, forward |
| horizontal | stay, right, left | 1, strafe to the right |
| look | ahead, left, right | 2, turn to the left |
| use | let go, press | 3, use or jump |
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from common.messages import Action

HEADS: tuple[tuple[float, ...], ...] = ((0.0, 1.0, -1.0), (0.0, 1.0, -1.0), (0.0, 0.5, -0.5), (0.0, 1.0))
"""Value of each choice of each head. A turn is half of the fullest, ten degrees in a step."""
CHOICES: tuple[int, ...] = tuple(len(values) for values in HEADS)
"""Choices of each head."""


def controls(choices: Sequence[int] | NDArray[np.integer]) -> Action:
    """Turns one choice of each head into an action, float32 [4]."""
    return np.array([values[int(choice)] for values, choice in zip(HEADS, choices, strict=True)], np.float32)
