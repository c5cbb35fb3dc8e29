"""What a kind of world is to those who only name it, and the one list of all kinds: the place to enter a new one."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

from pamiq_core import Environment

from common.config.run import WorldConfig
from common.errors import ConfigError
from common.messages import Action, Observation


class WorldEnded(Exception):
    """Raised by `observe` where there is nothing more to see: films that are shown once. The actor rests from then."""


@dataclass(frozen=True, kw_only=True)
class Life:
    """What an environment is told of the actor that will live in it.

    Attributes:
        fps: Steps a second.
        seed: Seed of the actor.
        index: Number of the actor, from 0.
        clock: What visits are measured by, seconds.
        sensor_log: File to which the sensor notes each capture by itself, or None.
    """

    fps: float
    seed: int
    index: int
    clock: Callable[[], float]
    sensor_log: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Need:
    """Something that must be on this machine.

    Attributes:
        what: A few words.
        missing: Says what to do about it, or nothing where it is there.
    """

    what: str
    missing: Callable[[], str]


@dataclass(frozen=True, kw_only=True)
class WorldKind:
    """A kind of world.

    Attributes:
        name: As `world.kind` names it.
        what: One line.
        check: Refuses a configuration before anything starts.
        here: Refuses what this machine, of all, cannot do; only asked where an actor is to live.
        make: Makes the environment of one actor; nothing starts before its `setup`.
        names: Worlds that it knows by name; empty where they are found on the way.
        needs: What must be here.
        wishes: What may still come while an actor lives.
        truth: Whether frames come with ground truth and walks can be recorded without anybody living them. The probe
            set is made of such walks: without it only experiences are measured.
    """

    name: str
    what: str
    check: Callable[[WorldConfig], None]
    make: Callable[[WorldConfig, Life], Environment[Observation, Action]]
    here: Callable[[WorldConfig], None] = lambda world: None
    names: Callable[[], tuple[str, ...]] = tuple
    needs: tuple[Need, ...] = ()
    wishes: tuple[Need, ...] = ()
    truth: bool = False

    def missing(self) -> list[str]:
        """Says what must be done before an actor can live in it here."""
        return [text for need in self.needs if (text := need.missing())]


_NAMES = ("doom", "vrchat", "screen", "video", "gym")
"""Each is a module of `actors.worlds` in which a constant of the same name, in capitals, is the kind."""


@cache
def _kind(name: str) -> WorldKind:
    try:
        return getattr(import_module(f"actors.worlds.{name}"), name.upper())
    except ModuleNotFoundError as error:
        # The small installation of hosts outside Ray has few packages.
        missing = f"no {error.name}: pip install {error.name}"
        need = Need(what=f"{error.name}", missing=lambda: missing)
        return WorldKind(name=name, what="not installed here", check=_anything, make=_nothing, needs=(need,))


def _anything(world: WorldConfig) -> None:
    """Refuses nothing: what is missing is refused already."""


def _nothing(world: WorldConfig, life: Life) -> Environment[Observation, Action]:
    raise AssertionError("its package is missing")


def kinds() -> dict[str, WorldKind]:
    """All kinds by their names."""
    return {name: _kind(name) for name in _NAMES}


def one_world(world: WorldConfig, what: str) -> None:
    """Refuses several names for a world that the actor cannot choose, and placebo worlds, which nobody could record.

    Raises:
        ConfigError: There are some.
    """
    if len(world.worlds) != 1:
        raise ConfigError("world.worlds", world.worlds, f"must be one name for {what}")
    if world.placebo_worlds:
        raise ConfigError(
            "world.placebo_worlds", world.placebo_worlds, "must be empty: none can be recorded beforehand"
        )


def kind_of(world: WorldConfig) -> WorldKind:
    """Finds the kind that a configuration names.

    Raises:
        ConfigError: There is none.
    """
    if world.kind not in _NAMES:
        raise ConfigError("world.kind", world.kind, f"must be one of {', '.join(_NAMES)}")
    return _kind(world.kind)
