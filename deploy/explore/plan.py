"""What is compared: agents, each with some seeds, in the same worlds for the same time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from common.config import RunConfig
from common.config.run import AGENTS
from common.errors import ConfigError

LIVE = "live"
"""Word for an encoder that is trained along, instead of a run directory."""
RANDOM = "random"
"""Word for one that stays as it was initialised (Burda et al. 2019, arXiv:1808.04355: often good enough to explore)."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All lives of a comparison.

    Attributes:
        run: What all have in common: worlds, visits, actors, networks; its duration is that of a life.
        agents: Agents, the baseline last.
        seeds: Seeds, each of a life of every agent: it decides where visits begin, which is the same for all agents.
        encoder: `live`, `random`, or the run directory whose encoder the curious agent sees by.
        out: Folder of the results.
    """

    run: RunConfig
    agents: tuple[str, ...]
    seeds: tuple[int, ...]
    encoder: str = LIVE
    out: Path = Path("explore")

    def __post_init__(self) -> None:
        for agent in self.agents:
            if agent not in AGENTS:
                raise ConfigError("agents", agent, f"must be of {', '.join(AGENTS)}")
        if len(set(self.agents)) < len(self.agents) or len(self.agents) < 2:
            raise ConfigError("agents", ",".join(self.agents), "must be two or more, each once")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError("seeds", self.seeds, "must be at least one, each once")
        if not self.run.duration:
            raise ConfigError("duration", self.run.duration, "must be above 0: a life needs an end")
        if self.encoder not in (LIVE, RANDOM) and not (Path(self.encoder) / "config.yaml").is_file():
            raise ConfigError("encoder", self.encoder, f"must be {LIVE}, {RANDOM} or a run directory")

    def lives(self) -> Iterator[tuple[str, int]]:
        """Agent and seed of each, dearest first."""
        for agent in sorted(self.agents, key=lambda agent: agent != "curious"):
            for seed in self.seeds:
                yield agent, seed

    def config(self, agent: str, seed: int) -> RunConfig:
        """The configuration of one life."""
        return replace(self.run, seed=seed, actors=replace(self.run.actors, agent=agent))

    def path(self, agent: str, seed: int) -> Path:
        """Where the visits of one life are kept once it is over."""
        return self.out / f"{agent}-{seed}.jsonl"
