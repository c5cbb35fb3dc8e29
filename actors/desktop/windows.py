"""The desktop under Windows: windows by user32; keys, by the scan codes that games read, and mouse by pydirectinput."""

import ctypes
from typing import Any, override

from actors.desktop import BUTTONS, Desktop, DesktopError, Place

_windows: Any = ctypes
"""What ctypes has under Windows only."""


class _Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_long), ("y", ctypes.c_long))


class _Rectangle(ctypes.Structure):
    _fields_ = (("left", ctypes.c_long), ("top", ctypes.c_long), ("right", ctypes.c_long), ("bottom", ctypes.c_long))


class WindowsDesktop(Desktop):
    """The desktop of the user who is logged in.

    Raises:
        DesktopError: pydirectinput is missing.
    """

    def __init__(self) -> None:
        try:
            import pydirectinput  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise DesktopError("no pydirectinput: pip install pydirectinput") from None
        self._hand: Any = pydirectinput
        self._hand.FAILSAFE = False  # a camera that is turned by the mouse has its pointer anywhere
        self._user32: Any = _windows.WinDLL("user32")
        self._user32.GetForegroundWindow.restype = ctypes.c_void_p

    @override
    def find(self, title: str) -> int | None:
        found: list[tuple[bool, int, int]] = []

        def look(window: int, _: int) -> bool:
            text = ctypes.create_unicode_buffer(512)
            self._user32.GetWindowTextW(ctypes.c_void_p(window), text, 512)
            named = text.value.casefold()
            if self._user32.IsWindowVisible(ctypes.c_void_p(window)) and title.casefold() in named:
                place = self.place(window)
                found.append((named == title.casefold(), place.width * place.height if place else 0, window))
            return True

        kind: Any = _windows.WINFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_void_p)
        self._user32.EnumWindows(kind(look), None)
        return max(found)[2] if found else None

    @override
    def place(self, window: int) -> Place | None:
        handle = ctypes.c_void_p(window)
        corner, inside = _Point(0, 0), _Rectangle()
        if not self._user32.IsWindow(handle) or not self._user32.GetClientRect(handle, ctypes.byref(inside)):
            return None
        self._user32.ClientToScreen(handle, ctypes.byref(corner))
        return Place(
            corner.x,
            corner.y,
            inside.right,
            inside.bottom,
            shown=bool(self._user32.IsWindowVisible(handle)) and not self._user32.IsIconic(handle),
            focused=self._user32.GetForegroundWindow() == window,
        )

    @override
    def focus(self, window: int) -> None:
        place = self.place(window)
        if place is None or not self._user32.SetForegroundWindow(ctypes.c_void_p(window)):
            raise DesktopError("Windows does not let the window have the keyboard: click into it")
        self._user32.SetCursorPos(place.left + place.width // 2, place.top + place.height // 2)

    @override
    def press(self, control: str, down: bool) -> None:
        if control in BUTTONS:
            button = control.removeprefix("mouse_")
            (self._hand.mouseDown if down else self._hand.mouseUp)(button=button, _pause=False)
        else:
            (self._hand.keyDown if down else self._hand.keyUp)(control, _pause=False)

    @override
    def move(self, right: int, down: int) -> None:
        self._hand.moveRel(right, down, relative=True, _pause=False)

    @override
    def close(self) -> None:
        """There is nothing to let go."""
