"""How a decision becomes a movement: speeds change by little from step to step, as a person's do."""

import math

import numpy as np

from common.messages import Action

_FULL_TURN = math.radians(20.0)
_TURN_CHANGE = 0.4
_SPEED_CHANGE = 0.34


def wrap(angle: float) -> float:
    """Returns an angle, radians, in [-pi, pi)."""
    return (angle + math.pi) % (2 * math.pi) - math.pi


class Steering:
    """Turns towards an angle and walks, without jerks."""

    def __init__(self) -> None:
        self._turn = 0.0
        self._forward = 0.0

    @property
    def forward(self) -> float:
        """The speed of the last action, 0 to 1."""
        return self._forward

    def steer(self, angle: float, *, speed: float, use: bool = False) -> Action:
        """Returns the next action.

        Args:
            angle: Where to go, radians relative to the heading, positive to the left.
            speed: Wanted speed straight ahead, 0 to 1; walks slower through a bend, and stops to turn back.
            use: Presses use.

        Returns:
            float32 [4]: forward, strafe, turn, use.
        """
        # Half of what is left, so that the turn slows down before it arrives.
        turn = min(max(0.5 * angle / _FULL_TURN, -1.0), 1.0)
        self._turn += min(max(turn - self._turn, -_TURN_CHANGE), _TURN_CHANGE)
        forward = speed * max(math.cos(min(abs(angle), math.pi / 2)), 0.0)
        self._forward += min(max(forward - self._forward, -_SPEED_CHANGE), _SPEED_CHANGE)
        return np.array([self._forward, 0.0, self._turn, float(use)], np.float32)
