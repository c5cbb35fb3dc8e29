"""How an action becomes keys that are held and a mouse that moves."""

import math

from actors.desktop import Desktop
from common.config.screen import ScreenConfig
from common.messages import Action

DEGREES = 20.0
"""A full turn of one step, as in the other worlds."""
_PRESSED = 0.5


class Hand:
    """Holds and lets go keys, so that between two steps exactly those of the last action are held.

    | entry of the action | meaning | keys or mouse |
    |---|---|---|
    | 0 | forward above 0.5, back below -0.5 | `keys[0]`, `keys[1]` |
    | 1 | right above 0.5, left below -0.5 | `keys[3]`, `keys[2]` |
    | 2 | turn, 1 is 20 degrees to the left | mouse, `mouse` pixels a degree |
    | 3 | use above 0.5 | `keys[4]` |

    Args:
        desktop: Where the keys go.
        config: Which keys.
    """

    def __init__(self, desktop: Desktop, config: ScreenConfig) -> None:
        self._desktop = desktop
        self._keys = config.keys
        self._mouse = config.mouse
        self._rest = 0.0
        self.held: set[str] = set()
        """Keys and buttons that are down."""

    def act(self, action: Action) -> None:
        """Applies an action, float32 [4] or longer, of which the rest means nothing here; NaN counts as 0."""
        forward, right, turn, use = (0.0 if math.isnan(value) else float(value) for value in action[:4])
        ahead, back, left_key, right_key, use_key = self._keys
        wanted = {
            key
            for key, value in (
                (ahead, forward),
                (back, -forward),
                (right_key, right),
                (left_key, -right),
                (use_key, use),
            )
            if value > _PRESSED
        }
        self._hold(wanted)
        # What is less than a pixel waits for the next step: slow turns add up.
        exact = self._rest - min(max(turn, -1.0), 1.0) * DEGREES * self._mouse
        whole = round(exact)
        self._rest = exact - whole
        if whole:
            self._desktop.move(whole, 0)

    def let_go(self) -> None:
        """Lets all keys go."""
        self._hold(set())
        self._rest = 0.0

    def _hold(self, wanted: set[str]) -> None:
        for key in sorted(self.held - wanted):
            self._desktop.press(key, False)
            self.held.discard(key)
        for key in sorted(wanted - self.held):
            self.held.add(key)
            self._desktop.press(key, True)
