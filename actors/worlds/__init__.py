"""The worlds an actor can live in, by the kind that the configuration names."""

from collections.abc import Callable
from pathlib import Path

from pamiq_core import Environment, time

from actors.worlds.doom import DoomEnvironment
from actors.worlds.wads import parse_world
from common.config.run import WorldConfig
from common.errors import ConfigError
from common.messages import Action, Observation


def make_environment(
    world: WorldConfig,
    *,
    fps: float,
    seed: int,
    actor_index: int = 0,
    sensor_log: Path | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Environment[Observation, Action]:
    """Makes the environment of one actor; nothing starts before its `setup`.

    Args:
        world: The worlds and how they are visited.
        fps: Steps a second.
        seed: Seed of the run.
        actor_index: Number of the actor, from 0.
        sensor_log: File to which the sensor notes each capture by itself, or None.
        clock: What visits are measured by, seconds; the system's time if left out.

    Raises:
        ConfigError: The kind or one of the worlds is unknown.
    """
    check_worlds(world)
    return DoomEnvironment.from_config(
        world, fps=fps, seed=seed, actor_index=actor_index, sensor_log=sensor_log, clock=clock
    )


def check_worlds(world: WorldConfig) -> None:
    """Checks the names of all worlds without starting any.

    Raises:
        ConfigError: The kind or one of the worlds is unknown.
    """
    match world.kind:
        case "doom":
            for field, names in (("world.worlds", world.worlds), ("world.placebo_worlds", world.placebo_worlds)):
                for name in names:
                    try:
                        parse_world(name)
                    except ConfigError as error:
                        raise ConfigError(field, name, error.allowed) from None
        case _:
            raise ConfigError("world.kind", world.kind, "must be doom")
