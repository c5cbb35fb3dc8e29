"""Keeps the parts alive: asks each for its status, notices death, failure and silence, and starts it anew."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import ray
import ray.exceptions

from common.errors import GuardrailError, RunError
from common.status import ActorStatus
from deploy.nodes import whereabouts

WINDOW = 600.0
"""Seconds in which the restarts of a part are counted."""
DIED = "its process died"
type Clock = Callable[[], float]
"""Seconds since some fixed moment."""

_log = logging.getLogger(__name__)


class Deaths:
    """Counts the deaths of one part within `WINDOW`.

    Args:
        name: Name of the part.
        limit: Deaths that are forgiven.
    """

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._moments: deque[float] = deque()

    def count(self) -> None:
        """Notes one more.

        Raises:
            RunError: It was one too many.
        """
        now = time.monotonic()
        self._moments.append(now)
        while now - self._moments[0] > WINDOW:
            self._moments.popleft()
        if len(self._moments) > self._limit:
            raise RunError(f"{self._name} died {len(self._moments)} times in {WINDOW / 60:g} minutes: giving up")


@dataclass(slots=True)
class Part:
    """One supervised Ray actor.

    Attributes:
        name: Name of the part.
        start: Makes the Ray actor and returns its handle.
        deaths: Its deaths lately.
        group: Name of those that cannot go on without each other: they end and start together.
        handle: The Ray actor that lives now.
        status: Its newest status.
        port: Port of its metrics, once known.
        host: Address of the Ray node that it lives on, once known.
        restarts: Times it was started anew.
    """

    name: str
    start: Callable[[], Any]
    deaths: Deaths
    group: str
    handle: Any = None
    status: Any = None
    port: int | None = None
    host: str | None = None
    restarts: int = 0
    _asked: Any = None
    _asked_port: Any = None

    def launch(self) -> None:
        """Starts it."""
        self.handle = self.start()
        self.host, self.port = None, None
        self._asked = None
        self._asked_port = None
        if isinstance(self.status, ActorStatus):  # counts go on, and nothing is captured until it lives
            self.status = replace(self.status, fps=0.0)

    def ask(self) -> str | None:
        """Fetches the newest status without waiting.

        Returns:
            Why it counts as dead, or None while it lives.

        Raises:
            RunError: It gave up for a reason that a restart would meet again.
        """
        if self._asked is None:
            self._asked = self.handle.status.remote()
        if self.port is None and self._asked_port is None:
            self._asked_port = self.handle.__ray_call__.remote(whereabouts)
        try:
            if self._asked_port is not None and ray.wait([self._asked_port], timeout=0)[0]:
                reference, self._asked_port = self._asked_port, None
                self.host, self.port = ray.get(reference)
            if ray.wait([self._asked], timeout=0)[0]:
                reference, self._asked = self._asked, None
                self.status = ray.get(reference)
        except ray.exceptions.ActorUnavailableError:  # the way there is cut: silence will tell for how long
            return None
        except ray.exceptions.ActorUnschedulableError:
            return "its host has gone"
        except ray.exceptions.RayActorError:
            return DIED
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, GuardrailError):
                raise RunError(f"the {self.name} gave up: {error.cause}") from error
            return f"it failed: {type(error.cause).__name__}: {error.cause}"
        return None

    def kill(self) -> None:
        """Ends its process at once."""
        ray.kill(self.handle, no_restart=True)


class Pulses:
    """When each part was last seen to move, by this process's own clock: hosts' clocks need not agree.

    Args:
        now: The clock.
    """

    def __init__(self, now: Clock = time.monotonic) -> None:
        self._now = now
        self._values: dict[str, int] = {}
        self._moved: dict[str, float] = {}
        self._deaf = False

    def hear(self, beats: Mapping[str, Mapping[str, Any]] | None) -> None:
        """Takes the heartbeats that Redis has now, or None where it cannot be asked.

        While it cannot, nobody can beat: after an outage every part has its time anew.
        """
        if beats is None:
            self._deaf = True
            return
        now = self._now()
        if self._deaf:
            self._moved = dict.fromkeys(self._moved, now)
            self._deaf = False
        for part, beat in beats.items():
            if self._values.get(part) != beat["t"]:
                self._values[part], self._moved[part] = beat["t"], now

    def forget(self, part: str) -> None:
        """Expects a first heartbeat anew: the part is being started."""
        self._moved.pop(part, None)

    def silence(self, part: str) -> float | None:
        """Seconds since the part moved; None before its first heartbeat, and while Redis cannot be asked."""
        if self._deaf or part not in self._moved:
            return None
        return self._now() - self._moved[part]


class Supervisor:
    """Watches all parts.

    Args:
        limit: Deaths of one part within ten minutes that are forgiven.
        silence: Seconds without a heartbeat, after its first, after which a part counts as hung.
        cut: The same of parts on other hosts, whose network may be cut for a while.
        report: Told of each restart: part and reason.
    """

    def __init__(self, *, limit: int, silence: float, cut: float, report: Callable[[str, str], None]) -> None:
        self._limit = limit
        self._silence = silence
        self._cut = max(silence, cut)
        self._report = report
        self._pulses = Pulses()
        self.parts: dict[str, Part] = {}

    def add(self, name: str, start: Callable[[], Any], *, group: str = "") -> Part:
        """Starts a part and watches it from now on.

        Args:
            name: Its name.
            start: Makes the Ray actor and returns its handle.
            group: Parts of one group end and start together, in the order in which they were added; alone by default.
        """
        part = self.parts[name] = Part(name, start, Deaths(name, self._limit), group or name)
        part.launch()
        return part

    def restarts(self) -> dict[str, int]:
        """Restarts of the parts that had any."""
        return {name: part.restarts for name, part in self.parts.items() if part.restarts}

    def look(self, beats: Mapping[str, Mapping[str, Any]] | None, *, here: str) -> None:
        """Looks after every part once.

        Args:
            beats: The heartbeats that Redis has now, or None where it cannot be asked.
            here: Address of the Ray node of this process.

        Raises:
            RunError: A part died too often, or gave up.
        """
        self._pulses.hear(beats)
        found = {part.name: reason for part in self.parts.values() if (reason := part.ask() or self._hung(part, here))}
        for group in dict.fromkeys(self.parts[name].group for name in found):
            members = [part for part in self.parts.values() if part.group == group]
            # When one process dies, those that it leaves waiting fail: its death is the reason to tell.
            guilty = min((part for part in members if part.name in found), key=lambda part: found[part.name] != DIED)
            for part in members:
                part.kill()
                self._pulses.forget(part.name)
            members[0].deaths.count()
            for part in members:
                reason = found[guilty.name] if part is guilty else f"{guilty.name}: {found[guilty.name]}"
                _log.warning("%s: %s; starting it anew", part.name, reason)
                part.launch()
                part.restarts += 1
                self._report(part.name, reason)

    def _hung(self, part: Part, here: str) -> str | None:
        quiet = self._pulses.silence(part.name)
        if part.host is None:  # what is heard may come from its last process, on a host that was cut off
            return None
        if quiet is not None and quiet > (self._silence if part.host == here else self._cut):
            return f"no heartbeat for {quiet:.0f} s"
        return None
