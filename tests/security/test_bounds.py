"""What a stranger may make us allocate, write or show: nothing that was not checked before."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Redis is untyped in parts.

import io
import json
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from common.codec import MAX_RATIO, Codec
from common.errors import ConfigError, WireError
from common.messages import Datum
from common.recording import Manifest, RecordingWriter
from common.status import ActorStatus
from common.stream import StreamKeys, StreamReader, connect, last_beats
from common.stream.control import read_control, read_run, read_statuses, runs_on, tell_status
from common.values import STRUCTURE, unpack_value
from common.wire import decode, encode
from deploy.store import EmbeddedStore

type Make = Callable[..., Datum]

KEYS = StreamKeys("test")
ROOT = Path(__file__).parents[2]
EVIL = "\x1b]0;owned\x07\x1b[2J\rengram: all is well\n"


def progressive_bomb(side: int) -> bytes:
    """A picture of one colour, packed by end-of-band runs: a few kB for hundreds of megabytes of pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side)).save(buffer, "JPEG", progressive=True, quality=1, optimize=True)
    return buffer.getvalue()


def safetensors_of(*, shape: list[int], end: int, size: int) -> bytes:
    head = json.dumps({"a": {"dtype": "F64", "shape": shape, "data_offsets": [0, end]}}).encode()
    return struct.pack("<Q", len(head)) + head + bytes(size)


PROGRAM = """
import resource, sys
import numpy as np
from common.codec import Codec, unpack_data
from common.errors import WireError
warm = __import__("simplejpeg").encode_jpeg(np.zeros((8, 8, 3), np.uint8), colorsubsampling="444")
unpack_data(Codec.JPEG, b"8,8,3", warm)
packed = sys.stdin.buffer.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    unpack_data(sys.argv[1], sys.argv[2].encode(), packed)
    refused = ""
except WireError as error:
    refused = str(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, refused)
"""


