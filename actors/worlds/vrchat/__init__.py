"""The world `vrchat`: seen by a camera or its window, told apart by its own log, steered over OSC."""

import sys
from importlib.util import find_spec

from pamiq_core import Environment

from actors.worlds.kinds import Life, Need, WorldKind
from actors.worlds.vrchat.hops import is_destination
from actors.worlds.vrchat.log import log_folder
from common.config.run import WorldConfig
from common.config.vrchat import Look, Picture
from common.errors import ConfigError
from common.messages import Action, Observation

ANYWHERE = "anywhere"
"""Stays wherever the player is; worlds are named by VRChat's log."""


def _check(world: WorldConfig) -> None:
    if world.worlds != (ANYWHERE,) and not all(is_destination(name) for name in world.worlds):
        raise ConfigError(
            "world.worlds",
            world.worlds,
            f"must be {ANYWHERE}, or worlds to visit: wrld_… or wrld_…:instance, without usr_…",
        )
    if world.placebo_worlds:
        raise ConfigError(
            "world.placebo_worlds", world.placebo_worlds, "must be empty: none can be recorded beforehand"
        )


def _here(world: WorldConfig) -> None:
    from actors.desktop import missing_desktop, missing_package

    vrchat = world.vrchat
    desktop = {"picture": vrchat.picture == Picture.WINDOW, "look": vrchat.control and vrchat.look == Look.MOUSE}
    for name in (name for name, wanted in desktop.items() if wanted):
        if missing := missing_package() or missing_desktop():
            raise ConfigError(f"world.vrchat.{name}", getattr(vrchat, name), f"cannot be used here: {missing}")


def _make(world: WorldConfig, life: Life) -> Environment[Observation, Action]:
    from actors.worlds.vrchat.world import VRChatEnvironment

    return VRChatEnvironment(world, life)


def _missing_package() -> str:
    if find_spec("pamiq_vrchat") is not None:
        return ""
    options = "--no-deps pamiq-vrchat pamiq-io" if sys.platform == "linux" else "pamiq-vrchat"
    return f"no pamiq-vrchat: pip install {options}, see docs/vrchat.md"


def _missing_log() -> str:
    return "" if log_folder() is not None else "VRChat has left no log here (world.vrchat.logs names another folder)"


VRCHAT = WorldKind(
    name="vrchat",
    what="VRChat on this machine, through OBS's virtual camera or its window, steered over OSC",
    check=_check,
    here=_here,
    make=_make,
    needs=(Need(what="pamiq-vrchat", missing=_missing_package),),
    wishes=(Need(what="VRChat's own log", missing=_missing_log),),
)
