"""The world `screen`: any window of this desktop, seen as it shows and steered by keyboard and mouse."""

from pamiq_core import Environment

from actors.desktop import is_control, missing_desktop, missing_package
from actors.worlds.kinds import Life, Need, WorldKind, one_world
from common.config.run import WorldConfig
from common.errors import ConfigError
from common.messages import Action, Observation


def _check(world: WorldConfig) -> None:
    one_world(world, "what the window shows")
    if world.screen.control and not world.screen.title:
        raise ConfigError("world.screen.title", "", "must name the window that gets the keys, unless control is off")
    for key in world.screen.keys:
        if not is_control(key):
            raise ConfigError("world.screen.keys", key, "must be a letter, a digit or a name that --help lists")


def _make(world: WorldConfig, life: Life) -> Environment[Observation, Action]:
    from actors.worlds.screen.world import ScreenEnvironment

    return ScreenEnvironment(world, life)


SCREEN = WorldKind(
    name="screen",
    what="any window of this desktop (X11, Windows), found by its title, steered by keyboard and mouse",
    check=_check,
    make=_make,
    needs=(
        Need(what="mss, and xcffib on X11 or pydirectinput on Windows", missing=missing_package),
        Need(what="a desktop", missing=missing_desktop),
    ),
)
