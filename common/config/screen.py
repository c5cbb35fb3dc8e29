"""The world `screen`: which window, how it is steered."""

from dataclasses import dataclass
from typing import ClassVar

from common.config import checks
from common.config.units import Seconds


@dataclass(frozen=True, kw_only=True)
class ScreenConfig:
    """A window of this desktop.

    Attributes:
        title: Words of the window's title, upper and lower case alike; empty for the whole screen.
        region: Left, top, width and height in pixels of the window, or of the screen without a title; a width or
            height of 0 reaches to its end.
        control: Off to watch while somebody else plays. Only then may the window lose the keyboard.
        keys: Forward, back, left, right, use: a letter, a digit, `space`, `enter`, `tab`, `esc`, `shift`, `ctrl`,
            `alt`, `up`, `down`, `left`, `right`, `mouse_left`, `mouse_middle`, `mouse_right`.
        mouse: Pixels that the mouse moves to the right for a turn of one degree; negative where it turns the other way.
        frozen: Seconds after which a picture that stays the same, to the bit, is not learned from.
    """

    GROUP: ClassVar[str] = "world.screen"

    title: str = ""
    region: tuple[int, int, int, int] = (0, 0, 0, 0)
    control: bool = True
    keys: tuple[str, str, str, str, str] = ("w", "s", "a", "d", "e")
    mouse: float = 5.0
    frozen: Seconds = 5.0

    def __post_init__(self) -> None:
        checks.positive(self, "frozen")
        if min(self.region) < 0:
            raise checks.refuse(self, "region", "must be four numbers from 0")
        if len(set(self.keys)) != len(self.keys) or not all(self.keys):
            raise checks.refuse(self, "keys", "must name five different keys")
