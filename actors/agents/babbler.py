"""The simplest agent for worlds that no script knows: commands at random, each held for a while."""

import random
from typing import Self, override

import numpy as np

from actors.agents.settings import AgentSettings
from actors.agents.sighted import SightedAgent
from common.messages import Action, Observation

_SIZE = 8
"""Entries of an action; a world takes as many as it knows."""
_SHORTEST, _LONGEST = 0.2, 2.0
"""Seconds for which a command is held."""


class BabblerAgent(SightedAgent):
    """Draws a command, each entry evenly from [-1, 1], holds it for a random while, and draws the next.

    Args:
        seed: Seed of commands and times.
        encoder: See `SightedAgent`.
        collector: See `SightedAgent`.
        boredom: See `SightedAgent`; what bores it is given up at once.
    """

    def __init__(
        self, *, seed: int, encoder: str | None = None, collector: str | None = None, boredom: float = 0.9999
    ) -> None:
        super().__init__(encoder=encoder, collector=collector, boredom=boredom)
        self._random = random.Random(seed)
        self._command = np.zeros(_SIZE, np.float32)
        self._visit, self._until = -1, 0.0

    @classmethod
    @override
    def from_settings(cls, settings: AgentSettings) -> Self:
        return cls(seed=settings.seed, **settings.senses)

    @override
    def decide(self, observation: Observation, *, bored: bool) -> Action:
        """Chooses the action.

        Args:
            observation: What is seen; only its time counts.
            bored: The view has been static for about a second.

        Returns:
            float32 [8], each entry in [-1, 1].
        """
        if bored or observation.visit != self._visit or observation.visit_time >= self._until:
            self._command = np.array([self._random.uniform(-1, 1) for _ in range(_SIZE)], np.float32)
            self._visit = observation.visit
            self._until = observation.visit_time + self._random.uniform(_SHORTEST, _LONGEST)
        return self._command.copy()
