"""How an action becomes VRChat's controls, by pamiq-vrchat's actuators: smoothly, as a person's hand would.

| entry of the action | meaning | control |
|---|---|---|
| 0 | forward, -1 to 1 | `/input/Vertical` |
| 1 | right, -1 to 1 | `/input/Horizontal` |
| 2 | turn, 1 is fully to the left | `/input/LookHorizontal`, or the mouse |
| 3 | jump above 0.5 | `/input/Jump` |

Full speed ahead runs: `/input/Run`. The microphone, the menus and what the avatar grabs are never touched.
"""

import math

from pamiq_vrchat.actuators import OscAction, OscAxes, OscButtons, SmoothMouseActuator, SmoothOscActuator

from common.config.vrchat import Look, VRChatConfig
from common.messages import Action

_RUNS = 0.95
_PRESSED = 0.5


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
        self._mouse = SmoothMouseActuator(delta_time=delta) if config.look is Look.MOUSE else None

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
            self._mouse.operate({"move_velocity": (-turn * self._config.mouse, 0.0)})
        buttons = {OscButtons.Run: forward >= _RUNS, OscButtons.Jump: jump > _PRESSED}
        self._controls.operate(OscAction(axes=axes, buttons=buttons))

    def let_go(self) -> None:
        """Sets everything to neutral; the next action is sent whole."""
        self._controls.on_paused()
        self._controls = self._anew()
        if self._mouse is not None:
            self._mouse.on_paused()

    def _anew(self) -> SmoothOscActuator:
        return SmoothOscActuator(self._config.osc_host, self._config.osc_port, delta_time=self._delta)
