"""What a recording says of itself: `manifest.json`, and one line of `segments.jsonl` for each segment.

Both carry a hash of their own content, so that a flipped bit in them is found like one in the files that they list.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, cast

import yaml

from common.config import RunConfig
from common.config.files import to_yaml
from common.errors import RecordingError
from common.recording.video import CRF, Quality

SCHEMA = 1
_FILE = re.compile(r"\d{6,}(-\d+)?\.(parquet|mkv|mp4)")
"""Names that a segment's files may have: a recording may come from anywhere, and a name must lead nowhere else."""
MANIFEST, SEGMENTS = "manifest.json", "segments.jsonl"


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A few seconds of a recording.

    Attributes:
        number: Grows; those that were trimmed away are left out.
        data: Rows of its table.
        first_ns: Earliest capture, wall clock, ns.
        last_ns: Latest capture.
        worlds: Rows by world.
        actors: Rows by actor.
        missed: By actor, entries of the stream that were gone before the recorder came by.
        files: By name, SHA-256 of each file: the table first, then the videos.
    """

    number: int
    data: int
    first_ns: int
    last_ns: int
    worlds: Mapping[str, int]
    actors: Mapping[str, int]
    missed: Mapping[str, int] = field(default_factory=dict[str, int])
    files: Mapping[str, str]

    @property
    def table(self) -> str:
        """Name of the table's file."""
        return next(iter(self.files))


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What holds for the whole recording.

    Attributes:
        source: Where it comes from: `tour`, `stream` or `import`.
        quality: How frames are kept.
        crf: Constant rate factor of lossy video.
        config: The run's configuration, as `config.yaml` has it; empty where there was none.
        created: ISO 8601, UTC.
        whole: The recorder ended in order; false while it works, and for one that was killed.
        data: Data in all segments; counted at the end.
        segments: Number of segments; likewise.
        worlds: Data by world; likewise.
        actors: Data by actor; likewise.
        missed: Entries of the stream that were gone before the recorder came by, by actor; likewise.
        quarantined: Entries that did not decode, by actor; likewise.
    """

    source: str
    quality: Quality
    crf: int = CRF
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    created: str
    whole: bool = False
    data: int = 0
    segments: int = 0
    worlds: Mapping[str, int] = field(default_factory=dict[str, int])
    actors: Mapping[str, int] = field(default_factory=dict[str, int])
    missed: Mapping[str, int] = field(default_factory=dict[str, int])
    quarantined: Mapping[str, int] = field(default_factory=dict[str, int])

    @classmethod
    def new(
        cls, source: str, *, config: RunConfig | None = None, quality: Quality = Quality.LOSSLESS, crf: int = CRF
    ) -> Self:
        """Makes the manifest of a recording that is about to be written.

        Args:
            source: Where the data come from: `tour`, `stream` or `import`.
            config: The run's configuration, where there is one; neither server nor run directory are kept.
            quality: How frames are kept.
            crf: Constant rate factor of lossy video, 0 to 51: less is better and larger.

        Raises:
            RecordingError: There is no such factor.
        """
        if not 0 <= crf <= 51:
            raise RecordingError(f"crf = {crf}: must be from 0 to 51")
        return cls(
            source=source,
            quality=quality,
            crf=crf,
            config={} if config is None else yaml.safe_load(to_yaml(replace(config, run_dir=""))),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads a recording's manifest.

        Raises:
            RecordingError: There is none, or it is damaged or of another schema.
        """
        path = folder / MANIFEST
        if folder.is_file():
            raise RecordingError(f"{folder} is a file: a recording is a folder with a {MANIFEST}")
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "damaged: not UTF-8"
            raise RecordingError(f"{folder} is no recording: cannot read {MANIFEST} ({reason})") from None
        content = _unsealed(text, str(path))
        if content.pop("engram-recording", None) != SCHEMA:
            raise RecordingError(f"{folder} is no recording of schema {SCHEMA}: `engram record` makes one")
        known = {item.name for item in fields(cls)}
        values: dict[str, Any] = {name: value for name, value in content.items() if name in known}
        values["quality"] = Quality(values["quality"])
        return cls(**values)

    def save(self, folder: Path) -> None:
        """Writes it so that a reader sees the old or the new one."""
        text = _sealed({"engram-recording": SCHEMA, **asdict(self)}, indent=2)
        draft = folder / f".{MANIFEST}.part"
        write_synced(draft, text.encode())
        draft.replace(folder / MANIFEST)
        sync_folder(folder)

    def counted(self, segments: Mapping[int, Segment]) -> Self:
        """Counts what the segments hold."""
        return replace(
            self,
            data=sum(segment.data for segment in segments.values()),
            segments=len(segments),
            worlds=added(segment.worlds for segment in segments.values()),
            actors=added(segment.actors for segment in segments.values()),
            missed=added(segment.missed for segment in segments.values()),
        )


def added(counts: Any) -> dict[str, int]:
    """Adds up counts by name."""
    total: dict[str, int] = {}
    for one in cast("list[Mapping[str, int]]", counts):
        for name, number in one.items():
            total[name] = total.get(name, 0) + number
    return total


def segment_line(segment: Segment) -> bytes:
    """Writes a segment as a line of `segments.jsonl`."""
    return (_sealed(asdict(segment)) + "\n").encode()


def load_segments(folder: Path) -> tuple[dict[int, Segment], list[str]]:
    """Reads what segments there are.

    Returns:
        By number, and what is wrong with lines that are left out; one that was cut short at the end is none.

    Raises:
        RecordingError: The file cannot be read.
    """
    path = folder / SEGMENTS
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise RecordingError(f"cannot read {path}: {error.strerror}") from None
    found: dict[int, Segment] = {}
    wrong: list[str] = []
    for number, line in enumerate(lines, 1):
        try:
            segment = Segment(**_unsealed(line.decode(), f"{path}, line {number}"))
        except (RecordingError, UnicodeDecodeError, TypeError):
            if line.endswith(b"\n") or number < len(lines):
                wrong.append(f"{path}, line {number}: damaged, so that its segment is not found")
            continue
        if not segment.files or not all(_FILE.fullmatch(name) for name in segment.files):
            wrong.append(f"{path}, line {number}: names files that no recorder writes, and is left out")
            continue
        found[segment.number] = segment
    return found, wrong


def _digest(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _sealed(content: Mapping[str, Any], indent: int | None = None) -> str:
    return json.dumps({**content, "sha256": _digest(content)}, ensure_ascii=False, allow_nan=False, indent=indent)


def _unsealed(text: str, where: str) -> dict[str, Any]:
    try:
        content: Any = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise RecordingError(f"{where} is damaged: no JSON object")
    found = cast(dict[str, Any], content)
    if found.pop("sha256", None) != _digest(found):
        raise RecordingError(f"{where} is damaged: its content and its own SHA-256 differ")
    return found


def write_synced(path: Path, content: bytes) -> None:
    """Writes a file that is on the disk when this returns."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Brings a folder's names to the disk; where the system cannot (Windows), it does so by itself."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
