"""Looking after recordings: what is damaged, named as exactly as the files allow; cutting, comparing."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyarrow is untyped.

from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common.errors import RecordingError
from common.messages import Data, Datum, Labels
from common.recording import rows
from common.recording.manifest import MANIFEST, SEGMENTS, Segment, file_digest
from common.recording.reader import Recording, checked, read_table, verify
from common.recording.video import read_frames
from common.recording.writer import RecordingWriter


def check(path: Path) -> Iterator[tuple[int, str]]:
    """Reads all of a recording and decodes every frame.

    Args:
        path: The recording.

    Yields:
        Number of each segment and what is wrong with it, by file and column or frame: empty for one that is whole. What
        belongs to no segment comes last, with the number -1.

    Raises:
        RecordingError: It is no recording, or its manifest is damaged.
    """
    recording = Recording(path)
    for number, segment in sorted(recording.segments.items()):
        yield number, "; ".join(_wrong(path, segment))
    yield from ((-1, reason) for reason in recording.wrong)
    counted = recording.counted
    if recording.manifest.whole and (counted.data, counted.segments) != (
        recording.manifest.data,
        recording.manifest.segments,
    ):
        expected = f"{recording.manifest.data} data in {recording.manifest.segments} segments"
        yield -1, f"{MANIFEST} counts {expected}, there are {counted.data} in {counted.segments}"
    known = {MANIFEST, SEGMENTS, *(name for segment in recording.segments.values() for name in segment.files)}
    for stray in sorted(found.name for found in path.iterdir() if found.name not in known):
        yield -1, f"{stray} belongs to no segment: what a recorder that was killed leaves, or a stranger's"


def _wrong(path: Path, segment: Segment) -> Iterator[str]:
    for name, expected in segment.files.items():
        try:
            if file_digest(path / name) == expected:
                continue
        except OSError as error:
            yield f"{name}: cannot be read ({error.strerror})"
            continue
        where = _columns(path / name) if name == segment.table else _frames(path, segment, name)
        yield f"{name}: {where}, its SHA-256 differs"
    if all((path / name).exists() and file_digest(path / name) == sha for name, sha in segment.files.items()):
        yield from _undecoded(path, segment)


def _undecoded(path: Path, segment: Segment) -> Iterator[str]:
    """Finds what does not decode though every file is as it was written."""
    try:
        count = sum(1 for _ in Recording(path).of(segment))
        if count != segment.data:
            yield f"{segment.table}: {count} rows, {segment.data} were counted"
    except RecordingError as error:
        yield str(error)


def _columns(path: Path) -> str:
    """Names the columns of a table whose pages fail their checksums."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            broken = [name for name in rows.SCHEMA.names if not _reads(file, name)]
    except (pa.ArrowException, OSError):
        return "footer"
    return f"column {', '.join(broken)}" if broken else "outside of all columns"


def _reads(file: Any, column: str) -> bool:
    try:
        file.read(columns=[column])
    except (pa.ArrowException, OSError):
        return False
    return True


def _frames(path: Path, segment: Segment, name: str) -> str:
    """Names the first frame of a video that is not what was recorded, and whose it is."""
    try:
        of_video = [row for row in read_table(path / segment.table) if row["video"] == name]
    except RecordingError:
        return "video"
    actor = of_video[0]["actor"] if of_video else "nobody"
    frames = read_frames(path / name)
    for row in of_video:
        try:
            checked(next(frames, None), row, segment.number)
        except RecordingError:
            return f"frame {row['frame']} of {actor}'s video"
    return f"{actor}'s video"


def trim(path: Path, out: Path, *, start: float, end: float) -> int:
    """Copies what was captured in a stretch of time into a new recording.

    Segments wholly within it are copied as they are; those at its ends are written anew, so that nothing outside is
    left in their videos (lossy ones lose a little once more).

    Args:
        path: The recording.
        out: Folder to make.
        start: Seconds after the first capture.
        end: Likewise; what was captured at that moment is left out.

    Returns:
        Data kept.

    Raises:
        RecordingError: Damage within the stretch, nothing in it, or the folder exists.
    """
    recording = Recording(path)
    if recording.wrong:
        raise RecordingError(recording.wrong[0])
    segments = [segment for _, segment in sorted(recording.segments.items())]
    first = min((segment.first_ns for segment in segments), default=0)
    low, high = (first + round(seconds * 1e9) if seconds < 1e9 else 2**63 for seconds in (start, end))
    chosen = [segment for segment in segments if segment.last_ns >= low and segment.first_ns < high]
    with RecordingWriter(out, of=replace(recording.manifest, whole=False)) as writer:
        for segment in chosen:
            verify(path, segment)
            if low <= segment.first_ns and segment.last_ns < high:
                writer.adopt(path, segment)
                continue
            writer.go_to(segment.number)
            for datum in recording.of(segment):
                if low <= datum.captured_ns < high:
                    writer.write(datum)
    kept = Recording(out).manifest.data
    if not kept:
        raise RecordingError(f"nothing was captured from {start:g} s to {end:g} s of {path}; {out} is empty")
    return kept


OWN = ("captured_ns", "sent_ns", "weights_version")
"""What a replay does not take over: it belongs to the run that plays."""


def compare(first: Path, second: Path) -> tuple[int, str]:
    """Compares two recordings datum by datum, each actor's in their order: a recording, and what a replay of it wrote.

    Returns:
        How many data are the same to the bit, but for `OWN`; and the first difference, empty where there is none.

    Raises:
        RecordingError: One of them is none, or damaged.
    """
    actors = [sorted(Recording(path).counted.actors) for path in (first, second)]
    if actors[0] != actors[1]:
        return 0, f"actors are {', '.join(actors[0])} and {', '.join(actors[1])}"
    same = 0
    for actor in actors[0]:
        pairs = zip_longest(Recording(first, actors=[actor]), Recording(second, actors=[actor]))
        for number, (one, other) in enumerate(pairs):
            if one is None or other is None:
                return same, f"{actor}: {first if one is None else second} ends after {number} data"
            if difference := _difference(one, other):
                return same, f"{actor}, datum {number}: {difference}"
            same += 1
    return same, ""


def _difference(one: Datum, other: Datum) -> str:
    for name in Datum._fields:
        left, right = getattr(one, name), getattr(other, name)
        match name:
            case "data":
                equal = _same_data(left, right)
            case "action":
                equal = left.tobytes() == right.tobytes()
            case "labels":
                equal = _same_labels(left, right)
            case _:
                equal = name in OWN or left == right
        if not equal:
            return f"{name} differs" if name in ("data", "labels") else f"{name} is {left} and {right}"
    return ""


def _same_data(one: Data, other: Data) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and _same_array(one, other)
    return one.keys() == other.keys() and all(_same_array(one[name], other[name]) for name in one)


def _same_array(one: Any, other: Any) -> bool:
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


def _same_labels(one: Labels | None, other: Labels | None) -> bool:
    if one is None or other is None:
        return one is other
    return _same_array(one.depth, other.depth) and replace(one, depth=other.depth) == other
