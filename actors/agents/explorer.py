"""The explorer: always on its way to the nearest place where it has not been yet."""

import math
from typing import Self, override

from actors.agents.grid_map import SPOT, UNITS_PER_DEPTH, GridMap, Spot, spot_of
from actors.agents.settings import AgentSettings
from actors.agents.sighted import SightedAgent
from actors.agents.steering import Steering, wrap
from actors.agents.walker import WalkerAgent
from actors.worlds.terrain import terrain_of
from common.messages import Action, Labels, Observation

_STUCK_SECONDS = 0.3
_HELD_SPEED = 100.0
"""Map units a second straight ahead (walking: 290) below which something is in the way."""
_PUSH = 0.6
_PATIENCE = 1.5
"""Seconds without coming closer to the target before the way counts as blocked."""
_CLOSER = 8.0
_DOOR_SECONDS = 0.8
_OPEN_SECONDS = 1.6
_OPENING = 8.0
_FACING = math.radians(15.0)
_USE_REACH = 56.0
_LOOK_AHEAD = (11, 8, 6, 4, 3, 2, 1)
_WANDER_SECONDS = 3.0
_JUMP = 256.0
"""Map units in one step that only a teleporter makes."""


class ExplorerAgent(SightedAgent):
    """Explores by ground truth: seeks cells that it has seen but not entered in this visit.

    It remembers per visit where it stood, what the depth grid showed to be free, and where it got
    stuck. Where the world's terrain is known (`actors.worlds.terrain`), it also knows walls, ledges and
    doors, as a person sees them at a glance. Where it does not get on, it presses use first (a door),
    then looks for another way. Without labels it behaves as `WalkerAgent`.

    Args:
        seed: Seed of the random turns that it makes when it knows nothing better.
        encoder: See `SightedAgent`.
        collector: See `SightedAgent`.
        boredom: See `SightedAgent`.
    """

    def __init__(
        self, *, seed: int, encoder: str | None = None, collector: str | None = None, boredom: float = 0.9999
    ) -> None:
        super().__init__(encoder=encoder, collector=collector, boredom=boredom)
        self._walker = WalkerAgent(seed=seed)
        self._steering = Steering()
        self._begin(-1, "")

    @classmethod
    @override
    def from_settings(cls, settings: AgentSettings) -> Self:
        return cls(seed=settings.seed, **settings.senses)

    @property
    def cells(self) -> int:
        """How many cells of 64 × 64 map units were entered in this visit."""
        return len(self._map.cells)

    def _begin(self, visit: int, world: str) -> None:
        self._visit = visit
        self._map = GridMap(terrain_of(world))
        self._way: list[Spot] = []
        self._before: tuple[Labels, float] | None = None
        self._held_since = 0.0
        self._target: Spot | None = None
        self._closest = math.inf
        self._closer_at = 0.0
        self._pressed_at: float | None = None
        self._ahead_then = 0.0
        self._wander_until = -math.inf
        self._last: tuple[float, float] | None = None

    @override
    def decide(self, observation: Observation, *, bored: bool) -> Action:
        labels = observation.labels
        if observation.visit != self._visit:
            self._begin(observation.visit, observation.world)
        if labels is None:
            return self._walker.decide(observation, bored=bored)
        now, place = observation.visit_time, (labels.x, labels.y)
        here = self._map.stand(*place)
        height, width = observation.frame.shape[:2]
        self._map.look(*place, labels.heading, labels.depth, min(0.75 * width / height, 1.0))
        if self._last is not None and math.dist(place, self._last) > _JUMP:
            self._way = []
        self._last = place
        if now < self._wander_until:
            return self._walker.decide(observation, bored=bored)
        if bored and self._way:
            self._fail(labels, here)
        if here in self._way:
            self._way = self._way[self._way.index(here) + 1 :]
        if not self._way or not self._map.is_new(self._way[-1]):
            self._way = self._map.way_to_new(here, labels.heading)
            self._target = None
        if not self._way:
            self._wander_until = now + _WANDER_SECONDS
            return self._walker.decide(observation, bored=False)
        return self._go(observation, labels, here)

    def _go(self, observation: Observation, labels: Labels, here: Spot) -> Action:
        now = observation.visit_time
        target = self._choose_target(labels)
        x, y = self._map.point(target)
        distance = math.hypot(x - labels.x, y - labels.y)
        angle = wrap(math.atan2(y - labels.y, x - labels.x) - labels.heading)
        ahead = float(labels.depth[1, 1]) * UNITS_PER_DEPTH
        if target != self._target:
            self._target, self._closest, self._closer_at = target, math.inf, now
        if distance < self._closest - _CLOSER:
            self._closest, self._closer_at = distance, now
        still = self._held_for(labels, now) >= _STUCK_SECONDS
        if abs(angle) > math.pi / 4:
            self._held_since = now
            if now - self._closer_at > 2 * _PATIENCE:
                self._fail(labels, here)
            return self._steering.steer(angle, speed=1.0)
        wall = abs(angle) < _FACING and ahead < min(distance, _USE_REACH) - 8.0
        if not (still or wall or now - self._closer_at > _PATIENCE):
            if self._pressed_at is not None and now - self._pressed_at > _OPEN_SECONDS:
                self._pressed_at = None
            return self._steering.steer(angle, speed=1.0)
        if self._pressed_at is None and ahead < _USE_REACH:
            self._pressed_at, self._ahead_then = now, ahead
            return self._steering.steer(angle, speed=1.0, use=True)
        if self._pressed_at is not None:
            opening = ahead > self._ahead_then + _OPENING
            if now - self._pressed_at < (_OPEN_SECONDS if opening else _DOOR_SECONDS):
                return self._steering.steer(angle, speed=1.0)
        self._fail(labels, here)
        self._held_since = now
        return self._steering.steer(angle, speed=0.3)

    def _held_for(self, labels: Labels, now: float) -> float:
        """Returns for how many seconds something has been in the way: sliding along it is no progress."""
        before, self._before = self._before, (labels, now)
        if before is not None and now > before[1]:
            last, then = before
            way = (labels.x - last.x) * math.cos(last.heading) + (labels.y - last.y) * math.sin(last.heading)
            if way > _HELD_SPEED * (now - then) or self._steering.forward < _PUSH:
                self._held_since = now
        else:
            self._held_since = now
        return now - self._held_since

    def _choose_target(self, labels: Labels) -> Spot:
        """Picks the farthest of the next spots of the way that can be walked to straight."""
        for index in _LOOK_AHEAD:
            if index < len(self._way):
                spot = self._way[index]
                if self._map.open_between((labels.x, labels.y), self._map.point(spot)):
                    return spot
        return self._way[0]

    def _fail(self, labels: Labels, here: Spot) -> None:
        """Notes what is in the way, and forgets the way."""
        x, y = self._map.point(self._target or self._way[0])
        direction = math.atan2(y - labels.y, x - labels.x)
        there = spot_of(labels.x + SPOT * math.cos(direction), labels.y + SPOT * math.sin(direction))
        self._map.fail(here, there)
        if there != self._way[0]:
            self._map.fail(here, self._way[0])
        self._way = []
        self._pressed_at = None
