# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyarrow and pandas are untyped.

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from common.config.presets import preset
from common.errors import RecordingError
from common.messages import Datum
from common.recording import Damage, Manifest, Quality, Recording, RecordingWriter, check, trim

type Make = Callable[..., Datum]


def data(make_datum: Make, count: int = 5, actors: int = 1, size: tuple[int, int] = (24, 24)) -> list[Datum]:
    generator = np.random.default_rng(0)
    return [
        make_datum(
            seq=number // actors + 1,
            ordinal=number // actors,
            actor=f"actor-{number % actors}",
            visit_time=number / 10,
            captured_ns=1_700_000_000_000_000_000 + number * 100_000_001,
            data=generator.integers(0, 256, (*size, 3), dtype=np.uint8),
        )
        for number in range(count)
    ]


def write(path: Path, written: list[Datum], quality: Quality = Quality.LOSSLESS, flush_every: int = 1000) -> None:
    with RecordingWriter(path, of=Manifest.new("tour", quality=quality)) as writer:
        for number, datum in enumerate(written, 1):
            writer.write(datum)
            if number % flush_every == 0:
                writer.flush()


def assert_same(one: Datum, other: Datum) -> None:
    assert np.array_equal(np.asarray(one.data), np.asarray(other.data))
    assert one.data.dtype == other.data.dtype  # pyright: ignore[reportAttributeAccessIssue]
    assert one._replace(data=other.data, action=other.action, labels=other.labels) == other
    assert one.action.tobytes() == other.action.tobytes()
    assert (one.labels is None) == (other.labels is None)
    if one.labels and other.labels:
        assert (one.labels.x, one.labels.y, one.labels.heading) == (
            other.labels.x,
            other.labels.y,
            other.labels.heading,
        )
        assert one.labels.depth.tobytes() == other.labels.depth.tobytes()
        assert list(one.labels.objects.items()) == list(other.labels.objects.items())


def test_what_was_written_is_read_to_the_bit_as_often_as_one_likes(tmp_path: Path, make_datum: Make) -> None:
    written = data(make_datum, 11, actors=2)
    written[3] = written[3]._replace(labels=None, action=np.zeros(0, np.float32))
    written[4] = written[4]._replace(buffer="other", data=written[4].data[:7, :5])  # pyright: ignore[reportCallIssue, reportArgumentType, reportIndexIssue]
    written[5] = written[5]._replace(data=np.linspace(0, 1, 7, dtype=np.float32).reshape(7, 1))
    write(tmp_path / "deep" / "a.rec", written, flush_every=4)
    recording = Recording(tmp_path / "deep" / "a.rec")
    for _ in range(2):
        for one, other in zip(recording, written, strict=True):
            assert_same(one, other)
    assert len(recording.segments) == 3
    assert recording.manifest.whole
    assert (recording.manifest.data, recording.manifest.actors) == (11, {"actor-0": 6, "actor-1": 5})


def test_one_actor_can_be_read_alone(tmp_path: Path, make_datum: Make) -> None:
    written = data(make_datum, 9, actors=3)
    write(tmp_path / "a", written, flush_every=4)
    found = list(Recording(tmp_path / "a", actors=["actor-2"]))
    for one, other in zip(found, written[2::3], strict=True):
        assert_same(one, other)


def test_a_stranger_reads_it_with_pyarrow_and_a_video_player(tmp_path: Path, make_datum: Make) -> None:
    written = data(make_datum, 6)
    write(tmp_path / "a", written)
    table = pq.read_table(tmp_path / "a" / "000000.parquet").to_pandas()
    with av.open(str(tmp_path / "a" / table["video"][0])) as file:
        pictures = list(file.decode(video=0))
    assert [round(float(picture.time or 0), 3) for picture in pictures] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    for row, datum in zip(table.itertuples(), written, strict=True):
        frame = pictures[row.frame].to_ndarray(format="rgb24")
        assert np.array_equal(frame, np.asarray(datum.data))
        assert zlib.crc32(frame.tobytes()) == row.crc32
        assert row.captured.value == datum.captured_ns
        assert datum.labels is not None
        assert row.labels["x"] == datum.labels.x


