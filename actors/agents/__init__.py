"""The agents that walk in the worlds, by the name that the configuration gives."""

from collections.abc import Callable
from importlib import import_module
from typing import cast

from pamiq_core import Agent

from common.errors import ConfigError
from common.messages import Action, Observation

AGENTS = ("babbler", "explorer", "walker")
"""Each is a module here, with a class called after it; what one needs is imported where it is made."""


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
        ConfigError: There is no such agent, or a package of its is not installed.
    """
    if name not in AGENTS:
        raise ConfigError("actors.agent", name, f"must be one of {', '.join(AGENTS)}")
    try:
        module = import_module(f"actors.agents.{name}")
    except ModuleNotFoundError as error:
        raise ConfigError("actors.agent", name, f"needs {error.name}, which is not installed") from None
    kind = cast(Callable[..., Agent[Observation, Action]], getattr(module, f"{name.capitalize()}Agent"))
    return kind(seed=seed, encoder=encoder, collector=collector, boredom=boredom)
