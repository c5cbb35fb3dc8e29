"""The wire format, schema 1: one datum as the flat fields of one Redis Stream entry.

| field | content | encoding |
|---|---|---|
| `v` | schema | decimal |
| `buf`, `actor`, `visit`, `world`, `exp` | names | UTF-8, 1 to 200 bytes, no control characters |
| `seq`, `ord`, `wv` | number at capture, number in the stream, weights version | decimal |
| `t`, `st` | wall clock at capture and when sent, ns | decimal |
| `ts`, `vt` | system time and visit time, seconds | little-endian float64 |
| `act` | action | little-endian float32 [A] |
| `lab` | labels, absent without | msgpack map |
| `codec`, `shape`, `data` | how the data are packed, their dimensions, the data | see `common.codec` |
| `sig` | signature over stream, id and all other fields, where the run has a key | see `common.signing` |

`sig` is given and checked where an entry gets its place and leaves it (`common.stream`), before anything is decoded.
Nothing here is ever unpickled, and a decoder trusts no length that it has not checked. What a decoder would refuse is
not written in the first place.
"""

import math
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast
from unicodedata import category

import msgpack
import numpy as np

from common.codec import Codec, pack_data, unpack_data
from common.errors import WireError
from common.messages import Datum, Labels

SCHEMA = 1
MAX_NAME = 200
MAX_ACTION = 1024
MAX_LABELS = 64 * 1024
MAX_DATA = 256 * 2**20
MAX_INTEGER = 2**63 - 1

type Fields = dict[bytes, bytes]

_FLOAT = struct.Struct("<d")
_PAIR = struct.Struct("<2d")
_FLOAT32 = np.dtype("<f4")
_INTEGERS = (b"seq", b"ord", b"t", b"st", b"wv")
_NAMES = (b"buf", b"actor", b"visit", b"world", b"exp", b"codec")


def _label_bytes(labels: Labels) -> bytes:
    depth = np.ascontiguousarray(labels.depth, dtype="<f4")
    packed = cast(Any, msgpack).packb(
        {"x": labels.x, "y": labels.y, "h": labels.heading, "d": depth.tobytes(), "o": dict(labels.objects)}
    )
    assert isinstance(packed, bytes)
    if len(packed) > MAX_LABELS:
        raise WireError(f"lab: {len(packed)} bytes, at most {MAX_LABELS} are allowed")
    _labels(packed)
    return packed


def encode(datum: Datum, codec: Codec = Codec.RAW, quality: int = 95) -> Fields:
    """Packs a datum into the fields of an entry.

    Args:
        datum: Frame with its context, or other arrays.
        codec: How a frame is packed.
        quality: Of JPEG, 1 to 100.

    Returns:
        Field names and values, ready for XADD; `data` comes last and may be a view of the frame.

    Raises:
        WireError: Something that no reader would take: data without a codec or too long, a name, a number, labels.
    """
    used, shape, data = pack_data(datum.data, codec, quality)
    if len(data) > MAX_DATA:
        raise WireError(f"data: {len(data)} bytes, at most {MAX_DATA} are allowed")
    if len(datum.action) > MAX_ACTION:
        raise WireError(f"act: {len(datum.action)} numbers, at most {MAX_ACTION} are allowed")
    numbers = (datum.captured_ns, datum.weights_version)  # the others are given later, by the writer
    if min(numbers) < 0 or max(numbers) > MAX_INTEGER:
        raise WireError(f"t, wv: {numbers}; whole numbers from 0 to 2^63 - 1 are allowed")
    if not (math.isfinite(datum.system_time) and math.isfinite(datum.visit_time)):
        raise WireError(f"ts, vt: {datum.system_time}, {datum.visit_time} are not finite")
    fields = {
        b"v": b"%d" % SCHEMA,
        b"buf": datum.buffer.encode(),
        b"actor": datum.actor.encode(),
        b"seq": b"%d" % datum.seq,
        b"ord": b"%d" % datum.ordinal,
        b"visit": datum.visit.encode(),
        b"world": datum.world.encode(),
        b"exp": datum.experience.encode(),
        b"t": b"%d" % datum.captured_ns,
        b"st": b"%d" % datum.sent_ns,
        b"ts": _FLOAT.pack(datum.system_time),
        b"vt": _FLOAT.pack(datum.visit_time),
        b"wv": b"%d" % datum.weights_version,
        b"act": np.ascontiguousarray(datum.action, dtype="<f4").tobytes(),
        b"codec": used.encode(),
        b"shape": shape,
    }
    if datum.labels is not None:
        fields[b"lab"] = _label_bytes(datum.labels)
    _names(*map(fields.get, _NAMES))
    fields[b"data"] = data
    return fields


def _field(fields: Mapping[bytes, bytes], name: bytes, limit: int) -> bytes:
    value = fields.get(name)
    if value is None:
        raise WireError(f"{name.decode()}: missing")
    if len(value) > limit:
        raise WireError(f"{name.decode()}: {len(value)} bytes, at most {limit} are allowed")
    return value


