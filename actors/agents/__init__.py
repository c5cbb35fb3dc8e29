"""The agents that walk in the worlds, by the name that the configuration gives."""

from importlib import import_module
from typing import cast

from pamiq_core import Agent

from actors.agents.settings import AgentSettings
from common.config.run import AGENTS
from common.errors import ConfigError
from common.messages import Action, Observation

__all__ = ["AGENTS", "AgentSettings", "make_agent"]


def make_agent(name: str, settings: AgentSettings) -> Agent[Observation, Action]:
    """Makes an agent: each is a module here, with a class called after it; what one needs is imported with it.

    Args:
        name: One of `AGENTS`.
        settings: What it is made by.

    Raises:
        ConfigError: There is no such agent, or a package of its is not installed.
    """
    from actors.agents.sighted import SightedAgent

    if name not in AGENTS:
        raise ConfigError("actors.agent", name, f"must be one of {', '.join(AGENTS)}")
    try:
        module = import_module(f"actors.agents.{name}")
    except ModuleNotFoundError as error:
        raise ConfigError("actors.agent", name, f"needs {error.name}, which is not installed") from None
    return cast(type[SightedAgent], getattr(module, f"{name.capitalize()}Agent")).from_settings(settings)
