"""The worlds an actor can live in. Each kind is a pamiq-core environment; `kinds` lists them."""

from collections.abc import Callable
from pathlib import Path

from pamiq_core import Environment, time

from actors.worlds.kinds import Life, kind_of
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
        ConfigError: As `check_worlds`.
    """
    check_worlds(world)
    return kind_of(world).make(world, Life(fps=fps, seed=seed, index=actor_index, sensor_log=sensor_log, clock=clock))


def check_worlds(world: WorldConfig, *, here: bool = True) -> None:
    """Checks kind and names of all worlds without starting any, and that this machine has what they need.

    Args:
        world: The worlds.
        here: Whether an actor is to live in them on this machine.

    Raises:
        ConfigError: The kind or one of the worlds is unknown, or something is missing here.
    """
    kind = kind_of(world)
    kind.check(world)
    if here:
        kind.here(world)
    if here and (missing := kind.missing()):
        raise ConfigError("world.kind", kind.name, f"cannot be used here: {'; '.join(missing)}")
