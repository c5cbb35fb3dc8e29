"""Writes a recording: a folder of segments, each of which appears whole.

    write(datum) ─► rows in memory ─► 000012.parquet.part ─► fsync ─► rename ─┐
                 └► encoder ────────► 000012-0.mkv.part ───► fsync ─► rename ─┴► line in segments.jsonl ─► fsync

A segment counts from the moment its line is there. So whatever kills the recorder takes at most the segment that was
being filled.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyarrow is untyped.

import os
import shutil
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow.parquet as pq

from common.codec import Codec, frame_shape, pack_data
from common.errors import RecordingError
from common.messages import Datum
from common.recording import rows
from common.recording.manifest import (
    SEGMENTS,
    Manifest,
    Segment,
    file_digest,
    segment_line,
    sync_folder,
    write_synced,
)
from common.recording.video import Quality, VideoWriter

DATA = 256
"""Data of a segment at most."""
BYTES = 256 * 2**20
"""Bytes of raw frames in a segment at most."""
LIVE = 3.0
"""Seconds of wall clock of a segment of a live stream: what a death may take, but for the time of writing it."""


class RecordingWriter:
    """Writes a recording; used as a context manager, or closed.

    Args:
        path: Folder to make; nothing is written over.
        of: What holds for it; `Manifest.new` makes one.
        seconds: Wall clock after which a segment ends at the next `write` or `tick`.
        now: The clock of `seconds`.

    Raises:
        RecordingError: The folder exists, or cannot be made.
    """

    def __init__(
        self,
        path: Path,
        *,
        of: Manifest,
        seconds: float = inf,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if path.exists():
            raise RecordingError(f"{path} exists: choose another name, or remove it")
        self.path = path
        self._manifest = of
        self._seconds, self._now = seconds, now
        self._number = 0
        self._segments: dict[int, Segment] = {}
        self._missed: Mapping[str, int] = {}
        self._told: Mapping[str, int] = {}
        self._begin()
        try:
            path.mkdir(parents=True)
            write_synced(path / SEGMENTS, b"")
            self._manifest.save(path)
        except OSError as error:
            raise RecordingError(f"cannot write {path}: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(whole=kind is None)

    @property
    def manifest(self) -> Manifest:
        """What it says of itself; counts are there once it is closed."""
        return self._manifest

    def write(self, datum: Datum) -> None:
        """Appends a datum.

        Raises:
            RecordingError: The disk is full, or cannot be written to.
            WireError: Data that are no numeric arrays.
        """
        if not self._rows:
            self._began = self._now()
        shape = frame_shape(datum.data)
        if shape is None:
            _, packed_shape, packed = pack_data(datum.data, Codec.TENSORS, 0)
            place: dict[str, Any] = {"shape": packed_shape.decode(), "data": packed}
            self._bytes += len(packed)
        else:
            place = self._film(datum, (shape[0], shape[1]))
        self._rows.append(rows.row(datum, **place))
        if len(self._rows) >= DATA or self._bytes >= BYTES:
            self.flush()
        else:
            self.tick()

    def tick(self) -> None:
        """Ends the segment if its time is over; to be called while nothing arrives.

        Raises:
            RecordingError: As `write`.
        """
        if self._rows and self._now() - self._began >= self._seconds:
            self.flush()

    def note(self, missed: Mapping[str, int], quarantined: Mapping[str, int]) -> None:
        """Notes what a stream's reader has lost so far, by actor: goes into the segment under way and the manifest."""
        self._missed = {actor: number for actor, number in missed.items() if number}
        self._manifest = replace(self._manifest, quarantined={name: n for name, n in quarantined.items() if n})

    def flush(self) -> None:
        """Ends the segment under way; the next datum begins another.

        Raises:
            RecordingError: As `write`.
        """
        if not self._rows:
            return
        try:
            self._settle()
        except OSError as error:
            raise RecordingError(f"cannot write {self.path}: {error.strerror or error}") from None
        finally:
            self._begin()

    def close(self, *, whole: bool = True) -> None:
        """Ends the last segment and counts what there is.

        Args:
            whole: All that was to be recorded is there.

        Raises:
            RecordingError: As `write`.
        """
        self.flush()
        self._manifest = replace(self._manifest.counted(self._segments), whole=whole)
        self._manifest.save(self.path)

    def adopt(self, folder: Path, segment: Segment) -> None:
        """Copies a whole segment of another recording, which must be later than all that was written.

        Raises:
            RecordingError: As `write`.
        """
        self.go_to(segment.number)
        try:
            for name in segment.files:
                draft = self.path / f".{name}.part"
                shutil.copyfile(folder / name, draft)
                _publish(draft)
            self._enter(segment)
        except OSError as error:
            raise RecordingError(f"cannot write {self.path}: {error.strerror or error}") from None
        self._number = segment.number + 1

    def go_to(self, number: int) -> None:
        """Ends the segment under way and gives the next one this number, which must be above those before.

        Raises:
            RecordingError: As `write`.
        """
        self.flush()
        assert number >= self._number, "segments are numbered in their order"
        self._number = number

    def _begin(self) -> None:
        self._began = self._now()
        self._rows: list[dict[str, Any]] = []
        self._videos: dict[tuple[str, str, tuple[int, int]], VideoWriter] = {}
        self._bytes = 0

    def _film(self, datum: Datum, size: tuple[int, int]) -> dict[str, Any]:
        """Appends a frame to the video of its actor, its buffer and its size."""
        frame = np.ascontiguousarray(datum.data)
        key = (datum.actor, datum.buffer, size)
        video = self._videos.get(key)
        if video is None:
            name = f".{self._number:06d}-{len(self._videos)}{self._manifest.quality.suffix}.part"
            video = self._videos[key] = VideoWriter(self.path / name, self._manifest.quality, size, self._manifest.crf)
        self._bytes += frame.nbytes
        return {
            "video": _final(video.path).name,
            "frame": video.write(frame, datum.captured_ns),
            "crc32": zlib.crc32(frame) if self._manifest.quality is Quality.LOSSLESS else None,
        }

    def _settle(self) -> None:
        for video in self._videos.values():
            video.close()
        draft = self.path / f".{self._number:06d}.parquet.part"
        pq.write_table(rows.table(self._rows), draft, compression="zstd", write_page_checksum=True)
        drafts = [draft, *(video.path for video in self._videos.values())]
        files = {_final(path).name: file_digest(path) for path in drafts}
        for path in drafts:
            _publish(path)
        segment = Segment(
            number=self._number,
            data=len(self._rows),
            first_ns=min(row["captured"] for row in self._rows),
            last_ns=max(row["captured"] for row in self._rows),
            worlds=dict(Counter(row["world"] for row in self._rows)),
            actors=dict(Counter(row["actor"] for row in self._rows)),
            missed={name: n for name, n in _grown(self._told, self._missed).items() if n},
            files=files,
        )
        self._enter(segment)
        self._told = self._missed
        self._number += 1

    def _enter(self, segment: Segment) -> None:
        """Makes a segment part of the recording: its files are on the disk."""
        sync_folder(self.path)
        with (self.path / SEGMENTS).open("ab") as file:
            file.write(segment_line(segment))
            file.flush()
            os.fsync(file.fileno())
        self._segments[segment.number] = segment


def _publish(draft: Path) -> None:
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    draft.replace(_final(draft))


def _final(draft: Path) -> Path:
    return draft.with_name(draft.name[1:].removesuffix(".part"))


def _grown(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    return {name: number - before.get(name, 0) for name, number in now.items()}
