"""Keeps each actor's stream to its share of the server's memory, whoever writes there.

An actor trims its own stream as it writes. One that does not, because it is broken or because a stranger has its
password, would fill the server: nothing is evicted, so that in the end no other actor could write. What is too much is
taken from the old end of that stream alone; its readers count it as missed.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Redis is untyped in parts.

import time
from collections.abc import Callable, Sequence
from typing import Any

from common.stream import StreamKeys

SLACK = 1.5
"""Times that an honest stream may be above its share: allocators round up, by a quarter at most."""
_SAMPLES = 256
"""Nodes of a stream that are looked at to estimate its size."""
_TIGHT = 0.8
"""Part of the server's limit from which on every node is looked at: an estimate can be deceived."""
EXACT_EVERY = 10.0
"""Seconds from one such look to the next while use does not grow: the server answers nobody else meanwhile."""
_GROWN = 0.05
"""Part of the limit by which use must have grown since, for another to be made at once."""


class Shares:
    """Looks after the streams of one run.

    Args:
        client: The server, with the rights of the run's driver.
        keys: Names of the stream's keys.
        actors: Whose streams there are.
        budget: Bytes that all of them may hold together.
        say: Notes an event of a kind, with details.
        now: Seconds of wall clock, monotonic.
    """

    def __init__(
        self,
        client: Any,
        keys: StreamKeys,
        actors: Sequence[str],
        *,
        budget: int,
        say: Callable[..., object],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._keys = keys
        self._actors = actors
        self._budget = budget
        self._say = say
        self._now = now
        self._told: set[str] = set()
        self._exact_at = float("-inf")
        self._least = 0

    def look(self, used: int, limit: int) -> None:
        """Cuts what is too long; does nothing while the server holds no more than the streams may.

        Args:
            used: Bytes that the server uses.
            limit: Bytes that it may use; 0 for any number.

        Raises:
            redis.RedisError: The server does not answer.
        """
        self._least = min(self._least, used)
        if used <= self._budget:
            return
        samples = 0 if self._must_be_exact(used, limit) else _SAMPLES
        share = SLACK * self._budget / max(1, len(self._actors))
        for actor in self._actors:
            key = self._keys.frames(actor)
            size = int(self._client.memory_usage(key, samples=samples) or 0)
            if size <= share or self._client.type(key) != b"stream":
                continue
            length = int(self._client.xlen(key))
            self._client.xtrim(key, maxlen=int(length * share / SLACK / size), approximate=False)
            if actor not in self._told:
                self._told.add(actor)
                self._say("stream_cut", actor=actor, bytes=size, share=round(share / SLACK))

    def _must_be_exact(self, used: int, limit: int) -> bool:
        if not limit or used <= _TIGHT * limit:
            return False
        if self._now() < self._exact_at + EXACT_EVERY and used <= self._least + _GROWN * limit:
            return False
        self._exact_at, self._least = self._now(), used
        return True
