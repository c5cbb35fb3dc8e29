"""Actors on hosts outside Ray, as the driver sees them: through the stream's server alone."""

import logging
import time
from dataclasses import replace
from functools import partial

import redis

from common.catalogue import Role
from common.config import RunConfig
from common.metrics import Metrics
from common.status import ActorStatus
from common.stream import StreamKeys, connect
from common.stream.control import Control, Phase, announce, announce_run, read_statuses
from deploy.discovery import Absent, MetricsDirectory

POLL = 0.2
HOST = "edge"
"""Label of hosts outside Ray: of their names the driver knows nothing."""
SILENCE = 5.0
"""Seconds without a new status after which an actor counts as gone."""

_log = logging.getLogger(__name__)


class EdgeActors:
    """Tells them what is wanted, and hears how they do.

    Args:
        run: The run's configuration, with the URL of the server that is used.
        stream: Id of the stream.
        key: Key that what they are told is signed with; None for none.
    """

    def __init__(self, run: RunConfig, *, stream: str, key: bytes | None = None) -> None:
        self._run = run
        self._key = key
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

    def list_in(self, directory: MetricsDirectory) -> None:
        """Has the driver show Prometheus what their statuses hold: counters and gauges, no histograms."""
        for name in self._names:
            metrics = Metrics(Role.ACTOR, own=False)
            metrics.follow(partial(self._status, name))
            directory.register(name, metrics.exposition, host=HOST)

    def _status(self, name: str) -> ActorStatus:
        for status in self.present:
            if status.name == name:
                return status
        raise Absent("it has not come, or has gone")

    def look(self, wanted: Control) -> None:
        """Writes what is wanted, each time, since the server may have lost it, and reads how they do."""
        if self._client is None:
            return
        try:
            announce_run(self._client, self._keys, self._run, self._key)
            announce(self._client, self._keys, wanted, self._key)
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
