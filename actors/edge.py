"""An actor on a host that is no Ray node: a plain process that speaks to the stream's server alone.

    frames, status, heartbeat ─► Redis ◄── driver: configuration, pause, end
    weights ◄─────────────────── Redis ◄── relay

The host's loop waits for none of it. While the network is gone the actor lives on: frames wait in the spool, and what
does not fit is counted. It stands still, with all controls let go, when the run pauses, when the driver has said
nothing for half a minute though its server answers, and when the server has not answered for as long as `alone` says.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import redis

from actors.host import ActorHost
from actors.lease import Lease
from common.broadcast import RedisWeightSource, WeightKeys
from common.config import RunConfig
from common.errors import EngramError, StreamError, WireError
from common.status import ActorStatus
from common.stream import StreamKeys, connect
from common.stream.control import Control, Phase, read_control, tell_status
from common.system_clock import set_behind

LOOK = 0.25
"""Seconds between two looks at what is wanted."""
STATUS = 1.0
"""Seconds between two words of how the actor does."""
RENEW = 30.0
_OFF = 0.5
"""Seconds that the clocks of two hosts may differ without a word."""
SILENCE = 30.0
"""Seconds without a new word of the driver, after which it counts as gone."""

_log = logging.getLogger(__name__)


class EdgeActor:
    """Lives until the run ends, or until it is stopped.

    Args:
        run: The run's configuration, as this host is to have it.
        stream: Id of the stream.
        lease: The number that this actor has.
        folder: Where it keeps its journal.
        alone: Seconds without an answer of the server after which it stands still.
        told: Is told how it does, once a second.

    Raises:
        redis.RedisError: The server does not answer.
        WireError: The control channel holds no command.
    """

    def __init__(
        self,
        run: RunConfig,
        *,
        stream: str,
        lease: Lease,
        folder: Path,
        alone: float,
        told: Callable[[ActorStatus], None] = lambda status: None,
    ) -> None:
        self._keys = StreamKeys(stream)
        self._client = connect(run.redis_url)
        self._weights = connect(run.redis_url)
        self._lease = lease
        self._alone = alone
        self._told = told
        self._stop = threading.Event()
        self._control: Control | None = None
        self._heard = self._answered = time.monotonic()
        self._paused = False
        self._reason: str = ""
        self._next_status = self._next_renewal = 0.0
        self._join_clock()
        self.host = ActorHost(
            run,
            index=lease.index,
            stream=stream,
            source=RedisWeightSource(self._weights, WeightKeys(stream)),
            folder=folder,
        )

    def stop(self) -> None:
        """Asks it to end; safe from a signal handler."""
        self._stop.set()

    def live(self) -> ActorStatus:
        """Lives to the end.

        Returns:
            The last status.

        Raises:
            StreamError: Somebody else took this actor's number.
            BaseException: What ended the host's loop.
        """
        self._look()
        self.host.start()
        try:
            while not self._stop.wait(LOOK):
                self._look()
                status = self.host.status()
                if time.monotonic() >= self._next_status:
                    self._next_status = time.monotonic() + STATUS
                    self._told(status)
                    self._say(status)
                if self._control is not None and self._control.phase is Phase.ENDED:
                    _log.info("the run has ended")
                    break
        finally:
            last = self._close()
        return last

    def _join_clock(self) -> None:
        """Sets system time to the run's, by the server's clock, and says so where this host's differs from it."""
        control = read_control(self._client, self._keys)
        before = time.time()
        seconds, micros = self._client.time()  # pyright: ignore[reportUnknownMemberType]
        self._ahead = (before + time.time()) / 2 - (seconds + micros / 1e6)
        if abs(self._ahead) > _OFF:
            _log.warning(
                "this host's clock is %+.1f s off the server's: ages and latencies are wrong by that", self._ahead
            )
        self._set_clock(control.stood if control else 0.0)

    def _set_clock(self, stood: float) -> None:
        self._stood = stood
        set_behind(stood + self._ahead)

    def _look(self) -> None:
        """Reads what is wanted, and sees to it."""
        now = time.monotonic()
        try:
            control = read_control(self._client, self._keys)
            self._answered = now
            # An older command comes from who kept it, or was said before the driver's clock was set back.
            if control is not None and (self._control is None or control.told_ns > self._control.told_ns):
                self._control, self._heard = control, now
            if now >= self._next_renewal:
                self._next_renewal = now + RENEW
                if holder := self._lease.take():
                    raise StreamError(f"{self.host.name} is now {holder}: this one ends")
        except WireError as error:
            _log.warning("the control channel cannot be read: %s", error)
        except redis.RedisError as error:
            # A driver cannot be heard while its server is not.
            self._heard = now
            _log.debug("no answer: %s", error)
        self._stand(self._why(now))

    def _why(self, now: float) -> str:
        if now - self._answered > self._alone:
            return f"the server has not answered for {self._alone:g} s"
        if now - self._heard > SILENCE:
            return f"the run has said nothing for {SILENCE:g} s"
        if self._control is not None and self._control.phase is Phase.PAUSED:
            return "the run pauses"
        if self._control is not None and not self._paused and abs(self._control.stood - self._stood) > _OFF:
            return "the run has paused while it could not be heard, and the clock must follow"
        return ""

    def _stand(self, reason: str) -> None:
        if reason != self._reason:
            _log.info("%s", f"stands still: {reason}" if reason else "goes on")
            self._reason = reason
        if bool(reason) != self._paused:
            self._paused = bool(reason)
            if not self._paused and self._control is not None:
                self._set_clock(self._control.stood)
            (self.host.pause if self._paused else self.host.resume)()

    def _say(self, status: ActorStatus) -> None:
        try:
            tell_status(self._client, self._keys, status)
        except redis.RedisError as error:
            _log.debug("no answer: %s", error)

    def _close(self) -> ActorStatus:
        """Lets controls go, writes what waits, and says a last word."""
        try:
            last = replace(self.host.close(), ended=True)
            self._say(last)
            return last
        finally:
            try:
                self._lease.give_back()
            except (redis.RedisError, EngramError) as error:
                _log.debug("the number is not given back: %s", error)
            for client in (self._client, self._weights):
                client.close()
