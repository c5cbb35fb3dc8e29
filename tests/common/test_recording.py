from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.codec import Codec
from common.errors import RecordingError
from common.messages import Datum
from common.recording import Recording, RecordingWriter

type Make = Callable[..., Datum]


def data(make_datum: Make, count: int = 5) -> list[Datum]:
    generator = np.random.default_rng(0)
    return [
        make_datum(seq=number + 1, visit_time=number / 10, data=generator.integers(0, 256, (24, 24, 3), dtype=np.uint8))
        for number in range(count)
    ]


def write(path: Path, written: list[Datum], codec: Codec = Codec.RAW) -> None:
    with RecordingWriter(path, codec) as writer:
        for datum in written:
            writer.write(datum)


def test_what_was_written_is_read_in_order_as_often_as_one_likes(tmp_path: Path, make_datum: Make) -> None:
    written = data(make_datum)
    write(tmp_path / "deep" / "a.rec", written)
    recording = Recording(tmp_path / "deep" / "a.rec")
    for _ in range(2):
        found = list(recording)
        assert [datum.seq for datum in found] == [1, 2, 3, 4, 5]
        for one, other in zip(found, written, strict=True):
            assert np.array_equal(np.asarray(one.data), np.asarray(other.data))
            assert (one.visit, one.world, one.experience) == (other.visit, other.world, other.experience)
            assert (one.visit_time, one.captured_ns) == (other.visit_time, other.captured_ns)


def test_jpeg_is_smaller(tmp_path: Path, make_datum: Make) -> None:
    smooth = np.add.outer(np.arange(96), np.arange(96))[:, :, None].repeat(3, 2).astype(np.uint8)
    for codec in (Codec.RAW, Codec.JPEG):
        write(tmp_path / codec, [make_datum(data=smooth)], codec)
    assert (tmp_path / Codec.JPEG).stat().st_size < 0.3 * (tmp_path / Codec.RAW).stat().st_size
    (found,) = Recording(tmp_path / Codec.JPEG)
    assert np.abs(np.asarray(found.data, np.int64) - smooth).mean() < 3


def test_a_recording_that_was_broken_off_leaves_nothing(tmp_path: Path, make_datum: Make) -> None:
    writer = RecordingWriter(tmp_path / "a.rec")
    writer.write(make_datum())
    assert not (tmp_path / "a.rec").exists()
    writer.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path, make_datum: Make) -> None:
    write(tmp_path / "a.rec", data(make_datum))
    before = (tmp_path / "a.rec").read_bytes()
    with pytest.raises(RecordingError, match=r"a\.rec exists"):
        RecordingWriter(tmp_path / "a.rec")
    assert (tmp_path / "a.rec").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"no recording", b"\x81\xc4\x10engram-recording\x02", b"\xc1\xc1"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(RecordingError, match=r"no recording of schema 1|is damaged"):
        Recording(tmp_path / "a")
    with pytest.raises(RecordingError, match="cannot read"):
        Recording(tmp_path / "missing")


def test_damage_is_named_by_entry(tmp_path: Path, make_datum: Make) -> None:
    path = tmp_path / "a.rec"
    write(path, data(make_datum))
    whole = path.read_bytes()
    path.write_bytes(
        whole.replace(b"\xc4\x01v\xc4\x011", b"\xc4\x01v\xc4\x017", 2).replace(
            b"\xc4\x01v\xc4\x017", b"\xc4\x01v\xc4\x011", 1
        )
    )
    with pytest.raises(RecordingError, match=r"entry 1 is damaged .*schema"):
        list(Recording(path))
