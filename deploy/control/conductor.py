"""Brings all parts of a run to stand still, and to go on.

    wanted ─► each part that is not so yet is asked, once a look, until its status says that it is

A part that is started anew in a pause is asked again like any other: nothing needs to remember whom it has told.
Hosts outside Ray read in the stream's control channel what is wanted.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

import time
from collections.abc import Callable, Iterable
from typing import Any

from pamiq_core.console import SystemStatus

from common.curiosity.status import TrainersStatus
from common.status import ActorStatus, EvaluatorStatus, LearnerStatus
from common.system_clock import Stood
from deploy.supervision import Part


def is_paused(status: Any) -> bool | None:
    """Says whether a part stands still, by its status; None if that does not tell."""
    match status:
        case ActorStatus() | EvaluatorStatus() | TrainersStatus():
            return status.paused
        case LearnerStatus():
            return status.waiting == "paused"
        case _:
            return None


class Conductor:
    """Knows what is wanted, and how far it is so.

    Args:
        stood: Seconds that a run which is resumed has stood still before, the time in which it was not there included.
        now: Seconds of wall clock, monotonic.
    """

    def __init__(self, stood: float = 0.0, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._since: float | None = None
        self._stood = stood
        self._ending = False
        self._told: tuple[bool | None, ...] = ()

    @property
    def paused(self) -> bool:
        """Whether all is to stand still."""
        return self._since is not None

    @property
    def stood(self) -> float:
        """Seconds that the run has stood still so far: by these, system time is behind the wall clock."""
        return self._stood + (self._now() - self._since if self._since is not None else 0.0)

    @property
    def behind(self) -> Stood:
        """The same for a part that is about to start: the pauses before, and when one began that goes on."""
        return self._stood, None if self._since is None else time.time() - (self._now() - self._since)

    def pause(self) -> bool:
        """Wants all to stand still; returns whether that is new."""
        if self._since is not None:
            return False
        self._since = self._now()
        return True

    def resume(self) -> bool:
        """Wants all to go on; returns whether that is new."""
        if self._since is None:
            return False
        self._stood, self._since = self.stood, None
        return True

    def end(self) -> None:
        """The run ends: nothing is asked for any more."""
        self._ending = True

    def look(self, parts: Iterable[Part], others: Iterable[ActorStatus] = ()) -> None:
        """Asks every part that is not as it is wanted.

        Args:
            parts: Those that can be asked.
            others: Status of actors outside Ray, which ask themselves.
        """
        told: list[bool | None] = [is_paused(other) for other in others]
        for part in parts:
            stands = is_paused(part.status)
            told.append(stands)
            if stands is not None and stands != self.paused:
                (part.handle.pause if self.paused else part.handle.resume).remote()
        self._told = tuple(told)

    def status(self) -> SystemStatus:
        """Says how the run is, in pamiq-core's words."""
        stands = [told for told in self._told if told is not None]
        if self._ending:
            return SystemStatus.SHUTTING_DOWN
        if self.paused:
            return SystemStatus.PAUSED if stands and all(stands) else SystemStatus.PAUSING
        return SystemStatus.RESUMING if any(stands) else SystemStatus.ACTIVE
