"""Weights on their way to hosts outside Ray: a hand-made registry, a real server that goes away."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

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

    def pull_if_newer(self, version: int, kind: PayloadKind) -> tuple[VersionInfo, bytes] | None:
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
