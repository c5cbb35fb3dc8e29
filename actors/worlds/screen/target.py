"""The window that an actor lives in, followed wherever it goes, with the screen and the keys around it."""

import logging
import time
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from actors.desktop import Desktop, DesktopError, Place, open_desktop
from actors.worlds.screen.capture import Box, Grabber, within
from actors.worlds.screen.hand import Hand
from common.config.screen import ScreenConfig
from common.messages import Action, Unfit

_PATIENCE = 1.0
"""Seconds between two looks for a window, or a desktop, that is not there."""
_SMALLEST = 16
"""Pixels that a picture must at least be high and wide."""

_log = logging.getLogger(__name__)


class Target:
    """Shared by sensor and actuator. After `open` nothing here raises: what is lost is looked for once a second.

    Args:
        config: Which window, which keys.
    """

    def __init__(self, config: ScreenConfig) -> None:
        self._config = config
        self._desktop: Desktop | None = None
        self._grabber: Grabber | None = None
        self._hand: Hand | None = None
        self._window: int | None = None
        self._place: Place | None = None
        self._owed: set[str] = set()
        self._tried = -_PATIENCE
        self._told = False

    def open(self) -> None:
        """Opens the desktop; does nothing while it is open.

        Raises:
            DesktopError: There is none.
        """
        if self._desktop is None:
            self._desktop, self._grabber = open_desktop(), Grabber()
            self._hand = Hand(self._desktop, self._config)
            for control in sorted(self._owed):  # what was down when the desktop was lost
                self._desktop.press(control, False)
            self._owed.clear()

    def close(self) -> None:
        """Lets the desktop go; a second call does nothing."""
        if self._hand is not None:
            self._owed |= self._hand.held
        for part in (self._desktop, self._grabber):
            if part is not None:
                with suppress(Exception):  # a connection whose other end is gone may fail in any way
                    part.close()
        self._desktop = self._grabber = self._hand = self._window = self._place = None

    def see(self) -> tuple[NDArray[np.uint8] | None, Unfit | None]:
        """Takes a picture: pixels, uint8 [h, w, 4] (blue, green, red, spare), and what is wrong with it."""
        try:
            return self._see()
        except DesktopError as error:
            self._lose(error)
            return None, Unfit.MISSING

    def act(self, action: Action) -> None:
        """Applies an action if the window shows and has the keyboard as of the last picture, else lets all keys go."""
        if self._hand is None:
            return
        try:
            if self._place is not None and self._place.shown and self._place.focused:
                self._hand.act(action)
            else:
                self._hand.let_go()
        except DesktopError as error:
            self._lose(error)

    def let_go(self) -> None:
        """Lets all keys go."""
        try:
            if self._hand is not None:
                self._hand.let_go()
            elif self._owed:
                self.open()
        except DesktopError as error:
            self._lose(error)

    def take(self) -> None:
        """Gives the window the keyboard, where it is there and control is on."""
        if self._desktop is None or self._window is None or not self._config.control:
            return
        try:
            self._desktop.focus(self._window)
        except DesktopError as error:
            _log.warning("%r cannot have the keyboard: %s", self._config.title, error)

    def _see(self) -> tuple[NDArray[np.uint8] | None, Unfit | None]:
        if self._desktop is None and self._may_try():
            self.open()
        if self._grabber is None:
            return None, Unfit.MISSING
        box: Box = self._grabber.whole
        unfit = None
        if self._config.title:
            self._place = self._look()
            if self._place is None or not self._place.shown:
                return None, Unfit.MISSING
            box = self._place.left, self._place.top, self._place.width, self._place.height
            if self._config.control and not self._place.focused:
                unfit = Unfit.UNFOCUSED
        pixels = self._grabber.grab(within(box, self._config.region))
        if pixels is None or min(pixels.shape[:2]) < _SMALLEST:
            return None, Unfit.MISSING
        return pixels, unfit

    def _look(self) -> Place | None:
        assert self._desktop is not None
        if self._window is not None:
            if (place := self._desktop.place(self._window)) is not None:
                return place
            _log.warning("the window %r is gone", self._config.title)
            self._window = None
        if not self._may_try():
            return None
        self._window = self._desktop.find(self._config.title)
        if self._window is None:
            if not self._told:
                _log.warning("no window's title contains %r; it is looked for once a second", self._config.title)
                self._told = True
            return None
        self._told = False
        self.take()
        return self._desktop.place(self._window)

    def _may_try(self) -> bool:
        now = time.monotonic()
        if now - self._tried < _PATIENCE:
            return False
        self._tried = now
        return True

    def _lose(self, error: DesktopError) -> None:
        if self._desktop is not None:
            _log.warning("the desktop is lost: %s", error)
        self.close()
