"""Windows of the desktop, and hands on keyboard and mouse: X11 and Windows.

Imports nothing heavy, so that the dead-man process is up in a moment.
"""

import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from string import ascii_lowercase, digits
from typing import Protocol

KEYS = {
    "space": 0x20,
    "enter": 0xFF0D,
    "tab": 0xFF09,
    "esc": 0xFF1B,
    "shift": 0xFFE1,
    "ctrl": 0xFFE3,
    "alt": 0xFFE9,
    "left": 0xFF51,
    "up": 0xFF52,
    "right": 0xFF53,
    "down": 0xFF54,
}
"""Names of keys that are no letter or digit, with their X11 keysym (/usr/include/X11/keysymdef.h)."""

BUTTONS = {"mouse_left": 1, "mouse_middle": 2, "mouse_right": 3}
"""Names of mouse buttons, with their X11 number."""


def is_control(name: str) -> bool:
    """Says whether a key or mouse button can be named so: a letter, a digit, or a name of `KEYS` or `BUTTONS`."""
    return name in KEYS or name in BUTTONS or (len(name) == 1 and name in ascii_lowercase + digits)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a window shows, pixels of the whole screen.

    Attributes:
        left: Of its content, without a frame.
        top: Likewise.
        width: Of its content.
        height: Likewise.
        shown: False while it is minimised or hidden.
        focused: Whether the keyboard is its.
    """

    left: int
    top: int
    width: int
    height: int
    shown: bool = True
    focused: bool = True


class DesktopError(Exception):
    """The desktop cannot be reached or refuses what is asked; says why in one line."""


class Desktop(Protocol):
    """One desktop. Every method may raise `DesktopError`."""

    def find(self, title: str) -> int | None:
        """Finds the window whose title is or contains these words, in upper or lower case; None if there is none.

        One whose title is just that comes first, then the largest.
        """
        ...

    def place(self, window: int) -> Place | None:
        """Says where a window is now; None once it is gone."""
        ...

    def focus(self, window: int) -> None:
        """Gives a window the keyboard and puts the pointer into its middle."""
        ...

    def press(self, control: str, down: bool) -> None:
        """Presses a key or mouse button, or lets it go."""
        ...

    def move(self, right: int, down: int) -> None:
        """Moves the mouse by this many pixels."""
        ...

    def close(self) -> None:
        """Lets the desktop go."""
        ...


def open_desktop() -> Desktop:
    """Opens this machine's desktop; under X11 that of the variable DISPLAY.

    Raises:
        DesktopError: There is none, or a package is missing.
    """
    if sys.platform == "win32":
        from actors.desktop.windows import WindowsDesktop

        return WindowsDesktop()
    from actors.desktop.x11 import X11Desktop

    return X11Desktop()


def missing_desktop() -> str:
    """Says what to do before there is a desktop here; empty where there is one."""
    if sys.platform == "win32" or os.environ.get("DISPLAY"):
        return ""
    return "no X11 display: set DISPLAY, or start Xvfb (under Wayland, windows of XWayland are seen)"


def missing_package() -> str:
    """Says what to install before windows can be captured and steered here; empty where all is there."""
    needed = ["mss", "pydirectinput" if sys.platform == "win32" else "xcffib"]
    if missing := [name for name in needed if find_spec(name) is None]:
        return f"no {' and '.join(missing)}: pip install {' '.join(missing)}"
    return ""
