"""The baseline: walks straight on, and turns by a random angle where it is stuck."""

import math
import random
from typing import Self, override

import numpy as np

from actors.agents.settings import AgentSettings
from actors.agents.sighted import SightedAgent
from actors.agents.steering import Steering, wrap
from common.messages import Action, Frame, Observation

_STUCK_SECONDS = 0.4
_STUCK_SPEED = 60.0
"""Map units a second (walking: 290)."""
_DOOR_SECONDS = 1.0
_SAME_PICTURE = 1.5
"""Mean change of a pixel, of 255, below which a frame shows the same as the one before."""


class Progress:
    """Tells how long an agent that walks has not got on.

    With labels it goes by the pose, without by the picture.
    """

    def __init__(self) -> None:
        self._last: Observation | None = None
        self._since = 0.0

    def stuck_for(self, observation: Observation) -> float:
        """Returns for how many seconds there has been no progress, given the next observation."""
        last, self._last = self._last, observation
        if last is None or last.visit != observation.visit or self._moved(last, observation):
            self._since = observation.visit_time
        return observation.visit_time - self._since

    def restart(self, observation: Observation) -> None:
        """Begins to count again."""
        self._since = observation.visit_time

    def _moved(self, last: Observation, now: Observation) -> bool:
        if last.labels is None or now.labels is None:
            return _change(last.frame, now.frame) > _SAME_PICTURE
        path = math.hypot(now.labels.x - last.labels.x, now.labels.y - last.labels.y)
        return path > _STUCK_SPEED * (now.visit_time - last.visit_time)


class WalkerAgent(SightedAgent):
    """Goes forward; where it is stuck, tries to open what is there, then turns by a random angle.

    Args:
        seed: Seed of the turns.
        encoder: See `SightedAgent`.
        collector: See `SightedAgent`.
        boredom: See `SightedAgent`.
    """

    def __init__(
        self, *, seed: int, encoder: str | None = None, collector: str | None = None, boredom: float = 0.9999
    ) -> None:
        super().__init__(encoder=encoder, collector=collector, boredom=boredom)
        self._random = random.Random(seed)
        self._steering = Steering()
        self._progress = Progress()
        self._turn_left = 0.0
        self._pushed_at = -math.inf

    @classmethod
    @override
    def from_settings(cls, settings: AgentSettings) -> Self:
        return cls(seed=settings.seed, **settings.senses)

    @override
    def decide(self, observation: Observation, *, bored: bool) -> Action:
        stuck = self._progress.stuck_for(observation)
        if self._turn_left:
            return self._turn(observation)
        if bored:
            return self._turn_away(observation)
        if stuck < _STUCK_SECONDS:
            return self._steering.steer(0.0, speed=1.0)
        waited = observation.visit_time - self._pushed_at
        if not 0 <= waited < 2 * _DOOR_SECONDS:
            self._pushed_at = observation.visit_time
            return self._steering.steer(0.0, speed=1.0, use=True)
        if waited < _DOOR_SECONDS:
            return self._steering.steer(0.0, speed=1.0)
        return self._turn_away(observation)

    def _turn_away(self, observation: Observation) -> Action:
        self._turn_left = self._random.choice((-1, 1)) * self._random.uniform(math.pi / 4, math.pi)
        return self._turn(observation)

    def _turn(self, observation: Observation) -> Action:
        action = self._steering.steer(self._turn_left, speed=0.0)
        turned = float(action[2]) * math.radians(20.0)
        self._turn_left -= turned
        if abs(wrap(self._turn_left)) < math.radians(4.0):
            self._turn_left = 0.0
        self._progress.restart(observation)
        return action


def _change(before: Frame, after: Frame) -> float:
    return float(np.abs(before[::4, ::4].astype(np.int16) - after[::4, ::4]).mean())
