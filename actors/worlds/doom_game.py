"""One game of ViZDoom in one map: start, act, look, close. Knows nothing of visits or of pamiq-core."""

import contextlib
import os
import random
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import vizdoom
from vizdoom import Button, DoomGame, GameVariable, Mode, ScreenFormat, ScreenResolution

from actors.worlds import doom_child
from actors.worlds.doom_folder import EngineFolder, sweep_leftovers
from actors.worlds.doom_labels import make_labels
from actors.worlds.picture import Picture
from actors.worlds.wads import parse_world, standing_places, wad_path
from common.errors import RunError
from common.messages import Action, Frame, Labels

TICS_PER_SECOND = 35
ACTION_SIZE = 4
MAX_TURN = 20.0
"""Degrees of a full turn action in one step."""
_FORWARD, _SIDEWARD = 25.0, 24.0
"""Doom's walking speed, in the engine's own unit; forwards it settles at 8.3 map units a tic."""
_HIDDEN = (
    *("hud", "minimal_hud", "weapon", "crosshair", "messages"),
    *("decals", "particles", "effects_sprites", "corpses", "screen_flashes"),
)
_PACKAGE = Path(vizdoom.__file__).parent


@dataclass(frozen=True, slots=True)
class View:
    """What the game shows at one moment.

    Attributes:
        frame: uint8 [H, W, 3].
        labels: Ground truth of it.
    """

    frame: Frame
    labels: Labels


def choose_screen(image_size: tuple[int, int]) -> tuple[ScreenResolution, tuple[int, int]]:
    """Picks the smallest screen whose middle part of the image's shape has at least the image's pixels.

    Args:
        image_size: Height and width, pixels.

    Returns:
        The engine's name of the screen, and its height and width.
    """
    screens: list[tuple[int, ScreenResolution, tuple[int, int]]] = []
    for name, resolution in ScreenResolution.__members__.items():
        width, height = (int(side) for side in name.removeprefix("RES_").split("X"))
        scale = min(height / image_size[0], width / image_size[1])
        screens.append((width * height if scale >= 1 else sys.maxsize - width * height, resolution, (height, width)))
    _, resolution, size = min(screens, key=lambda screen: screen[0])
    return resolution, size


