"""Models on their way through Redis, for trainers and actors that share nothing else: each like the weights of I-JEPA.

    trainers ─► RedisModelSink ─► chunks, manifest (`common.broadcast`) ─► RedisModelSource ─► actors

Only tensors travel: what would have to be read by a model's own code is refused.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

import redis

from common.broadcast import POLL, RedisWeightSource, WeightKeys, publish, remove
from common.errors import StreamError, WireError
from common.messages import VersionInfo
from common.model_states import holds_tensors
from common.signing import own_key
from common.weights import PayloadKind

_KIND = PayloadKind.ENCODER
"""Under which such a model travels: what actors get."""


_log = logging.getLogger(__name__)


def _keys(stream: str, model: str) -> WeightKeys:
    return WeightKeys(f"{stream}:model:{model}")


class RedisModelSink:
    """The trainers' end.

    Versions are milliseconds since the epoch, so that they rise over restarts of the process and of the server alike.
    What cannot be brought to the server is replaced by what is published next.

    Args:
        client: Redis client that returns bytes.
        stream: Id of the stream.
        key: Key that models are signed with; that of this process by default, and none where it has none.
    """

    def __init__(self, client: Any, stream: str, key: bytes | None = None) -> None:
        self._client = client
        self._stream = stream
        self._key = own_key() if key is None else key
        self._last = 0

    def publish(self, name: str, version: int, state: bytes) -> None:
        """Writes a model's state and makes it the newest.

        Args:
            name: The model.
            version: How often it was published by this process.
            state: What `common.model_states.snapshot` gave.

        Raises:
            WireError: It holds no tensors.
        """
        if not holds_tensors(state):
            raise WireError(f"{name}: only the tensors of a torch model can be sent through Redis")
        self._last = number = max(self._last + 1, time.time_ns() // 10**6)
        info = VersionInfo(
            version=number, step=version, created_ns=time.time_ns(), system_time=0.0, digest="", published=True
        )
        try:
            if not publish(self._client, _keys(self._stream, name), info, {_KIND: state}, key=self._key):
                _log.warning("%s: the server has a newer version than %d: is the clock right?", name, number)
        except (redis.RedisError, StreamError) as error:
            _log.warning("%s does not reach Redis (%s: %s)", name, type(error).__name__, error)


class RedisModelSource:
    """An actor's end.

    Args:
        client: Redis client that returns bytes.
        stream: Id of the stream.
        key: Key that models are signed with; that of this process by default, and none where it has none.
    """

    def __init__(self, client: Any, stream: str, key: bytes | None = None) -> None:
        self._client = client
        self._stream = stream
        self._key = own_key() if key is None else key

    def newer(self, versions: Mapping[str, int], wait: float) -> Mapping[str, tuple[int, bytes]]:
        """Gives the newest version and state of each model that has a newer one than named; waits so many seconds.

        Raises:
            WireError: What is there is damaged, or no tensors.
            redis.RedisError: The server does not answer.
        """
        end = time.monotonic() + wait
        while not (found := self._newer(versions)) and (left := end - time.monotonic()) > 0:
            time.sleep(min(POLL, left))
        return found

    def _newer(self, versions: Mapping[str, int]) -> dict[str, tuple[int, bytes]]:
        found: dict[str, tuple[int, bytes]] = {}
        for name, version in versions.items():
            source = RedisWeightSource(self._client, _keys(self._stream, name), self._key)
            if (newest := source.pull_if_newer(version, _KIND)) is not None:
                info, payload = newest
                if not holds_tensors(state := bytes(payload)):
                    raise WireError(f"{name}: version {info.version} holds no tensors")
                found[name] = info.version, state
        return found


def remove_models(client: Any, stream: str, names: Iterable[str]) -> None:
    """Removes models of one stream from the server.

    Raises:
        redis.RedisError: The server does not answer.
    """
    for name in names:
        remove(client, _keys(stream, name))
