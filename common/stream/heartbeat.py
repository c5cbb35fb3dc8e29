"""Signs of life: each part writes the moment and a few numbers under its name; the driver sees who fell silent."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgpack
import redis

from common.stream.keys import StreamKeys

_log = logging.getLogger(__name__)


class Heartbeat:
    """Beats on a thread of its own for as long as the part really moves.

    Args:
        client: Connection of its own.
        keys: Names of the stream's keys.
        part: The part's name.
        every: Seconds between beats.
        progress: A number that grows as long as the part works; a part that hangs falls silent though its threads live.
    """

    def __init__(
        self, client: redis.Redis, *, keys: StreamKeys, part: str, every: float, progress: Callable[[], int]
    ) -> None:
        self._client = client
        self._keys = keys
        self._part = part
        self._every = every
        self._progress = progress
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heartbeat-{part}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join(5.0)
        self._client.close()

    def _run(self) -> None:
        last = 0  # a part that is still being set up gives no sign
        while not self._stop.wait(self._every):
            now = self._progress()
            if now == last:
                continue
            last = now
            beat = {"t": time.time_ns(), "pid": os.getpid(), "host": socket.gethostname(), "progress": now}
            try:
                cast(Any, self._client).hset(self._keys.heartbeats, self._part, cast(Any, msgpack).packb(beat))
            except redis.RedisError as error:
                _log.debug("%s: no beat: %s", self._part, error)


def last_beats(client: redis.Redis, keys: StreamKeys) -> dict[str, Mapping[str, Any]]:
    """Reads every part's last sign of life: `t` (ns), `pid`, `host`, `progress`; what does not parse is left out.

    Raises:
        redis.RedisError: The server does not answer.
    """
    beats: dict[str, Mapping[str, Any]] = {}
    for part, packed in cast(dict[bytes, bytes], client.hgetall(keys.heartbeats)).items():
        try:
            beat: Any = cast(Any, msgpack).unpackb(packed)
        except ValueError:
            continue
        if isinstance(beat, dict) and isinstance(cast(dict[str, Any], beat).get("t"), int):
            beats[part.decode(errors="replace")] = cast(Mapping[str, Any], beat)
    return beats