def peak_of(codec: Codec, shape: bytes, packed: bytes) -> tuple[float, str]:
    """MiB that a process needs to look at some data, and what it says."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, codec, shape.decode()], input=packed, capture_output=True, cwd=ROOT, check=True
    )
    kilobytes, _, refused = done.stdout.decode().partition(" ")
    return int(kilobytes) / 1024, refused.strip()


@pytest.mark.parametrize(
    ("codec", "shape", "packed"),
    [
        (Codec.JPEG, b"8192,8192,3", progressive_bomb(8192)),
        (Codec.JPEG, b"12,16,3", progressive_bomb(8192)),
        (Codec.TENSORS, b"1", struct.pack("<Q", 2**62) + b"{}"),
        (
            Codec.TENSORS,
            b"1",
            safetensors_of(shape=[2**40, 2**20], end=2**63, size=0),
        ),
        (
            Codec.TENSORS,
            b"1",
            safetensors_of(shape=[2**30], end=8, size=8),
        ),
        (Codec.RAW, b"8192,8192,3", bytes(100)),
    ],
)
def test_a_bomb_is_refused_before_it_is_unpacked(codec: Codec, shape: bytes, packed: bytes) -> None:
    grown, refused = peak_of(codec, shape, packed)
    assert refused.startswith("data:"), refused
    assert grown < 16, f"{grown:.0f} MiB for {len(packed)} bytes"


def test_the_bomb_is_one(make_datum: Make) -> None:
    bomb = progressive_bomb(4096)
    assert 4096 * 4096 * 3 / len(bomb) > MAX_RATIO
    black = encode(make_datum(data=np.zeros((1024, 1024, 3), np.uint8)), Codec.JPEG, 1)
    assert decode(black).data is not None, "the smallest that an actor makes itself is taken"
    assert 1024 * 1024 * 3 / len(black[b"data"]) < MAX_RATIO / 2


MIB = 2**20


@contextmanager
def allocating(most: int) -> Generator[None]:
    """Makes sure that Python is given at most so many bytes at a time, whether it uses them or not."""
    tracemalloc.start()
    try:
        yield
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < most, f"{peak / MIB:.0f} MiB"


NESTED = [
    b"\x91" * 60_000,  # lists in lists
    b"\xdc\xea\x60" * 20_000,  # each of which says that it has 60,000 items: msgpack makes room for 10,000, 1024 deep
    b"\x81\xa1x" * 20_000,  # maps in maps
    b"\xdd\xff\xff\xff\xff",  # a list of four billion
    b"\xdf\xff\xff\xff\xff",  # a map likewise
    b"\xc6\xff\xff\xff\xff",  # four gigabytes
    b"\xdb\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01",  # an extension
    b"\xd6\xff\xff\xff\xff\xff",  # a time
    b"\x81\x91\x01\x01",  # a key that is no key
    b"\xc1",
    b"",
]


@pytest.mark.parametrize("packed", NESTED)
def test_msgpack_is_bounded_wherever_it_is_read(store: EmbeddedStore, make_datum: Make, packed: bytes) -> None:
    with pytest.raises(WireError, match="lab"), allocating(16 * MIB):
        decode({**encode(make_datum()), b"lab": packed})
    with pytest.raises(WireError), allocating(100 * MIB):
        unpack_value({STRUCTURE: np.frombuffer(packed, np.uint8)})
    with connect(store.url) as client, allocating(100 * MIB):
        cast(Any, client).hset(KEYS.heartbeats, "actor-0", packed)
        cast(Any, client).hset(KEYS.statuses, "actor-0", packed)
        client.set(KEYS.control, packed)
        assert last_beats(client, KEYS) == {}
        assert read_statuses(client, KEYS) == {}
        if packed:
            with pytest.raises(WireError):
                read_control(client, KEYS)


@pytest.mark.parametrize(
    "text",
    [
        "v: 1\n"
        + "a: &a [1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(8)),
        "[" * 30_000,
        "{" * 1_900,
        "- " * 30_000,
        "? " * 1_900,
        "v: 1\n!!python/object/apply:os.system ['true']: x\n",
        "v: 1\nworld: &w {image_size: *w}\n",
        "\0",
    ],
)
def test_a_configuration_from_the_server_is_bounded(store: EmbeddedStore, text: str) -> None:
    with connect(store.url) as client:
        client.set(KEYS.run, text.encode())
        with pytest.raises(ConfigError) as refused:
            read_run(client, KEYS)
    assert len(str(refused.value)) < 500


def test_names_with_control_characters_reach_nobody(store: EmbeddedStore, make_datum: Make) -> None:
    good = ActorStatus(name="actor-0", world="freedoom2:map01")
    with connect(store.url) as client:
        for status in (
            ActorStatus(name="actor-1", world=EVIL),
            ActorStatus(name="actor-1", visit=EVIL),
            ActorStatus(name="actor-1", unfit_now=EVIL),
            ActorStatus(name="actor-1", covered={EVIL: 1}),
            ActorStatus(name="actor-1", unfit={EVIL: 1}),
            ActorStatus(name="actor-1", covered={str(number): 1 for number in range(5000)}),
            ActorStatus(name=EVIL),
        ):
            cast(Any, client).delete(KEYS.statuses)
            tell_status(client, KEYS, good)
            tell_status(client, KEYS, status)
            assert read_statuses(client, KEYS).keys() == {"actor-0"}
        for stream in (EVIL, "a\x9b2J", "b" * 300, "fine"):
            client.set(StreamKeys(stream).run, b"x")
        assert runs_on(client) == ["fine"]
        client.sadd(KEYS.actors, EVIL, b"\xff\xfe", "", "x" * 201, "actor-0")
        reader = StreamReader(client, keys=KEYS)
        reader.refresh()
        assert reader.positions.keys() == {"actor-0"}
        client.sadd(KEYS.actors, *(f"ghost-{number}" for number in range(6000)))
        reader.refresh()
        assert len(reader.positions) == 4096
    for name in (b"world", b"visit", b"exp", b"buf", b"actor"):
        with pytest.raises(WireError) as refused:
            decode({**encode(make_datum()), name: EVIL.encode()})
        assert "\x1b" not in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["../../outside", "/outside", "..", "a/../../../outside", "C:\\outside", "con"])
def test_names_are_never_paths(tmp_path: Path, make_datum: Make, name: str) -> None:
    """Of all that is written down, recordings alone hold what strangers named."""
    home = tmp_path / "home"
    home.mkdir()
    with RecordingWriter(home / "a.rec", of=Manifest.new("stream"), seconds=1.0) as writer:
        for seq in range(1, 4):
            writer.write(
                make_datum(
                    seq=seq, ordinal=seq - 1, actor=name, world=name, visit=name, experience=f"{name}/0", buffer=name
                )
            )
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert [path.name for path in home.iterdir()] == ["a.rec"]
    assert not Path("/outside").exists()