def test_lossy_is_smaller_and_near(tmp_path: Path, make_datum: Make) -> None:
    smooth = np.add.outer(np.arange(97), np.arange(95))[:, :, None].repeat(3, 2).astype(np.uint8)
    written = [make_datum(seq=number + 1, data=np.roll(smooth, number, 0)) for number in range(20)]
    write(tmp_path / "a", written, Quality.LOSSY)
    size = sum(path.stat().st_size for path in (tmp_path / "a").glob("*.mp4"))
    assert size < 0.1 * 20 * smooth.nbytes
    for one, other in zip(Recording(tmp_path / "a"), written, strict=True):
        assert np.abs(np.asarray(one.data, np.int64) - np.asarray(other.data)).mean() < 3


def test_the_configuration_is_kept_without_the_way_to_the_server(tmp_path: Path, make_datum: Make) -> None:
    from dataclasses import replace

    run = replace(preset("demo"), redis_url="redis://user:secret@host:6380", run_dir="runs/a")
    with RecordingWriter(tmp_path / "a", of=Manifest.new("tour", config=run)) as writer:
        writer.write(make_datum())
    assert "secret" not in (tmp_path / "a" / "manifest.json").read_text()
    assert Recording(tmp_path / "a").config() == replace(run, redis_url="", run_dir="")


def test_segments_end_by_the_clock(tmp_path: Path, make_datum: Make) -> None:
    now = 0.0
    with RecordingWriter(tmp_path / "a", of=Manifest.new("stream"), seconds=3.0, now=lambda: now) as writer:
        for datum in data(make_datum, 10):
            writer.write(datum)
            now += 1.0
        assert sorted(path.name for path in (tmp_path / "a").glob("*.parquet")) == ["000000.parquet", "000001.parquet"]
        writer.note({"actor-0": 7}, {"actor-0": 2, "actor-1": 0})
        writer.tick()
    recording = Recording(tmp_path / "a")
    assert [segment.data for segment in recording.segments.values()] == [4, 4, 2]
    assert [dict(segment.missed) for segment in recording.segments.values()] == [{}, {}, {"actor-0": 7}]
    assert recording.manifest.quarantined == {"actor-0": 2}


def test_a_recorder_that_stops_dead_leaves_whole_segments(tmp_path: Path, make_datum: Make) -> None:
    writer = RecordingWriter(tmp_path / "a", of=Manifest.new("tour"))
    for datum in data(make_datum, 10):
        writer.write(datum)
        if datum.seq == 4:
            writer.flush()
    del writer
    with (tmp_path / "a" / "segments.jsonl").open("ab") as file:
        file.write(b'{"number": 1, "da')
    recording = Recording(tmp_path / "a")
    assert not recording.manifest.whole
    assert [datum.seq for datum in recording] == [1, 2, 3, 4]
    assert recording.counted.data == 4


def test_nothing_is_overwritten(tmp_path: Path, make_datum: Make) -> None:
    write(tmp_path / "a.rec", data(make_datum))
    before = {path: path.read_bytes() for path in (tmp_path / "a.rec").iterdir()}
    with pytest.raises(RecordingError, match=r"a\.rec exists"):
        RecordingWriter(tmp_path / "a.rec", of=Manifest.new("tour"))
    assert {path: path.read_bytes() for path in (tmp_path / "a.rec").iterdir()} == before


@pytest.mark.parametrize("content", [b"", b"no recording", b"{}", b'{"engram-recording": 2}', b"\xff\xc1"])
def test_other_folders_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(RecordingError, match=r"damaged"):
        Recording(tmp_path)
    with pytest.raises(RecordingError, match=r"no recording: cannot read manifest\.json"):
        Recording(tmp_path / "missing")
    with pytest.raises(RecordingError, match="is a file"):
        Recording(tmp_path / "manifest.json")