class Doom:
    """A running game: one map, no monsters, a player that cannot die.

    A level that ends all the same (exit, crushing, an engine that died) is started again at another
    place, and counted.

    Args:
        world: Name of the world.
        image_size: Height and width of a frame, pixels.
        seed: Decides the engine's randomness and the places to start at.

    Attributes:
        world: Name of the world.
        restarts: How often the map had to be started again.

    Raises:
        ConfigError: There is no such world.
        RunError: The engine did not start.
    """

    def __init__(self, world: str, *, image_size: tuple[int, int], seed: int) -> None:
        self.world = world
        self.restarts = 0
        parse_world(world)
        self._random = random.Random(f"{seed}/{world}")
        self._resolution, screen = choose_screen(image_size)
        self._picture = Picture(screen, image_size)
        self._folder: EngineFolder | None = None
        self._start_engine()

    def act(self, action: Action, tics: int) -> None:
        """Applies an action, float32 [4] as described in `DoomActuator`, for a number of tics (1/35 s)."""
        forward, strafe, turn = np.clip(np.nan_to_num(action[:3].astype(np.float64)), -1.0, 1.0).tolist()
        # The engine turns clockwise for positive values.
        buttons = [forward * _FORWARD, strafe * _SIDEWARD, -turn * MAX_TURN / max(tics, 1), float(action[3] > 0.5)]
        try:
            # A key held over two steps would count as one press: let it go after the first tic.
            if buttons[3] and tics > 0:
                self._game.make_action(buttons, 1)
                buttons[3], tics = 0.0, tics - 1
            if tics > 0:
                self._game.make_action(buttons, tics)
            finished = self._game.is_episode_finished()
        except (vizdoom.ViZDoomErrorException, vizdoom.ViZDoomUnexpectedExitException):
            self._restart_engine()
            return
        if finished:
            self.restarts += 1
            self._start_map()

    def look(self) -> View:
        """Returns what is seen now."""
        state: Any = self._game.get_state()
        if state is None:
            self._restart_engine()
            return self.look()
        labels = make_labels(state.game_variables.tolist(), state.depth_buffer, state.labels, self._picture.window)
        return View(self._picture.frame(state.screen_buffer), labels)

    def close(self) -> None:
        """Ends the engine and removes its files; a second call does nothing."""
        with contextlib.suppress(vizdoom.ViZDoomErrorException, vizdoom.ViZDoomUnexpectedExitException):
            self._game.close()
        if self._folder is not None:
            self._folder.remove()
            self._folder = None

    def _restart_engine(self) -> None:
        self.close()
        self.restarts += 1
        self._start_engine()

    def _start_engine(self) -> None:
        wad, name = parse_world(self.world)
        # An engine that ends during its start takes this process with it (segmentation fault in ViZDoom 1.3.2).
        for needed in (_PACKAGE / "vizdoom", _PACKAGE / "vizdoom.pk3", wad_path(wad)):
            if sys.platform == "linux" and not needed.exists():
                raise RunError(f"{needed} is missing: install vizdoom again")
        sweep_leftovers()
        self._folder = EngineFolder()
        game = self._game = DoomGame()
        game.set_doom_game_path(str(wad_path(wad)))
        game.set_doom_map(name)
        game.set_doom_config_path(str(self._folder.path / "engine.ini"))
        if sys.platform == "linux":
            game.set_vizdoom_path(str(_write_launcher(self._folder.path)))
        game.set_screen_resolution(self._resolution)
        game.set_screen_format(ScreenFormat.RGB24)
        game.set_depth_buffer_enabled(True)
        game.set_labels_buffer_enabled(True)
        for part in _HIDDEN:
            getattr(game, f"set_render_{part}")(False)
        game.set_window_visible(False)
        game.set_sound_enabled(False)
        game.set_mode(Mode.PLAYER)
        game.set_episode_timeout(0)
        for button in (
            Button.MOVE_FORWARD_BACKWARD_DELTA,
            Button.MOVE_LEFT_RIGHT_DELTA,
            Button.TURN_LEFT_RIGHT_DELTA,
            Button.USE,
        ):
            game.add_available_button(button)
        for variable in (GameVariable.POSITION_X, GameVariable.POSITION_Y, GameVariable.ANGLE):
            game.add_available_game_variable(variable)
        game.add_game_args("-nomonsters +sv_cheats 1")
        game.set_seed(self._random.getrandbits(31))
        try:
            game.init()
        except (vizdoom.ViZDoomErrorException, vizdoom.ViZDoomUnexpectedExitException) as error:
            self.close()
            raise RunError(f"ViZDoom did not start {self.world}: {error}") from error
        self._enter()

    def _start_map(self) -> None:
        self._game.new_episode()
        self._enter()

    def _enter(self) -> None:
        place = self._random.choice(standing_places(self.world))
        self._game.send_game_command("god")
        self._game.send_game_command(f"warp {place.x} {place.y}")
        # Time to fall to the floor and for what the player stands on to be picked up; a turn before it would be lost.
        self._game.make_action([0.0, 0.0, 0.0, 0.0], 8)
        self._game.make_action([0.0, 0.0, self._random.uniform(-180.0, 180.0), 0.0], 1)


def _write_launcher(folder: Path) -> Path:
    launcher = folder / "start"
    child, engine = Path(doom_child.__file__).resolve(), _PACKAGE / "vizdoom"
    command = [sys.executable, "-I", "-S", str(child), str(os.getpid()), str(folder), str(engine)]
    launcher.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    launcher.chmod(0o700)
    return launcher
