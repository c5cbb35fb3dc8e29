"""The baseline that follows a script: a tour that is the same each time, as far as the world lets it."""

from typing import Self, override

import numpy as np

from actors.agents.settings import AgentSettings
from actors.agents.sighted import SightedAgent
from common.config.script import parse_script
from common.messages import Action, Observation


class ScriptedAgent(SightedAgent):
    """Goes through its script from the beginning of each visit, over and over.

    Args:
        script: See `common.config.script`.
        encoder: See `SightedAgent`.
        collector: See `SightedAgent`.
        boredom: See `SightedAgent`; means nothing here.
    """

    def __init__(
        self, *, script: str, encoder: str | None = None, collector: str | None = None, boredom: float = 0.9999
    ) -> None:
        super().__init__(encoder=encoder, collector=collector, boredom=boredom)
        self._script = parse_script(script)
        self._length = sum(seconds for _, seconds in self._script)

    @classmethod
    @override
    def from_settings(cls, settings: AgentSettings) -> Self:
        return cls(script=settings.script, **settings.senses)

    @override
    def decide(self, observation: Observation, *, bored: bool) -> Action:
        left = observation.visit_time % self._length
        for action, seconds in self._script:
            if left < seconds:
                return np.array(action, np.float32)
            left -= seconds
        return np.array(self._script[-1][0], np.float32)