def test_a_flipped_bit_costs_its_segment_and_no_other(tmp_path: Path, make_datum: Make) -> None:
    written = data(make_datum, 12)
    write(tmp_path / "a", written, flush_every=4)
    for name in ("000001.parquet", "000001-0.mkv"):
        path = tmp_path / "a" / name
        whole = path.read_bytes()
        path.write_bytes(whole[:200] + bytes([whole[200] ^ 4]) + whole[201:])
        with pytest.raises(RecordingError, match=rf"segment 1 is damaged: {name}"):
            list(Recording(tmp_path / "a"))
        told: list[Damage] = []
        assert [datum.seq for datum in Recording(tmp_path / "a", on_damage=told.append)] == [
            *range(1, 5),
            *range(9, 13),
        ]
        assert [(damage.segment, damage.data) for damage in told] == [(1, 4)]
        path.write_bytes(whole)
    (tmp_path / "a" / "000002-0.mkv").unlink()
    with pytest.raises(RecordingError, match=r"segment 2: cannot read 000002-0\.mkv"):
        list(Recording(tmp_path / "a"))


def test_a_flipped_bit_in_what_lists_the_segments_is_found(tmp_path: Path, make_datum: Make) -> None:
    write(tmp_path / "a", data(make_datum, 12), flush_every=4)
    path = tmp_path / "a" / "segments.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    row = json.loads(lines[1])
    path.write_text(lines[0] + lines[1].replace(f'"data": {row["data"]}', '"data": 5') + lines[2])
    with pytest.raises(RecordingError, match=r"segments\.jsonl, line 2: damaged"):
        list(Recording(tmp_path / "a"))
    told: list[Damage] = []
    assert [datum.seq for datum in Recording(tmp_path / "a", on_damage=told.append)] == [1, 2, 3, 4, 9, 10, 11, 12]
    assert len(told) == 1


def findings(path: Path) -> list[tuple[int, str]]:
    return [(segment, wrong) for segment, wrong in check(path) if wrong]


def flip(path: Path, place: int) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])


def test_a_check_names_segment_column_and_frame(tmp_path: Path, make_datum: Make) -> None:
    folder = tmp_path / "a"
    write(folder, data(make_datum, 12), flush_every=4)
    assert findings(folder) == []
    column = pq.ParquetFile(folder / "000001.parquet").metadata.row_group(0).column(10)
    assert column.path_in_schema == "visit_time"
    flip(
        folder / "000001.parquet",
        (column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size - 3,
    )
    ((segment, wrong),) = findings(folder)
    assert (segment, wrong) == (1, "000001.parquet: column visit_time, its SHA-256 differs")
    video = folder / "000002-0.mkv"
    flip(video, video.stat().st_size * 5 // 8)
    assert findings(folder)[1] == (2, "000002-0.mkv: frame 2 of actor-0's video, its SHA-256 differs")
    (folder / "000000-0.mkv").unlink()
    assert findings(folder)[0] == (0, "000000-0.mkv: cannot be read (No such file or directory)")
    (folder / ".000003.parquet.part").touch()
    assert findings(folder)[-1][0] == -1


def test_a_check_counts(tmp_path: Path, make_datum: Make) -> None:
    write(tmp_path / "a", data(make_datum, 8), flush_every=4)
    lines = (tmp_path / "a" / "segments.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "a" / "segments.jsonl").write_bytes(lines[0])
    found = dict(findings(tmp_path / "a"))
    assert -1 in found
    assert any("counts 8 data in 2 segments, there are 4 in 1" in wrong for _, wrong in findings(tmp_path / "a"))


@pytest.mark.parametrize("quality", Quality)
def test_trimming_keeps_what_was_captured_in_time(tmp_path: Path, make_datum: Make, quality: Quality) -> None:
    written = data(make_datum, 20)
    write(tmp_path / "a", written, quality, flush_every=4)
    assert trim(tmp_path / "a", tmp_path / "b", start=0.55, end=1.45) == 9
    found = list(Recording(tmp_path / "b"))
    assert [datum.seq for datum in found] == list(range(7, 16))
    assert list(Recording(tmp_path / "b").segments) == [1, 2, 3]
    assert (tmp_path / "a" / "000002.parquet").read_bytes() == (tmp_path / "b" / "000002.parquet").read_bytes()
    assert findings(tmp_path / "b") == []
    if quality is Quality.LOSSLESS:
        for one, other in zip(found, written[6:15], strict=True):
            assert_same(one, other)
    with pytest.raises(RecordingError, match=r"nothing was captured from 100 s"):
        trim(tmp_path / "a", tmp_path / "c", start=100, end=200)
