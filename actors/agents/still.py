"""The baseline that does nothing: what changes comes from the world alone."""

from typing import Self, override

import numpy as np

from actors.agents.settings import AgentSettings
from actors.agents.sighted import SightedAgent
from common.messages import Action, Observation


class StillAgent(SightedAgent):
    """Stands still and looks."""

    @classmethod
    @override
    def from_settings(cls, settings: AgentSettings) -> Self:
        return cls(**settings.senses)

    @override
    def decide(self, observation: Observation, *, bored: bool) -> Action:
        return np.zeros(4, np.float32)
