"""Reads a recording, segment by segment, each checked against its hashes before anything of it is believed."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyarrow is untyped.

import zlib
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from common.config import RunConfig
from common.config.files import from_content
from common.errors import RecordingError
from common.messages import Datum, Frame
from common.recording import rows
from common.recording.manifest import Manifest, Segment, file_digest, load_segments
from common.recording.video import read_frames


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """A segment that cannot be trusted.

    Attributes:
        segment: Its number; -1 where a line of `segments.jsonl` is damaged, so that it is not known.
        data: How many data are lost with it, of those asked for; 0 where that is not known.
        reason: What is wrong, file included.
    """

    segment: int
    data: int
    reason: str


class Recording:
    """A recording; going through it gives its data in order, each time anew.

    Args:
        path: The folder.
        actors: Only data of these; all without.
        on_damage: Told of each segment that is damaged, which is then left out. Without it, damage raises.

    Attributes:
        path: The folder.
        manifest: What it says of itself.
        segments: Its segments, by number.
        wrong: What is wrong with lines of `segments.jsonl`, whose segments are not found.

    Raises:
        RecordingError: There is no such folder, or it is no recording of this schema.
    """

    def __init__(
        self,
        path: Path,
        *,
        actors: Collection[str] | None = None,
        on_damage: Callable[[Damage], None] | None = None,
    ) -> None:
        self.path = path
        self._actors = actors
        self._on_damage = on_damage
        self.manifest = Manifest.load(path)
        self.segments, self.wrong = load_segments(path)

    @property
    def counted(self) -> Manifest:
        """The manifest, with counts also where the recorder was killed before it wrote them."""
        return self.manifest.counted(self.segments)

    def config(self) -> RunConfig | None:
        """The configuration that it was recorded with, where there was one.

        Raises:
            ConfigError: It is of another version of the program.
        """
        return from_content(dict(self.manifest.config), str(self.path)) if self.manifest.config else None

    def __iter__(self) -> Iterator[Datum]:
        """Reads the data.

        Raises:
            RecordingError: A segment is damaged, and nobody is told of it.
        """
        for reason in self.wrong:
            self._damaged(Damage(segment=-1, data=0, reason=reason))
        for number, segment in sorted(self.segments.items()):
            left = sum(
                count for actor, count in segment.actors.items() if self._actors is None or actor in self._actors
            )
            try:
                if left:
                    verify(self.path, segment)
                    for datum in self.of(segment):
                        left -= 1
                        yield datum
            except RecordingError as error:
                self._damaged(Damage(segment=number, data=left, reason=str(error)))

    def _damaged(self, damage: Damage) -> None:
        if self._on_damage is None:
            raise RecordingError(f"{damage.reason}; `engram recordings check {self.path}` lists all damage")
        self._on_damage(damage)

    def of(self, segment: Segment) -> Iterator[Datum]:
        """Reads the data of one segment, whose files were verified.

        Raises:
            RecordingError: Frames do not decode to what was recorded.
        """
        videos: dict[str, Generator[Frame]] = {}
        try:
            for row in read_table(self.path / segment.table):
                if self._actors is not None and row["actor"] not in self._actors:
                    continue
                name = row["video"]
                if name is None:
                    yield rows.datum(row, None)
                    continue
                if name not in segment.files:
                    raise RecordingError(
                        f"segment {segment.number} is damaged: a row names {name!r}, not one of its files"
                    )
                if name not in videos:
                    videos[name] = read_frames(self.path / name)
                yield rows.datum(row, checked(next(videos[name], None), row, segment.number))
        finally:
            for frames in videos.values():
                frames.close()


def verify(folder: Path, segment: Segment) -> None:
    """Compares a segment's files with what is said of them.

    Raises:
        RecordingError: One is missing, or another.
    """
    for name, expected in segment.files.items():
        try:
            found = file_digest(folder / name)
        except OSError as error:
            raise RecordingError(f"segment {segment.number}: cannot read {name}: {error.strerror}") from None
        if found != expected:
            raise RecordingError(f"segment {segment.number} is damaged: {name} and its SHA-256 differ")


def checked(frame: Frame | None, row: dict[str, Any], segment: int) -> Frame:
    """Makes sure that a frame is what was captured: bit for bit, where the recording is lossless.

    Raises:
        RecordingError: It is not.
    """
    if frame is None or row["crc32"] not in (None, zlib.crc32(frame)):
        what = "is not in it" if frame is None else "decodes to other pixels than were recorded"
        raise RecordingError(f"segment {segment}: frame {row['frame']} of {row['video']} {what}")
    return frame


def read_table(path: Path) -> list[dict[str, Any]]:
    """Reads a segment's table.

    Raises:
        RecordingError: It is damaged.
    """
    try:
        return rows.read_rows(pq.read_table(path, page_checksum_verification=True, memory_map=False))
    except (pa.ArrowException, OSError) as error:
        raise RecordingError(f"{path.name} is damaged ({str(error).splitlines()[0]})") from None
