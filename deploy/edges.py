"""Actors on hosts outside Ray, as the driver sees them: through the stream's server alone."""

import logging
import time
from dataclasses import replace

import redis

from common.config import RunConfig
from common.status import ActorStatus
from common.stream import StreamKeys, connect
from common.stream.control import Control, Phase, announce, announce_run, read_statuses

POLL = 0.2
SILENCE = 5.0
"""Seconds without a new status after which an actor counts as gone."""

_log = logging.getLogger(__name__)


class EdgeActors:
    """Tells them what is wanted, and hears how they do.

    Args:
        run: The run's configuration, with the URL of the server that is used.
        stream: Id of the stream.
    """

    def __init__(self, run: RunConfig, *, stream: str) -> None:
        self._run = run
        self._names = tuple(f"actor-{run.actors.count + number}" for number in range(run.actors.edge))
        self._keys = StreamKeys(stream)
        self._client = connect(run.redis_url) if self._names else None
        self._looked = False
        self._said: dict[str, tuple[int, float]] = {}
        self.statuses: tuple[ActorStatus, ...] = tuple(ActorStatus(name=name) for name in self._names)
        """Newest status of each; blank ones of those that have not come yet."""

    @property
    def present(self) -> tuple[ActorStatus, ...]:
        """Of those that have come and not gone: whoever says nothing for some seconds counts as gone."""
        now = time.monotonic()
        return tuple(
            status
            for status in self.statuses
            if not status.ended and now - self._said.get(status.name, (0, -SILENCE))[1] < SILENCE
        )

    def look(self, wanted: Control) -> None:
        """Writes what is wanted, each time, since the server may have lost it, and reads how they do."""
        if self._client is None:
            return
        try:
            announce_run(self._client, self._keys, self._run)
            announce(self._client, self._keys, wanted)
            found = read_statuses(self._client, self._keys)
        except redis.RedisError as error:
            _log.debug("actors outside Ray cannot be reached: %s", error)
            return
        now = time.monotonic()
        for name, (said, _) in found.items():
            if said != self._said.get(name, (0, 0.0))[0]:
                # What was there before this driver's first look may be of long ago.
                self._said[name] = said, now if self._looked else now - SILENCE
        self._looked = True
        self.statuses = tuple(found.get(status.name, (0, status))[1] for status in self.statuses)

    def end(self, wanted: Control, patience: float) -> None:
        """Has them stop, and waits until those that have lived said their last word.

        Args:
            wanted: What was wanted so far.
            patience: Seconds.
        """
        ended = replace(wanted, phase=Phase.ENDED, generation=wanted.generation + 1)
        until = time.monotonic() + (patience if any(status.frames for status in self.statuses) else 0.0)
        while self._client is not None:
            self.look(ended)
            if all(status.ended or not status.frames for status in self.statuses) or time.monotonic() >= until:
                return
            time.sleep(POLL)

    def close(self) -> None:
        """Lets the server go."""
        if self._client is not None:
            self._client.close()