def checked_name(name: str, value: bytes | None) -> str:
    """Reads a name: 1 to 200 bytes of UTF-8 without control characters.

    Args:
        name: Of the field, for the message.
        value: Its bytes.

    Raises:
        WireError: It is none.
    """
    if value is None:
        raise WireError(f"{name}: missing")
    if len(value) > MAX_NAME:
        raise WireError(f"{name}: {len(value)} bytes, at most {MAX_NAME} are allowed")
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise WireError(f"{name}: not UTF-8") from None
    if not text or any(category(character) == "Cc" for character in text):
        raise WireError(f"{name}: {text!r} is empty or holds control characters")
    return text


@lru_cache(1024)
def _names(*values: bytes | None) -> tuple[str, ...]:
    """Checks the names of an entry, `_NAMES`, together and once: all frames of an experience have the same."""
    return tuple(checked_name(name.decode(), value) for name, value in zip(_NAMES, values, strict=True))


def _integers(fields: Mapping[bytes, bytes]) -> list[int]:
    """Reads `_INTEGERS`, together: one check of all digits is a fifth of five."""
    digits = [fields.get(name, b"") for name in _INTEGERS]
    if all(digits) and b"".join(digits).isdigit() and max(map(len, digits)) <= 19:
        values = list(map(int, digits))
        if max(values) <= MAX_INTEGER:
            return values
    for name, value in zip(_INTEGERS, digits, strict=True):
        if not value.isdigit() or len(value) > 19 or int(value) > MAX_INTEGER:
            raise WireError(f"{name.decode()}: {value[:40]!r} is not a whole number from 0 to 2^63 - 1")
    raise AssertionError("every field is a number")


def _reals(fields: Mapping[bytes, bytes]) -> tuple[float, float]:
    """Reads `ts` and `vt`."""
    system, visit = fields.get(b"ts", b""), fields.get(b"vt", b"")
    for name, packed in (("ts", system), ("vt", visit)):
        if len(packed) != _FLOAT.size:
            raise WireError(f"{name}: {len(packed)} bytes instead of {_FLOAT.size}")
    values = _PAIR.unpack(system + visit)
    if not (math.isfinite(values[0]) and math.isfinite(values[1])):
        raise WireError(f"ts, vt: {values} are not finite")
    return values


def _labels(packed: bytes) -> Labels:
    try:
        content = cast(dict[str, Any], cast(Any, msgpack).unpackb(packed, max_map_len=1024, max_array_len=1024))
        depth = np.frombuffer(content["d"], dtype="<f4").reshape(3, 3).astype(np.float32)
        objects = {str(name): int(count) for name, count in content["o"].items()}
        pose = [float(content[key]) for key in ("x", "y", "h")]
    except Exception as error:  # msgpack raises whatever its input makes it raise
        raise WireError(f"lab: {type(error).__name__}: {error}") from None
    if not np.isfinite(pose).all():
        raise WireError(f"lab: pose {pose} is not finite")
    return Labels(x=pose[0], y=pose[1], heading=pose[2], depth=depth, objects=objects)


def decode(fields: Mapping[bytes, bytes]) -> Datum:
    """Unpacks the fields of an entry; a raw frame is a read-only view of the bytes given.

    Raises:
        WireError: Unknown schema or codec, or a field that is missing, too long, malformed or inconsistent.
    """
    schema = _field(fields, b"v", 19)
    if schema != b"%d" % SCHEMA:
        raise WireError(f"v: schema {schema!r} is unknown; {SCHEMA} is allowed")
    action = _field(fields, b"act", 4 * MAX_ACTION)
    if len(action) % 4:
        raise WireError(f"act: {len(action)} bytes are no whole number of float32")
    packed_labels = fields.get(b"lab")
    if packed_labels is not None and len(packed_labels) > MAX_LABELS:
        raise WireError(f"lab: {len(packed_labels)} bytes, at most {MAX_LABELS} are allowed")
    buffer, actor, visit, world, experience, codec = _names(*map(fields.get, _NAMES))
    seq, ordinal, captured_ns, sent_ns, weights_version = _integers(fields)
    system_time, visit_time = _reals(fields)
    return Datum(
        buffer=buffer,
        actor=actor,
        seq=seq,
        ordinal=ordinal,
        visit=visit,
        world=world,
        experience=experience,
        captured_ns=captured_ns,
        sent_ns=sent_ns,
        system_time=system_time,
        visit_time=visit_time,
        weights_version=weights_version,
        action=np.frombuffer(action, _FLOAT32).astype(np.float32, copy=False),
        labels=None if packed_labels is None else _labels(packed_labels),
        data=unpack_data(codec, _field(fields, b"shape", 64), _field(fields, b"data", MAX_DATA)),
    )
