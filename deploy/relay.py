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

PATIENCE = 15.0
"""Seconds that a copy which is under way has to end."""
LONGEST_WAIT = 30.0
"""Seconds between looks at most, while copying fails."""

_log = logging.getLogger(__name__)


class WeightRelay:
    """Copies what is new until it is closed.

    Args:
        source: The registry.
        connect: Opens a client of the server.
        keys: Names of the weights' keys.
        key: Key that what is copied is signed with; None for none.
        every: Seconds between looks; twice as many after each failure, since a server without memory takes from the
            frames' writers what it spends on attempts.
    """

    def __init__(
        self,
        source: WeightSource,
        connect: Callable[[], redis.Redis],
        keys: WeightKeys,
        *,
        every: float,
        key: bytes | None = None,
    ) -> None:
        self._source = source
        self._client = connect()
        self._keys = keys
        self._key = key
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
        self._thread.join(PATIENCE)  # the registry must not go away under a thread that asks it
        self._client.close()

    def _run(self) -> None:
        wait = self._every
        while not self._stop.wait(wait):
            try:
                self._copy()
                wait = self._every
            except Exception as error:  # the registry or Redis may be restarting
                if self._stop.is_set():
                    return
                wait = max(self._every, min(2 * wait, LONGEST_WAIT))
                reason = type(error).__name__
                _log.warning("weights do not reach Redis (%s: %s); trying again in %.1f s", reason, error, wait)

    def _copy(self) -> None:
        if self._seen and not self._client.exists(self._keys.manifest(PayloadKind.ENCODER)):
            self._seen = 0  # the server was emptied
        found = self._source.pull_if_newer(self._seen, PayloadKind.ENCODER)
        if found is None:
            return
        info, payload = found
        publish(self._client, self._keys, info, {PayloadKind.ENCODER: payload}, key=self._key)
        self._seen = self.version = info.version
