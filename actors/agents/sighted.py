"""What all agents share: the encoder watches every frame, the collector gets every frame."""

from abc import abstractmethod
from typing import Self, override

import torch
from pamiq_core import Agent
from pamiq_core.data import DataCollector

from actors.agents.settings import AgentSettings
from common.messages import Action, Frame, Observation

_STATIC_SECONDS = 1.0
_ACTION_SIZE = 4


class Boredom:
    """Notices that the view, as the encoder sees it, no longer changes.

    Args:
        threshold: Cosine similarity of consecutive features above which the view counts as unchanged.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._last_D: torch.Tensor | None = None
        self._visit = -1
        self._static_since = 0.0

    def notice(self, features_D: torch.Tensor, observation: Observation) -> bool:
        """Tells whether the view has been static for about a second; then starts to count anew.

        Args:
            features_D: Features of the frame, float32 [D].
            observation: The observation that the frame is of.
        """
        last_D, self._last_D = self._last_D, features_D.detach().flatten().float()
        static = (
            last_D is not None
            and self._visit == observation.visit
            and torch.cosine_similarity(last_D, self._last_D, dim=0).item() > self._threshold
        )
        self._visit = observation.visit
        if not static:
            self._static_since = observation.visit_time
            return False
        if observation.visit_time - self._static_since < _STATIC_SECONDS:
            return False
        self._static_since = observation.visit_time
        return True


class SightedAgent(Agent[Observation, Action]):
    """An agent that encodes and collects each frame that it sees.

    Args:
        encoder: Name of the inference model that turns a frame, uint8 [H, W, 3], into features,
            float32 [D]; None to live without one.
        collector: Name of the data collector that gets each frame; None for none.
        boredom: Cosine similarity of consecutive features above which the view counts as unchanged.
    """

    def __init__(self, *, encoder: str | None = None, collector: str | None = None, boredom: float = 0.9999) -> None:
        super().__init__()
        self.encoder = encoder or ""
        self.features: torch.Tensor | None = None
        """Features of the frame that is being decided on, float32 [D]; None without an encoder."""
        self._collector_name = collector
        self._collector: DataCollector[Frame] | None = None
        self._boredom = Boredom(boredom)

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: AgentSettings) -> Self:
        """Makes the agent."""

    @override
    def on_data_collectors_attached(self) -> None:
        super().on_data_collectors_attached()
        if self._collector_name is not None:
            self._collector = self.get_data_collector(self._collector_name)

    @override
    def step(self, observation: Observation) -> Action:
        """Encodes the frame, decides, and collects the frame.

        Args:
            observation: What is seen; the scripted agents also read its labels where there are any.

        Returns:
            float32 [4]: forward, strafe, turn to the left, use (see `DoomActuator`).
        """
        bored = False
        if self.encoder and self.looks(observation):
            self.features = self.get_inference_model(self.encoder)(observation.frame)
            assert self.features is not None
            bored = self._boredom.notice(self.features, observation)
        action = self.decide(observation, bored=bored)
        if self._collector is not None:
            self._collector.collect(observation.frame)
        return action

    def looks(self, observation: Observation) -> bool:
        """Says whether this frame is to be encoded; else `features` stay those of an earlier one."""
        return True

    @abstractmethod
    def decide(self, observation: Observation, *, bored: bool) -> Action:
        """Chooses the action.

        Args:
            observation: What is seen.
            bored: The view has been static for about a second.

        Returns:
            float32 [4].
        """
