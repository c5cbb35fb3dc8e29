"""Takes the player from world to world, by the links that VRChat's own web site opens."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator

_INSTANCE = re.compile(r"wrld_[0-9a-fA-F-]{36}(:[\w~()-]+)?")
_AGAIN = 120.0
"""Seconds that a journey may take before it is begun anew."""

_log = logging.getLogger(__name__)


def is_destination(world: str) -> bool:
    """Says whether a name is a world's id, with or without an instance: `wrld_…`, `wrld_…:12345~region(jp)`.

    Instances that name their owner are refused: a configuration is written down in many places.
    """
    return _INSTANCE.fullmatch(world) is not None and "usr_" not in world


def open_link(link: str) -> None:
    """Opens a link with the program that is registered for it.

    Raises:
        OSError: There is no way to open one here.
    """
    if sys.platform == "win32":
        os.startfile(link)
    else:
        subprocess.Popen(["xdg-open", link], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Hops:
    """A schedule of journeys.

    Args:
        destinations: Worlds in the order of the visits, without end.
        visit: Seconds in each world, from the arrival.
        go: Opens a link.
    """

    def __init__(self, destinations: Iterator[str], visit: float, go: Callable[[str], None] = open_link) -> None:
        self._destinations = destinations
        self._visit = visit
        self._go = go
        self._to = ""
        self._arrived: float | None = None
        self._left = -_AGAIN

    def at(self, world: str, now: float) -> None:
        """Goes on if it is time, given the world that the player is in for good, empty on the way, at `now` seconds."""
        there = bool(self._to) and world == self._to.partition(":")[0]
        if there and self._arrived is None:
            self._arrived = now
        if self._arrived is not None and (there or not world):  # a menu, or a log that is silent, is no departure
            if now - self._arrived < self._visit:
                return
        elif now - self._left < _AGAIN:
            return
        elif self._to and self._arrived is None:
            _log.warning("%s was not reached", self._to.partition(":")[0])
        self._to, self._arrived, self._left = next(self._destinations), None, now
        try:
            self._go(f"vrchat://launch?ref=vrchat.com&id={self._to}")
        except OSError as error:
            _log.warning("the next world cannot be opened: %s", error.strerror)
