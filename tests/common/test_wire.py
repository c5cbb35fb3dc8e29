# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Redis, Ray and Arrow are untyped in parts.

from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.codec import Codec
from common.errors import WireError
from common.messages import Datum, Labels
from common.wire import Fields, decode, encode

FRAME = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)

type Make = Callable[..., Datum]


def same(one: Datum, other: Datum) -> bool:
    for name, a, b in zip(Datum._fields, cast(tuple[Any, ...], one), cast(tuple[Any, ...], other), strict=True):
        if name == "labels":
            assert isinstance(a, Labels)
            assert isinstance(b, Labels)
            equal = np.array_equal(a.depth, b.depth) and (a.x, a.y, a.heading, dict(a.objects)) == (
                b.x,
                b.y,
                b.heading,
                dict(b.objects),
            )
        else:
            equal = np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b
        if not equal:
            return False
    return True


def test_a_datum_survives_the_wire(make_datum: Make) -> None:
    datum = make_datum(seq=123, ordinal=45)
    assert same(decode(encode(datum)), datum)


def test_labels_may_be_absent(make_datum: Make) -> None:
    packed = encode(make_datum(labels=None))
    assert b"lab" not in packed
    assert decode(packed).labels is None


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        (b"v", b"2", "schema"),
        (b"seq", b"-1", "seq"),
        (b"seq", b"99999999999999999999", "seq"),
        (b"t", b"soon", "t:"),
        (b"ts", b"123", "ts"),
        (b"ts", np.float64("nan").tobytes(), "not finite"),
        (b"actor", b"\xff\xfe", "UTF-8"),
        (b"world", b"two\nlines", "control characters"),
        (b"visit", b"x" * 1000, "visit"),
        (b"act", b"123", "act"),
        (b"codec", b"zip", "codec"),
        (b"shape", b"99999999,1,3", "shape"),
        (b"shape", b"12,16", "shape"),
        (b"data", b"short", "data"),
        (b"lab", b"\xc1", "lab"),
        (b"lab", b"\x80" * 100_000, "lab"),
    ],
)
def test_a_malformed_field_is_named(make_datum: Make, field: bytes, value: bytes, complaint: str) -> None:
    with pytest.raises(WireError, match=complaint):
        decode(encode(make_datum()) | {field: value})


def test_a_missing_field_is_named(make_datum: Make) -> None:
    for name in encode(make_datum()).keys() - {b"lab"}:
        packed = encode(make_datum())
        del packed[name]
        with pytest.raises(WireError, match=name.decode()):
            decode(packed)


def mutated(packed: Fields, data: st.DataObject) -> Fields:
    """Changes one to three fields of a valid entry: bits, lengths, contents, presence."""
    packed = dict(packed)
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(packed)))
        value = bytearray(packed[name])
        match data.draw(st.sampled_from(["flip", "cut", "grow", "replace", "remove", "foreign"])):
            case "flip" if value:
                value[data.draw(st.integers(0, len(value) - 1))] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                value = value[: data.draw(st.integers(0, len(value)))]
            case "grow":
                value += data.draw(st.binary(min_size=1, max_size=20))
            case "remove" if len(packed) > 1:
                del packed[name]
                continue
            case "foreign":
                packed[data.draw(st.binary(max_size=8))] = b"whose?"
            case _:
                value = bytearray(data.draw(st.binary(max_size=40)))
        packed[name] = bytes(value)
    return packed


def nothing_but_wire_errors(make_datum: Make, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["raw", "jpeg", "array", "named"]))
    arrays = {
        "raw": FRAME,
        "jpeg": FRAME,
        "array": np.arange(6.0),
        "named": {"a": np.zeros(3), "b": np.ones((2, 2), np.float32)},
    }
    datum = make_datum(data=arrays[kind])
    with suppress(WireError):
        decode(mutated(encode(datum, Codec.JPEG if kind == "jpeg" else Codec.RAW), data))


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_no_mutation_of_a_valid_entry_escapes_as_another_error(make_datum: Make, data: st.DataObject) -> None:
    nothing_but_wire_errors(make_datum, data)


@pytest.mark.faults
@pytest.mark.timeout(600)
@settings(max_examples=10_000, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_none_of_ten_thousand_mutations_escapes_as_another_error(make_datum: Make, data: st.DataObject) -> None:
    nothing_but_wire_errors(make_datum, data)
