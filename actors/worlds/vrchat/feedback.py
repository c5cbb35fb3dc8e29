"""What VRChat tells over OSC of the avatar: whether it is away, and whether it turns when it is told to.

Parameters are VRChat's own of every avatar (docs.vrchat.com, animator parameters): `AFK`, and `AngularY`, the speed by
which it turns. VRChat sends a parameter when it changes.
"""

import logging
import socket

from pythonosc.osc_message import OscMessage, ParseError

from common.messages import Unfit

_WITHOUT_EFFECT = 2.0
"""Seconds of turning, without the avatar turning, after which controls count as being without effect."""
_TURNS = 0.05
"""Less than this asks for no turn."""
_AT_ONCE = 256
_QUIET = 30.0
_BUNDLE = b"#bundle\0"

_log = logging.getLogger(__name__)


class Feedback:
    """Listens on loopback, without ever waiting.

    Args:
        port: Where VRChat sends to; 0 listens to nothing.

    Attributes:
        malformed: Datagrams that were no OSC.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self._afk = False
        self._turning = False
        self._heard = False
        self._turns_seen = False
        self._without_effect: float | None = None
        self._since: float | None = None
        self.malformed = 0

    def open(self) -> None:
        """Begins to listen; a port that another program has is said once and done without."""
        if not self._port or self._socket is not None:
            return
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            listener.bind(("127.0.0.1", self._port))
        except OSError as error:
            _log.warning("world.vrchat.feedback_port = %d: %s; AFK and menus go unnoticed", self._port, error.strerror)
            listener.close()
            return
        listener.setblocking(False)
        self._socket = listener

    def close(self) -> None:
        """Stops; a second call does nothing."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def asked(self, turn: float, now: float) -> None:
        """Notes that an action asks for a turn, from -1 to 1, at `now` seconds."""
        if abs(turn) < _TURNS:
            self._without_effect = None
        elif self._without_effect is None:
            self._without_effect = now

    def unfit(self, now: float) -> Unfit | None:
        """Takes in what has come, and says why frames of `now` seconds must not be used."""
        if self._socket is None:
            return None
        for _ in range(_AT_ONCE):
            try:
                datagram = self._socket.recv(4096)
            except OSError:
                break
            self._take(datagram)
        self._remind(now)
        if self._turning:
            self._without_effect = None if self._without_effect is None else now
        if self._afk:
            return Unfit.AFK
        # Said only of an avatar that has been seen turning: not every one tells.
        stuck = self._turns_seen and self._without_effect is not None and now - self._without_effect > _WITHOUT_EFFECT
        return Unfit.MENU if stuck else None

    def _take(self, datagram: bytes) -> None:
        try:
            messages = _messages(datagram)
        except (ParseError, ValueError, IndexError, OverflowError):
            self.malformed += 1
            return
        for message in messages:
            self._heard = True
            value = message.params[0] if message.params else None
            if not isinstance(value, bool | int | float):
                continue
            match message.address:
                case "/avatar/parameters/AFK":
                    self._afk = bool(value)
                case "/avatar/parameters/AngularY":
                    self._turning = value != 0
                    self._turns_seen |= self._turning
                case _:
                    pass

    def _remind(self, now: float) -> None:
        if self._since is None:
            self._since = now
        elif not self._heard and now - self._since > _QUIET:
            self._heard = True
            _log.warning("VRChat sends nothing over OSC: switch OSC on in its action menu, if it should be steered")


def _messages(datagram: bytes) -> list[OscMessage]:
    """Takes a datagram apart; python-osc's own bundles loop for ever over an element of negative size.

    Raises:
        ParseError: It is neither a message nor a bundle of messages.
    """
    if not datagram.startswith(_BUNDLE):
        return [OscMessage(datagram)]
    found: list[OscMessage] = []
    place = len(_BUNDLE) + 8  # after the time
    while place < len(datagram):
        size = int.from_bytes(datagram[place : place + 4], signed=True)
        place += 4
        if not 0 < size <= len(datagram) - place:
            raise ParseError(f"an element of {size} bytes")
        found.append(OscMessage(datagram[place : place + size]))
        place += size
    return found
