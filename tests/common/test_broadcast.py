import os
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
import redis

from common.broadcast import CHUNK, Manifest, RedisWeightSource, WeightKeys, publish
from common.errors import StreamError, WireError
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


class Client:
    """A client to whose calls something happens.

    Args:
        client: The client itself.
        before_set: Called before each SET with its number, from 1.
        before_exec: Called before each EXEC.
        after_exec: Called after each EXEC.
    """

    def __init__(
        self,
        client: Any,
        *,
        before_set: Callable[[int], None] = lambda number: None,
        before_exec: Callable[[], None] = lambda: None,
        after_exec: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._sets = 0
        self._before_set, self._before_exec, self._after_exec = before_set, before_exec, after_exec

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def set(self, *args: Any, **options: Any) -> Any:
        self._sets += 1
        self._before_set(self._sets)
        return self._client.set(*args, **options)

    def pipeline(self, *, transaction: bool) -> Any:
        pipeline = self._client.pipeline(transaction=transaction)
        execute = pipeline.execute

        def run() -> Any:
            self._before_exec()
            replies = execute()
            self._after_exec()
            return replies

        pipeline.execute = run
        return pipeline


def left(client: Any, version: int) -> int:
    """Chunks of this version that the server has."""
    return len(client.keys(KEYS.chunk(version, FULL, 0)[:-1] + "*"))


def newest(client: Any) -> int:
    """The version that a late joiner gets; 0 for none."""
    found = RedisWeightSource(client, KEYS).pull_if_newer(0, FULL)
    return found[0].version if found else 0


def test_a_server_without_memory_keeps_nothing_of_what_did_not_fit(client: Any) -> None:
    publish(client, KEYS, info(1), {FULL: b"x"})
    seen: list[int] = []
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 5 * CHUNK)
    full = Client(client, before_set=lambda number: seen.append(left(client, 2)))
    with pytest.raises(redis.OutOfMemoryError):
        publish(full, KEYS, info(2), {FULL: bytes(12 * CHUNK)})
    assert max(seen) > 0
    assert left(client, 2) == 0
    assert newest(client) == 1
    assert publish(client, KEYS, info(3), {FULL: bytes(CHUNK)})
    assert newest(client) == 3


def test_the_first_error_is_raised_where_cleaning_up_fails_too(client: Any) -> None:
    def fail(number: int) -> None:
        if number == 2:
            raise redis.OutOfMemoryError("first")

    def fail_too() -> None:
        raise redis.ConnectionError("second")

    broken = Client(client, before_set=fail, before_exec=fail_too)
    with pytest.raises(redis.OutOfMemoryError, match="first"):
        publish(broken, KEYS, info(1), {FULL: bytes(2 * CHUNK)})


def test_a_server_emptied_between_chunks_gets_no_manifest(client: Any) -> None:
    def empty(number: int) -> None:
        if number == 2:
            client.flushall()

    with pytest.raises(StreamError, match="lost 1 of 3 chunks"):
        publish(Client(client, before_set=empty), KEYS, info(1), {FULL: bytes(2 * CHUNK + 1)})
    assert client.keys("*") == []
    assert publish(client, KEYS, info(1), {FULL: bytes(2 * CHUNK + 1)})
    assert newest(client) == 1


def test_a_server_emptied_before_the_manifest_gets_none(client: Any) -> None:
    emptied = Client(client, before_exec=client.flushall)
    with pytest.raises(redis.WatchError):
        publish(emptied, KEYS, info(1), {FULL: b"x"})
    assert client.keys("*") == []


def test_a_version_whose_confirmation_alone_was_lost_stays(client: Any) -> None:
    def lose() -> None:
        raise redis.TimeoutError("no reply")

    with pytest.raises(redis.TimeoutError):
        publish(Client(client, after_exec=lose), KEYS, info(1), {FULL: b"x"})
    assert newest(client) == 1
    assert client.ttl(KEYS.chunk(1, FULL, 0)) == -1
    assert not publish(client, KEYS, info(1), {FULL: b"x"})


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
