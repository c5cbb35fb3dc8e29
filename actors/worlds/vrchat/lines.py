"""Reads single lines of VRChat's own log.

    2026.09.11 01:01:21 Debug      -  [Behaviour] Finished entering world.
    └── local time ───┘ └ level ┘     └─ what happened ──────────────────┘

The format is VRChat's own and not promised to last; what is known of it is read off many logs. Lines are matched from
their beginning: names of worlds and players hold any text, and so do lines that worlds themselves write. No player's
name or id leaves this module.
"""

import re
from enum import Enum, auto
from typing import NamedTuple


class Sign(Enum):
    """What a line tells."""

    SET_OUT = auto()
    """A destination is set: the picture is about to fade."""
    STAYED = auto()
    """The way to the destination failed."""
    LEFT = auto()
    JOINING = auto()
    """The world is named, its scene is being made."""
    ARRIVED = auto()
    CUT = auto()
    """The server is lost."""
    QUIT = auto()
    MENU_OPENED = auto()
    MENU_CLOSED = auto()
    OTHER = auto()
    """A line in the known form that tells nothing of interest."""


class Event(NamedTuple):
    """One line.

    Attributes:
        sign: What it tells.
        name: Id of the world or name of the menu's page; empty for all others.
    """

    sign: Sign
    name: str = ""


_LINE = re.compile(r"\d{4}\.\d\d\.\d\d \d\d:\d\d:\d\d [A-Z][a-z]+ +-  (.*)", re.DOTALL)
_JOINING = re.compile(r"\[Behaviour\] Joining (?!or Creating Room: |friend: )(wrld_[\w-]+)?")
_PAGE = re.compile(r"VP (MainMenu\w*) OnPageAboutTo(Show|Hide)\(\)")
_SIGNS = {
    "[Behaviour] Destination set: ": Sign.SET_OUT,
    "[Behaviour] Could not enter room": Sign.STAYED,
    "[Behaviour] Failed to join instance": Sign.STAYED,
    "Failed to join user in instance": Sign.STAYED,
    "[Behaviour] Finished entering world": Sign.ARRIVED,
    # Older clients do not say when they have finished; this follows it closely where they do.
    "[Behaviour] OnPlayerJoined ": Sign.ARRIVED,
    "[Behaviour] OnDisconnected: ": Sign.CUT,
    "VRCApplication: HandleApplicationQuit": Sign.QUIT,
    "VRCApplication: OnApplicationQuit": Sign.QUIT,
}


def read_line(line: str) -> Event | None:
    """Reads one line without its end; None if it has not the form of one, as second lines of a message do."""
    if (whole := _LINE.fullmatch(line)) is None:
        return None
    said = whole[1].rstrip()
    if said == "[Behaviour] OnLeftRoom":
        return Event(Sign.LEFT)
    if (joining := _JOINING.match(said)) is not None:
        return Event(Sign.JOINING, joining[1] or "")
    if (page := _PAGE.match(said)) is not None:
        return Event(Sign.MENU_OPENED if page[2] == "Show" else Sign.MENU_CLOSED, page[1])
    for beginning, sign in _SIGNS.items():
        if said.startswith(beginning):
            return Event(sign)
    return Event(Sign.OTHER)
