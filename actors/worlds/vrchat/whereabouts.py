"""Which world the player is in, as VRChat's log tells it.

    unknown ──► loading ──► here ──► loading ──► here …
                  ▲           │
                  └── gone ◄──┘   quit, or the server lost

A frame is labelled only while the log leaves no doubt; what lies between is marked.
"""

from enum import Enum, auto

from actors.worlds.vrchat.lines import Event, Sign
from common.messages import Unfit

_PATIENCE = 60.0
"""Seconds after which a way that was never set out on counts as given up."""


class _State(Enum):
    UNKNOWN = auto()
    LOADING = auto()
    HERE = auto()
    GONE = auto()


class Whereabouts:
    """Follows the events of one log.

    Args:
        settle: Seconds after an arrival that do not count yet.
    """

    def __init__(self, settle: float) -> None:
        self._settle = settle
        self.forget()

    def forget(self) -> None:
        """Begins anew, with another log."""
        self._state = _State.UNKNOWN
        self._world = ""
        self._counts_from = 0.0
        self._left_by: float | None = None
        self._pages: set[str] = set()

    def hear(self, event: Event, now: float) -> None:
        """Takes the next event of the log, heard at `now` seconds."""
        match event.sign:
            case Sign.JOINING:
                self.forget()
                self._state, self._world = _State.LOADING, event.name
            case Sign.ARRIVED if self._state is _State.LOADING:
                # Where no line named the world, nothing is known.
                self._state = _State.HERE if self._world else _State.UNKNOWN
                self._counts_from = now + self._settle
            case Sign.SET_OUT if self._state is _State.HERE:
                self._left_by = now + _PATIENCE
            case Sign.STAYED if self._left_by is not None:
                self._left_by = None
                self._counts_from = now + self._settle
            case Sign.LEFT:
                self.forget()
                self._state = _State.LOADING
            case Sign.CUT | Sign.QUIT:
                self.forget()
                self._state = _State.GONE
            case Sign.MENU_OPENED:
                self._pages.add(event.name)
            case Sign.MENU_CLOSED:
                self._pages.discard(event.name)
            case _:
                pass

    def at(self, now: float) -> tuple[str, Unfit | None]:
        """Says which world a frame of `now` seconds shows, empty if nothing tells, and why it must not be used."""
        match self._state:
            case _State.UNKNOWN:
                return "", Unfit.UNKNOWN_WORLD
            case _State.LOADING:
                return self._world, Unfit.LOADING
            case _State.GONE:
                return "", Unfit.DISCONNECTED
            case _State.HERE:
                if self._left_by is not None and now >= self._left_by:
                    self._left_by = None
                if self._left_by is not None or now < self._counts_from:
                    return self._world, Unfit.LOADING
                return self._world, Unfit.MENU if self._pages else None
