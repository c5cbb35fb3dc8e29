"""Weights on their way to hosts outside Ray: a hand-made registry, a real server that goes away."""

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import redis

from common.broadcast import RedisWeightSource, WeightKeys, remove
from common.config import Durability
from common.messages import VersionInfo
from common.stream import connect
from common.weights import PayloadKind
from deploy.relay import WeightRelay
from deploy.store import EmbeddedStore

KEYS = WeightKeys("s")


class Registry:
    """Has what it is given."""

    def __init__(self) -> None:
        self.newest: tuple[VersionInfo, bytes] | None = None

    def hold(self, version: int, payload: bytes) -> None:
        info = VersionInfo(version=version, step=version, created_ns=1, system_time=0.0, digest=f"d{version}")
        self.newest = (info, payload)

    def pull_if_newer(self, version: int, kind: PayloadKind, wait: float = 0.0) -> tuple[VersionInfo, bytes] | None:
        assert kind is PayloadKind.ENCODER
        return self.newest if self.newest and self.newest[0].version > version else None


def until(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)


def test_versions_reach_redis_also_after_it_was_away(tmp_path: Path) -> None:
    store = EmbeddedStore(2**20, durability=Durability.AOF, folder=tmp_path / "store")
    registry = Registry()
    relay = WeightRelay(registry, lambda: connect(store.url), KEYS, every=0.02)
    reader = RedisWeightSource(connect(store.url), KEYS)
    try:
        assert relay.version == 0
        for version in (1, 2, 5):
            registry.hold(version, b"weights %d" % version)
            until(lambda version=version: relay.version == version)
            found = reader.pull_if_newer(version - 1, PayloadKind.ENCODER)
            assert found is not None
            assert (found[0].version, found[0].digest, bytes(found[1])) == (
                version,
                f"d{version}",
                b"weights %d" % version,
            )
        store.stop(keep=True)
        registry.hold(6, b"weights 6")
        time.sleep(0.2)
        assert relay.version == 5
    finally:
        relay.close()
        store.stop()


class Full:
    """A client of a server that has no memory for chunks until told otherwise."""

    def __init__(self, url: str) -> None:
        self._client = connect(url)
        self.attempts: list[float] = []
        self.full = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def set(self, *args: Any, **options: Any) -> Any:
        self.attempts.append(time.monotonic())
        if self.full:
            raise redis.OutOfMemoryError("OOM command not allowed when used memory > 'maxmemory'")
        return cast(Any, self._client).set(*args, **options)


def test_attempts_on_a_server_without_memory_grow_rare_until_it_has_some(store: EmbeddedStore) -> None:
    registry, client = Registry(), Full(store.url)
    registry.hold(1, b"weights 1")
    relay = WeightRelay(registry, lambda: cast(redis.Redis, client), KEYS, every=0.02)
    try:
        until(lambda: len(client.attempts) == 5)
        waits = [after - before for before, after in pairwise(client.attempts)]
        assert all(wait >= 0.04 * 2**place for place, wait in enumerate(waits)), waits
        client.full = False
        until(lambda: relay.version == 1)
        for version in range(2, 6):
            registry.hold(version, b"weights")
            held = time.monotonic()
            until(lambda version=version: relay.version == version)
            assert time.monotonic() - held < 0.5, "as often as before"
    finally:
        relay.close()


def test_nothing_stays_on_the_server(store: EmbeddedStore) -> None:
    registry, client = Registry(), connect(store.url)
    relay = WeightRelay(registry, lambda: connect(store.url), KEYS, every=0.01)
    for version in range(1, 5):
        registry.hold(version, bytes(5 * 2**20))
        until(lambda version=version: relay.version == version)
    relay.close()
    keys = cast(list[bytes], client.keys("*"))  # pyright: ignore[reportUnknownMemberType]
    chunks = [key for key in keys if b":encoder:" in key and b"kept" not in key]
    assert len(chunks) == 4, "two versions of two chunks"
    remove(client, KEYS)
    assert client.keys("*") == []  # pyright: ignore[reportUnknownMemberType]


def test_versions_come_back_to_a_server_that_was_emptied(tmp_path: Path) -> None:
    store = EmbeddedStore(2**20)
    registry = Registry()
    registry.hold(3, b"weights")
    relay = WeightRelay(registry, lambda: connect(store.url), KEYS, every=0.02)
    client: Any = connect(store.url)
    reader = RedisWeightSource(client, KEYS)
    try:
        until(lambda: relay.version == 3)
        client.flushall()
        until(lambda: reader.pull_if_newer(0, PayloadKind.ENCODER) is not None)
    finally:
        relay.close()
        client.close()
        store.stop()
