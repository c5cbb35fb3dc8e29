"""The baseline of a random walk: the curious agent's controls, drawn at random, smoothly."""

import random
from typing import Self, override

from actors.agents.settings import AgentSettings
from actors.agents.sighted import SightedAgent
from common.curiosity.controls import CHOICES, controls
from common.messages import Action, Observation

_MEAN_HOLD = 0.5
"""Seconds for which a head keeps its choice, on average."""


class RamblerAgent(SightedAgent):
    """Draws each head's choice evenly, and anew after a time that is exponentially distributed.

    Args:
        seed: Seed of choices and times.
        hold: Mean of these times, seconds.
        encoder: See `SightedAgent`.
        collector: See `SightedAgent`.
        boredom: See `SightedAgent`; means nothing here.
    """

    def __init__(
        self,
        *,
        seed: int,
        hold: float = _MEAN_HOLD,
        encoder: str | None = None,
        collector: str | None = None,
        boredom: float = 0.9999,
    ) -> None:
        super().__init__(encoder=encoder, collector=collector, boredom=boredom)
        self._random = random.Random(seed)
        self._hold = hold
        self._choices = [0] * len(CHOICES)
        self._visit = -1
        self._until = [0.0] * len(CHOICES)

    @classmethod
    @override
    def from_settings(cls, settings: AgentSettings) -> Self:
        return cls(seed=settings.seed, **settings.senses)

    @override
    def decide(self, observation: Observation, *, bored: bool) -> Action:
        now = observation.visit_time
        if observation.visit != self._visit:
            self._visit, self._until = observation.visit, [now] * len(CHOICES)
        for head, count in enumerate(CHOICES):
            if now >= self._until[head]:
                self._choices[head] = self._random.randrange(count)
                self._until[head] = now + self._random.expovariate(1 / self._hold)
        return controls(self._choices)
