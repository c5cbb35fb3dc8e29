"""Weights for hosts outside Ray: each published version goes from the registry to Redis, on a thread of the driver.

    registry ◄── pull_if_newer ── relay ── chunks, manifest ─► Redis ◄── RedisWeightSource ── actor on another host

The learner knows nothing of it: a slow or absent Redis holds up nobody, and versions that came and went meanwhile are
skipped, as for every reader.
"""

import logging
import threading
from collections.abc import Callable

import redis

from common.broadcast import WeightKeys, publish
from common.weights import PayloadKind, WeightSource

_log = logging.getLogger(__name__)


class WeightRelay:
    """Copies what is new until it is closed.

    Args:
        source: The registry.
        connect: Opens a client of the server.
        keys: Names of the weights' keys.
        every: Seconds between looks.
    """

    def __init__(
        self, source: WeightSource, connect: Callable[[], redis.Redis], keys: WeightKeys, *, every: float
    ) -> None:
        self._source = source
        self._client = connect()
        self._keys = keys
        self._every = every
        self._seen = 0
        self.version = 0
        """Newest version that Redis has; 0 before the first."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="weight-relay", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join(5.0)
        self._client.close()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self._copy()
            except Exception as error:  # the registry or Redis may be restarting: the next look comes soon
                _log.warning("weights do not reach Redis (%s: %s); trying again", type(error).__name__, error)

    def _copy(self) -> None:
        found = self._source.pull_if_newer(self._seen, PayloadKind.ENCODER)
        if found is None:
            return
        info, payload = found
        if publish(self._client, self._keys, info, {PayloadKind.ENCODER: payload}):
            self.version = info.version
        self._seen = info.version
