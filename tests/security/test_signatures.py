"""Frames, weights and commands that somebody else made, changed, or kept from another time or run."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Redis is untyped in parts.

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgpack
import numpy as np
import pytest
import redis
import torch
from pamiq_core.torch import TorchTrainingModel

from common import signing
from common.broadcast import Manifest, RedisWeightSource, WeightKeys, publish
from common.config.presets import preset
from common.errors import ConfigError, RunError, WireError
from common.messages import Datum, VersionInfo
from common.model_channel import RedisModelSink, RedisModelSource
from common.model_states import snapshot
from common.signing import SIGNATURE, Signer, given_key
from common.stream import CaptureJournal, StreamKeys, StreamReader, StreamWriter, connect
from common.stream.control import Control, Phase, announce, announce_run, read_control, read_run
from common.weights import PayloadKind
from common.wire import Fields, encode
from deploy.store import EmbeddedStore, kept_key
from tests.common.rig import until

type Make = Callable[..., Datum]

KEY, OTHER = bytes(range(32)), bytes(32)
KEYS = StreamKeys("run-1")
FRAMES = KEYS.frames("actor-0")
ENCODER = PayloadKind.ENCODER


@pytest.fixture
def client(store: EmbeddedStore) -> Iterator[redis.Redis]:
    with connect(store.url) as made:
        yield made


@pytest.fixture
def adopted() -> Iterator[None]:
    signing.adopt(KEY)
    yield
    signing.adopt(None)


def writer(store: EmbeddedStore, folder: Path, key: bytes | None = KEY) -> StreamWriter:
    journal = CaptureJournal(folder / "actor-0.journal")
    return StreamWriter(
        lambda: connect(store.url), keys=KEYS, actor="actor-0", journal=journal, length=1000, spool=100, key=key
    )


def write(store: EmbeddedStore, folder: Path, data: list[Datum], key: bytes | None = KEY) -> None:
    made = writer(store, folder, key)
    for datum in data:
        made.put(datum)
    until(lambda: made.counts().spooled == 0)
    made.close()


def reader(store: EmbeddedStore, key: bytes | None = KEY, keys: StreamKeys = KEYS) -> StreamReader:
    made = StreamReader(connect(store.url), keys=keys, key=key)
    made.refresh()
    return made


def pixels(datum: Datum) -> np.ndarray[Any, Any]:
    assert isinstance(datum.data, np.ndarray)
    return datum.data


def signed(fields: Fields, stream: str = "run-1", key: bytes = KEY) -> Fields:
    return {**fields, SIGNATURE: Signer(key, stream).entry(fields)}


def test_a_signed_stream_is_read_with_the_key_and_without(
    store: EmbeddedStore, client: redis.Redis, tmp_path: Path, make_datum: Make
) -> None:
    frames = [make_datum() for _ in range(40)]
    write(store, tmp_path, frames)
    for key in (KEY, None):
        made = reader(store, key)
        read = [datum for _ in range(3) for datum in made.read()]
        assert all(np.array_equal(pixels(a), pixels(b)) for a, b in zip(read, frames, strict=True))
        assert made.positions["actor-0"].foreign == 0
    assert all(len(fields[SIGNATURE]) == 16 for _, fields in cast(Any, client).xrange(FRAMES))


type Forge = Callable[[Fields], Fields]

FORGERIES: dict[str, Forge] = {
    "unsigned": lambda fields: fields,
    "with another key": lambda fields: signed(fields, key=OTHER),
    "of another run": lambda fields: signed(fields, stream="run-2"),
    "changed picture": lambda fields: signed(fields) | {b"data": bytes(len(fields[b"data"]))},
    "changed time": lambda fields: signed(fields) | {b"t": b"1"},
    "changed labels": lambda fields: signed(fields) | {b"lab": b"\x80"},
    "one more field": lambda fields: signed(fields) | {b"more": b"x"},
    "moved border of two fields": lambda fields: signed(fields | {b"a": b"bc"}) | {b"a": b"b", b"c": b""},
    "cut signature": lambda fields: signed(fields) | {SIGNATURE: signed(fields)[SIGNATURE][:15]},
    "long signature": lambda fields: signed(fields) | {SIGNATURE: signed(fields)[SIGNATURE] + b"\0"},
}


@pytest.mark.parametrize("what", FORGERIES)
def test_a_forged_frame_is_foreign_and_never_decoded(
    store: EmbeddedStore,
    client: redis.Redis,
    tmp_path: Path,
    make_datum: Make,
    what: str,
) -> None:
    write(store, tmp_path, [make_datum() for _ in range(3)])
    forged = {name: bytes(value) for name, value in encode(make_datum(seq=4, ordinal=3)).items()}
    client.xadd(FRAMES, cast(Any, FORGERIES[what](forged)), id="4-0")
    made = reader(store)
    assert [datum.seq for datum in made.read()] == [1, 2, 3], what
    position = made.positions["actor-0"]
    assert (position.foreign, position.quarantined, position.missed, position.seq) == (1, 0, 0, 3)
    ((_, kept),) = cast(Any, client).xrange(KEYS.quarantine)
    assert b"not written by actor-0" in kept[b"reason"]
    made.read()
    assert made.positions["actor-0"].foreign == 1, "counted once"


def test_the_actor_goes_on_where_forged_frames_took_its_numbers(
    store: EmbeddedStore, client: redis.Redis, tmp_path: Path, make_datum: Make
) -> None:
    """Without a key they pass for another process of its name, and the actor ends."""
    made, far = writer(store, tmp_path), reader(store)
    made.put(make_datum())
    until(lambda: made.counts().written == 1)
    far.refresh()
    assert [datum.seq for datum in far.read()] == [1]
    for seq in (2, 10**15):
        client.xadd(FRAMES, cast(Any, encode(make_datum(seq=seq, ordinal=1))), id=f"{seq}-0")
    assert far.read() == []
    for _ in range(3):
        made.put(make_datum())
    until(lambda: made.counts().written == 4)
    assert made.failure is None
    made.close()
    assert [(datum.seq, datum.ordinal) for datum in far.read()] == [(2, 1), (3, 2), (4, 3)]
    position = far.positions["actor-0"]
    assert (position.missed, position.foreign, far.unread()) == (0, 2, {"actor-0": 0})


def test_a_genuine_frame_cannot_be_used_again(
    store: EmbeddedStore, client: redis.Redis, tmp_path: Path, make_datum: Make
) -> None:
    write(store, tmp_path, [make_datum() for _ in range(5)])
    old = dict(cast(Any, client).xrange(FRAMES)[2][1])
    with pytest.raises(redis.ResponseError, match="equal or smaller"):
        client.xadd(FRAMES, cast(Any, old), id="3-0")
    client.xadd(FRAMES, cast(Any, old), id="6-0")  # under a new id
    client.xadd(FRAMES, cast(Any, old | {b"seq": b"7", b"ord": b"5"}), id="7-0")  # under a new number
    client.sadd(KEYS.actors, "actor-1")
    client.xadd(KEYS.frames("actor-1"), cast(Any, old), id="3-0")  # as another actor's
    client.xadd(KEYS.frames("actor-1"), cast(Any, old | {b"actor": b"actor-1"}), id="4-0")
    elsewhere = StreamKeys("run-2")
    client.sadd(elsewhere.actors, "actor-0")
    client.xadd(elsewhere.frames("actor-0"), cast(Any, old), id="3-0")  # in another run with the same key
    here, there = reader(store), reader(store, keys=elsewhere)
    assert [datum.seq for datum in here.read()] == [1, 2, 3, 4, 5]
    assert there.read() == []
    assert [here.positions[actor].foreign for actor in ("actor-0", "actor-1")] == [2, 2]
    assert there.positions["actor-0"].foreign == 1


def info(version: int) -> VersionInfo:
    return VersionInfo(version=version, step=version, created_ns=1, system_time=0.5, digest="d", health={"loss": 1.5})


def test_forged_and_replayed_weights_are_refused(client: redis.Redis) -> None:
    keys, elsewhere = WeightKeys("run-1"), WeightKeys("run-2")
    source = RedisWeightSource(client, keys, KEY)
    publish(client, keys, info(1), {ENCODER: b"first"}, key=KEY)
    found = source.pull_if_newer(0, ENCODER)
    assert found is not None
    assert bytes(found[1]) == b"first"
    assert found[0] == info(1)
    genuine = cast(bytes, client.get(keys.manifest(ENCODER)))
    unpacked = cast("list[Any]", cast(Any, msgpack).unpackb(genuine))

    def offered(manifest: bytes) -> Any:
        client.set(keys.manifest(ENCODER), manifest)
        return source.pull_if_newer(0, ENCODER)

    forged = Manifest(info(2), ENCODER, 1, 4, unpacked[11])
    for wrong, complaint in (
        (forged.encode(), "not signed"),
        (forged.encode(Signer(OTHER, "run-1")), "wrongly signed"),
        (forged.encode(Signer(KEY, "run-2")), "wrongly signed"),
        (cast(Any, msgpack).packb([9, *unpacked[1:]]), "wrongly signed"),  # an older one under a newer number
        (cast(Any, msgpack).packb([*unpacked[:-1], "x"]), "not signed"),
    ):
        with pytest.raises(WireError, match=complaint):
            offered(wrong)
    assert offered(genuine) is not None
    client.set(keys.chunk(1, ENCODER, 0), b"wrong")
    with pytest.raises(WireError, match="no payload fits its manifest"):
        source.pull_if_newer(0, ENCODER)
    client.set(elsewhere.manifest(ENCODER), genuine)
    client.set(elsewhere.chunk(1, ENCODER, 0), b"first")
    with pytest.raises(WireError, match="wrongly signed"):
        RedisWeightSource(client, elsewhere, KEY).pull_if_newer(0, ENCODER)
    client.set(keys.chunk(1, ENCODER, 0), b"first")
    assert source.pull_if_newer(1, ENCODER) is None, "an old version is none that is newer"
    assert RedisWeightSource(client, keys).pull_if_newer(0, ENCODER) is not None, "without a key nothing is asked"


def test_models_of_others_are_refused(client: redis.Redis, adopted: None) -> None:
    state = snapshot(TorchTrainingModel(torch.nn.Linear(2, 1)))
    RedisModelSink(client, "run-1").publish("policy", 1, state)
    source = RedisModelSource(client, "run-1")
    assert source.newer({"policy": 0}, 0.0)["policy"][1] == state
    signing.adopt(OTHER)
    RedisModelSink(client, "run-1").publish("policy", 2, state)
    with pytest.raises(WireError, match="wrongly signed"):
        source.newer({"policy": 0}, 0.0)


def test_commands_and_configurations_of_others_are_refused(client: redis.Redis) -> None:
    run, command = preset("demo"), Control(phase=Phase.PAUSED, stood=1.5, generation=2)
    announce_run(client, KEYS, run, KEY)
    announce(client, KEYS, command, KEY)
    with pytest.raises(ConfigError, match="is signed: set ENGRAM_STREAM_KEY"):
        read_run(client, KEYS)
    assert read_control(client, KEYS) is not None, "who has no key never gets past the configuration"
    try:
        signing.adopt(KEY)
        assert read_run(client, KEYS) == replace(run, redis_url="")
        heard = read_control(client, KEYS)
        assert heard is not None
        assert (heard.phase, heard.stood, heard.generation) == (Phase.PAUSED, 1.5, 2)
        elsewhere = StreamKeys("run-2")
        client.set(elsewhere.run, cast(bytes, client.get(KEYS.run)))
        client.set(elsewhere.control, cast(bytes, client.get(KEYS.control)))
        with pytest.raises(ConfigError, match="another key"):
            read_run(client, elsewhere)
        with pytest.raises(WireError, match="not signed with the run's key"):
            read_control(client, elsewhere)
        for key, complaint in ((None, "is not signed"), (OTHER, "another key")):
            signing.adopt(None)
            announce_run(client, KEYS, run, key)
            announce(client, KEYS, command, key)
            signing.adopt(KEY)
            with pytest.raises(ConfigError, match=complaint):
                read_run(client, KEYS)
            with pytest.raises(WireError, match="not signed with the run's key"):
                read_control(client, KEYS)
        announce_run(client, KEYS, run, KEY)
        written = cast(bytes, client.get(KEYS.run))
        client.set(KEYS.run, written.replace(b"preset: demo", b"preset: evil"))
        with pytest.raises(ConfigError, match="another key"):
            read_run(client, KEYS)
    finally:
        signing.adopt(None)


def test_a_key_comes_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENGRAM_STREAM_KEY", raising=False)
    monkeypatch.delenv("ENGRAM_STREAM_KEY_FILE", raising=False)
    assert given_key() is None
    file = tmp_path / "key"
    file.write_text(f"{KEY.hex()}\n")
    monkeypatch.setenv("ENGRAM_STREAM_KEY_FILE", str(file))
    assert given_key() == KEY
    monkeypatch.setenv("ENGRAM_STREAM_KEY", OTHER.hex())
    with pytest.raises(ConfigError, match="cannot be set beside"):
        given_key()
    monkeypatch.delenv("ENGRAM_STREAM_KEY_FILE")
    assert given_key() == OTHER
    for wrong in ("abc", "00" * 31, "zz" * 32):
        monkeypatch.setenv("ENGRAM_STREAM_KEY", wrong)
        with pytest.raises(ConfigError, match="64 hexadecimal digits") as refused:
            given_key()
        assert wrong not in str(refused.value)
    monkeypatch.delenv("ENGRAM_STREAM_KEY")
    for content in ("", "x" * 5000):
        file.write_text(content)
        monkeypatch.setenv("ENGRAM_STREAM_KEY_FILE", str(file))
        with pytest.raises(ConfigError, match="must hold the secret"):
            given_key()
    monkeypatch.setenv("ENGRAM_STREAM_KEY_FILE", str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match="cannot be read"):
        given_key()


def test_a_durable_stream_keeps_its_key_beside_it(tmp_path: Path) -> None:
    key = kept_key(tmp_path)
    assert kept_key(tmp_path) == key
    assert (tmp_path / "signing.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "signing.key").write_bytes(b"short")
    with pytest.raises(RunError, match="no key of 32 bytes"):
        kept_key(tmp_path)


def test_signatures_are_what_they_have_always_been(make_datum: Make) -> None:
    """Golden: entries that wait in a durable stream must still be known after an update."""
    fields = {name: bytes(value) for name, value in encode(make_datum(data=np.zeros((2, 2, 3), np.uint8))).items()}
    signer = Signer(KEY, "run-1")
    assert signer.entry(fields).hex() == "6a0dc6ca5403799ebbc346f273296856"
    assert signer.entry(dict(reversed(fields.items()))) == signer.entry(fields)
    assert signer.message("control", b"x").hex() == "acb06b184462a586537d2d2b9d861a0f"


def test_signing_costs_little(make_datum: Make) -> None:
    signer = Signer(KEY, "run-1")
    fields = encode(make_datum(data=np.zeros((96, 96, 3), np.uint8)))
    signer.entry(fields)
    began = time.thread_time()
    for _ in range(100):
        signer.entry(fields)
    assert (time.thread_time() - began) / 100 < 1e-3, "27 kB: about 50 µs on an idle core"
