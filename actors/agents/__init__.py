"""The agents that walk in the worlds, by the name that the configuration gives."""

from pamiq_core import Agent

from actors.agents.babbler import BabblerAgent
from actors.agents.explorer import ExplorerAgent
from actors.agents.walker import WalkerAgent
from common.errors import ConfigError
from common.messages import Action, Observation

AGENTS: dict[str, type[BabblerAgent] | type[ExplorerAgent] | type[WalkerAgent]] = {
    "babbler": BabblerAgent,
    "explorer": ExplorerAgent,
    "walker": WalkerAgent,
}


def make_agent(
    name: str, *, seed: int, encoder: str | None = None, collector: str | None = None, boredom: float = 0.9999
) -> Agent[Observation, Action]:
    """Makes an agent.

    Args:
        name: `babbler`, `explorer` or `walker`.
        seed: Seed of its random choices.
        encoder: Name of the inference model that sees each frame, or None.
        collector: Name of the data collector that gets each frame, or None.
        boredom: Cosine similarity of consecutive features above which the view counts as unchanged.

    Raises:
        ConfigError: There is no such agent.
    """
    if name not in AGENTS:
        raise ConfigError("actors.agent", name, f"must be one of {', '.join(sorted(AGENTS))}")
    return AGENTS[name](seed=seed, encoder=encoder, collector=collector, boredom=boredom)
