"""What an agent is made by."""

from dataclasses import dataclass
from typing import TypedDict

from common.config.curiosity import CuriosityConfig


class Senses(TypedDict):
    """What every agent that sees takes: see `AgentSettings`."""

    encoder: str | None
    collector: str | None
    boredom: float


@dataclass(frozen=True, kw_only=True)
class AgentSettings:
    """All that the configuration and the actor have to say to an agent; each takes what concerns it.

    Attributes:
        seed: Seed of its random choices.
        encoder: Name of the inference model that sees each frame, or None.
        collector: Name of the data collector that gets each frame, or None.
        boredom: Cosine similarity of consecutive features above which the view counts as unchanged.
        actor: Name of the actor.
        script: What the agent `scripted` does (see there).
        curiosity: How the agent `curious` imagines and what it seeks.
    """

    seed: int
    encoder: str | None = None
    collector: str | None = None
    boredom: float = 0.9999
    actor: str = "actor-0"
    script: str = ""
    curiosity: CuriosityConfig = CuriosityConfig()

    @property
    def senses(self) -> Senses:
        """The part of it that every agent takes."""
        return {"encoder": self.encoder, "collector": self.collector, "boredom": self.boredom}
