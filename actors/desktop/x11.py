"""The desktop under X11: windows by the core protocol, keys and mouse by the extension XTEST."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# xcffib is generated and untyped.

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, override

import xcffib
import xcffib.xproto as core
from xcffib import xtest

from actors.desktop import BUTTONS, KEYS, Desktop, DesktopError, Place

_DEPTH = 3
"""Levels of the window tree where titles are looked for: window managers put frames around windows."""
_NAME_WORDS = 256
_KEY_DOWN, _KEY_UP, _BUTTON_DOWN, _BUTTON_UP, _MOTION = 2, 3, 4, 5, 6
"""Core event codes, which XTEST takes."""
_RELATIVE = 1
_NO_FOCUS = 0


@contextmanager
def _refusals() -> Generator[None]:
    try:
        yield
    except (xcffib.XcffibException, xcffib.Error) as error:
        raise DesktopError(f"the X server refuses: {type(error).__name__}") from None


class X11Desktop(Desktop):
    """A connection of its own to the X server that DISPLAY names.

    Raises:
        DesktopError: There is no server, or it lacks XTEST.
    """

    def __init__(self) -> None:
        try:
            self._x: Any = xcffib.connect()
            self._test: Any = self._x(xtest.key)
            self._test.GetVersion(2, 2).reply()
        except (xcffib.XcffibException, xcffib.Error, KeyError, OSError) as error:
            name = os.environ.get("DISPLAY", "")
            raise DesktopError(f"no X server with XTEST at DISPLAY={name} ({type(error).__name__})") from None
        self._root: int = self._x.get_screen_pointers()[self._x.pref_screen].root
        self._utf8 = self._atom("UTF8_STRING")
        self._name = self._atom("_NET_WM_NAME")
        self._keycodes = self._read_keycodes()

    @override
    def find(self, title: str) -> int | None:
        found: list[tuple[bool, int, int]] = []
        for window in self._windows(self._root, _DEPTH):
            try:
                with _refusals():
                    named = self._title(window).casefold()
                    if title.casefold() in named:
                        size = self._x.core.GetGeometry(window).reply()
                        found.append((named == title.casefold(), size.width * size.height, window))
            except DesktopError:  # it closed while it was looked at
                continue
        return max(found)[2] if found else None

    @override
    def place(self, window: int) -> Place | None:
        asked = (
            self._x.core.GetWindowAttributes(window),
            self._x.core.GetGeometry(window),
            self._x.core.TranslateCoordinates(window, self._root, 0, 0),
            self._x.core.GetInputFocus(),
        )
        try:
            attributes, size, corner, focus = (cookie.reply() for cookie in asked)
        except (core.WindowError, core.DrawableError):
            return None
        except (xcffib.XcffibException, xcffib.Error) as error:
            raise DesktopError(f"the X server is gone ({type(error).__name__})") from None
        return Place(
            corner.dst_x,
            corner.dst_y,
            size.width,
            size.height,
            shown=attributes.map_state == core.MapState.Viewable,
            focused=focus.focus == window or self._inside(focus.focus, window),
        )

    @override
    def focus(self, window: int) -> None:
        with _refusals():
            size = self._x.core.GetGeometry(window).reply()
            self._x.core.ConfigureWindow(
                window, core.ConfigWindow.StackMode, [core.StackMode.Above], is_checked=True
            ).check()
            self._x.core.SetInputFocus(core.InputFocus.Parent, window, core.Time.CurrentTime, is_checked=True).check()
            self._x.core.WarpPointer(0, window, 0, 0, 0, 0, size.width // 2, size.height // 2, is_checked=True).check()

    @override
    def press(self, control: str, down: bool) -> None:
        if control in BUTTONS:
            self._fake(_BUTTON_DOWN if down else _BUTTON_UP, BUTTONS[control])
            return
        keysym = KEYS.get(control) or ord(control)
        if keysym not in self._keycodes:
            raise DesktopError(f"the keyboard of this display has no key {control!r}")
        self._fake(_KEY_DOWN if down else _KEY_UP, self._keycodes[keysym])

    @override
    def move(self, right: int, down: int) -> None:
        self._fake(_MOTION, _RELATIVE, right, down)

    @override
    def close(self) -> None:
        if self._x is not None:
            self._x.disconnect()
            self._x = None

    def _fake(self, kind: int, detail: int, x: int = 0, y: int = 0) -> None:
        with _refusals():
            self._test.FakeInput(kind, detail, core.Time.CurrentTime, 0, x, y, 0, is_checked=True).check()

    def _windows(self, parent: int, depth: int) -> Iterator[int]:
        try:
            with _refusals():
                children = list(self._x.core.QueryTree(parent).reply().children)
        except DesktopError:
            return
        for child in children:
            yield child
            if depth > 1:
                yield from self._windows(child, depth - 1)

    def _title(self, window: int) -> str:
        for name, kind in ((self._name, self._utf8), (core.Atom.WM_NAME, core.GetPropertyType.Any)):
            value = self._x.core.GetProperty(False, window, name, kind, 0, _NAME_WORDS).reply().value.buf()
            if value:
                return bytes(value).decode("utf-8", "replace")
        return ""

    def _inside(self, window: int, ancestor: int) -> bool:
        """Says whether a window lies in another: some programs give the keyboard to a child."""
        for _ in range(_DEPTH):
            if window in (_NO_FOCUS, core.InputFocus.PointerRoot, self._root):
                return False
            try:
                window = self._x.core.QueryTree(window).reply().parent
            except core.WindowError:
                return False
            if window == ancestor:
                return True
        return False

    def _atom(self, name: str) -> int:
        return self._x.core.InternAtom(False, len(name), name).reply().atom

    def _read_keycodes(self) -> dict[int, int]:
        """Finds the key that gives each keysym without a modifier."""
        setup = self._x.get_setup()
        count = setup.max_keycode - setup.min_keycode + 1
        mapping = self._x.core.GetKeyboardMapping(setup.min_keycode, count).reply()
        width = mapping.keysyms_per_keycode
        return {mapping.keysyms[index * width]: setup.min_keycode + index for index in reversed(range(count))}
