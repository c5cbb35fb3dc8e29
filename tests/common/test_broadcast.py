import os
from typing import Any

import msgpack
import pytest
import redis

from common.broadcast import CHUNK, Manifest, RedisWeightSource, WeightKeys, publish
from common.errors import WireError
from common.messages import VersionInfo
from common.weights import PayloadKind
from deploy.store import EmbeddedStore

KEYS = WeightKeys("s")
FULL, ENCODER = PayloadKind.FULL, PayloadKind.ENCODER


@pytest.fixture
def client(store: EmbeddedStore) -> Any:
    return redis.Redis.from_url(store.url)  # pyright: ignore[reportUnknownMemberType]


def info(version: int, *, published: bool = True) -> VersionInfo:
    return VersionInfo(
        version=version,
        step=version * 10,
        created_ns=1,
        system_time=0.5,
        digest="d",
        published=published,
        health={"loss": 0.25},
    )


def test_a_payload_of_several_chunks_arrives_whole_and_only_once(client: Any) -> None:
    payload = os.urandom(CHUNK + 17)
    publish(client, KEYS, info(1), {FULL: payload})
    source = RedisWeightSource(client, KEYS)
    found = source.pull_if_newer(0, FULL)
    assert found is not None
    assert found[0] == info(1)
    assert found[1] == payload
    assert source.pull_if_newer(1, FULL) is None
    assert source.pull_if_newer(0, ENCODER) is None


def test_held_back_versions_are_for_evaluators(client: Any) -> None:
    publish(client, KEYS, info(1), {FULL: b"f1", ENCODER: b"e1"})
    publish(client, KEYS, info(2, published=False), {FULL: b"f2", ENCODER: b"e2"})
    source = RedisWeightSource(client, KEYS)
    full, encoder = source.pull_if_newer(0, FULL), source.pull_if_newer(0, ENCODER)
    assert full is not None
    assert encoder is not None
    assert (full[1], encoder[1]) == (b"f2", b"e1")


def test_old_chunks_go_and_the_newest_never_expires(client: Any) -> None:
    for version in (1, 2, 3):
        assert publish(client, KEYS, info(version), {FULL: b"x"}, keep=2)
    assert not publish(client, KEYS, info(3), {FULL: b"y"})
    assert not client.exists(KEYS.chunk(1, FULL, 0))
    assert client.ttl(KEYS.chunk(2, FULL, 0)) > 0
    assert client.ttl(KEYS.chunk(3, FULL, 0)) == -1


def test_a_version_trimmed_under_the_reader_gives_the_next(client: Any) -> None:
    publish(client, KEYS, info(1), {FULL: b"old"}, keep=1)

    class Trimming:
        raced = False

        def getrange(self, key: str, start: int, end: int) -> Any:
            value = client.getrange(key, start, end)
            if not self.raced:
                self.raced = True
                publish(client, KEYS, info(2), {FULL: b"new"}, keep=1)
            return value

    found = RedisWeightSource(Trimming(), KEYS).pull_if_newer(0, FULL)
    assert found is not None
    assert (found[0].version, found[1]) == (2, b"new")


@pytest.mark.parametrize("damage", [b"abd", b"ab", b"abcd"])
def test_a_torn_payload_is_never_returned(client: Any, damage: bytes) -> None:
    publish(client, KEYS, info(1), {FULL: b"abc"})
    client.set(KEYS.chunk(1, FULL, 0), damage)
    with pytest.raises(WireError, match="no payload fits"):
        RedisWeightSource(client, KEYS).pull_if_newer(0, FULL)


@pytest.mark.parametrize(
    ("position", "value"), [(0, -1), (4, 3), (5, 1), (7, "other"), (8, 2), (9, 2**50), (10, b"short")]
)
def test_a_malformed_manifest_is_refused(client: Any, position: int, value: object) -> None:
    content: Any = msgpack.unpackb(Manifest(info(1), FULL, 1, 3, bytes(16)).encode())  # pyright: ignore
    content[position] = value
    client.set(KEYS.manifest(FULL), msgpack.packb(content))  # pyright: ignore
    with pytest.raises(WireError, match="manifest"):
        RedisWeightSource(client, KEYS).pull_if_newer(0, FULL)
