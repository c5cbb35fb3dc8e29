"""How an action becomes VRChat's controls, by pamiq-vrchat's actuators: smoothly, as a person's hand would.

| entry of the action | meaning | control |
|---|---|---|
| 0 | forward, -1 to 1 | `/input/Vertical` |
| 1 | right, -1 to 1 | `/input/Horizontal` |
| 2 | turn, 1 is fully to the left | `/input/LookHorizontal`, or the mouse |
| 3 | jump above 0.5 | `/input/Jump` |

Full speed ahead runs: `/input/Run`. The microphone, the menus and what the avatar grabs are never touched.
"""

import logging
import math

from pamiq_vrchat.actuators import OscAction, OscAxes, OscButtons, SmoothOscActuator

from actors.desktop import Desktop, DesktopError, open_desktop
from common.config.vrchat import Look, VRChatConfig
from common.messages import Action

_RUNS = 0.95
_PRESSED = 0.5

_log = logging.getLogger(__name__)


class Hand:
    """Sends what has changed, and forgets what it sent whenever VRChat may have been given neutral values meanwhile.

    Args:
        config: Where VRChat listens.
        delta: Seconds between two actions.
    """

    def __init__(self, config: VRChatConfig, delta: float) -> None:
        self._config = config
        self._delta = delta
        self._controls = self._anew()
        self._mouse = Mouse(config.window, config.mouse * delta) if config.look is Look.MOUSE else None

    def begin(self) -> None:
        """Sets everything to neutral and leaves a menu by a short step."""
        self._controls = self._anew()
        self._controls.setup()

    def act(self, action: Action) -> None:
        """Applies an action, float32 [4] or longer, of which the rest means nothing here; NaN counts as 0."""
        forward, right, turn, jump = (
            0.0 if math.isnan(value) else min(max(float(value), -1), 1) for value in action[:4]
        )
        axes = {OscAxes.Vertical: forward, OscAxes.Horizontal: right}
        if self._mouse is None:
            axes[OscAxes.LookHorizontal] = -turn
        else:
            self._mouse.turn(turn)
        buttons = {OscButtons.Run: forward >= _RUNS, OscButtons.Jump: jump > _PRESSED}
        self._controls.operate(OscAction(axes=axes, buttons=buttons))

    def let_go(self) -> None:
        """Sets everything to neutral; the next action is sent whole."""
        self._controls.on_paused()
        self._controls = self._anew()

    def _anew(self) -> SmoothOscActuator:
        return SmoothOscActuator(self._config.osc_host, self._config.osc_port, delta_time=self._delta)


class Mouse:
    """Turns the head by the mouse, step by step, while VRChat's window has it.

    pamiq-vrchat's own mouse moves on at its last speed on a thread of its own: an actor that hangs would turn for ever,
    and the user's pointer would move in other windows.

    Args:
        title: Words of the window's title.
        pixels: To the left in a step of a full turn.
    """

    def __init__(self, title: str, pixels: float) -> None:
        self._title = title
        self._pixels = pixels
        self._rest = 0.0
        self._desktop: Desktop | None = None
        self._window: int | None = None
        self._said = False

    def turn(self, turn: float) -> None:
        """Turns, -1 (right) to 1; does nothing where there is no such window, or another one is used."""
        exact = self._rest - turn * self._pixels
        whole = round(exact)
        self._rest = exact - whole  # slow turns add up
        try:
            if self._has_it() and self._desktop is not None and whole:
                self._desktop.move(whole, 0)
        except DesktopError as error:
            self._desktop = self._window = None
            if not self._said:
                _log.warning("the mouse cannot be moved: %s", error)
                self._said = True

    def _has_it(self) -> bool:
        if self._desktop is None:
            self._desktop = open_desktop()
        if self._window is None:
            self._window = self._desktop.find(self._title)
        place = None if self._window is None else self._desktop.place(self._window)
        if place is None:
            self._window = None
        return place is not None and place.shown and place.focused
