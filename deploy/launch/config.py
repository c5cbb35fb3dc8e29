"""How a pamiq-core system is launched: pamiq-core's own settings, and where things run."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

import pamiq_core

from common.errors import ConfigError


@dataclass(frozen=True)
class LaunchConfig(pamiq_core.LaunchConfig):
    """pamiq-core's settings, which mean the same here, and more.

    Attributes:
        actors: Interactions, each in a process of its own; all feed the same buffers and follow the same models.
        threads: CPU threads of torch in each process.
        redis_url: `redis://…` or `rediss://…` of your own server; empty starts an embedded one.
        stream_budget: Bytes of data that may wait in Redis for the trainers, all actors together.
        spool: Data that may wait in an actor while Redis is slow or gone; then the oldest is dropped and counted.
        interaction_options: For Ray, of each actor: where it runs, for instance `{"resources": {"screen": 1}}`.
        trainer_options: For Ray, of the trainers' process: for instance `{"num_gpus": 1}`.
    """

    actors: int = 1
    threads: int = 1
    redis_url: str = ""
    stream_budget: int = 256 * 2**20
    spool: int = 10_000
    interaction_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    trainer_options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        for name in ("actors", "threads", "stream_budget", "spool"):
            if getattr(self, name) < 1:
                raise ConfigError(name, getattr(self, name), "must be at least 1")

    @classmethod
    def of(cls, config: "Mapping[str, Any] | pamiq_core.LaunchConfig | None") -> Self:
        """Takes what `pamiq_core.launch` takes too.

        Raises:
            ConfigError: A setting is unknown.
        """
        if isinstance(config, cls):
            return config
        if isinstance(config, pamiq_core.LaunchConfig):
            config = {item.name: getattr(config, item.name) for item in fields(config)}
        given = dict(config or {})
        known = [item.name for item in fields(cls)]
        for name, value in given.items():
            if name not in known:
                raise ConfigError(str(name), value, f"is unknown; there are {', '.join(known)}")
        return cls(**given)
