"""How long pictures stay: each run and each recording says it itself, and `engram expire` carries it out.

Of a run go the replay buffers in its checkpoints and the experiences that the evaluator followed; weights, ledger,
measurements and report stay. A recording goes as a whole.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import tyro

from common.config import RunConfig, Seconds
from common.config.files import from_yaml
from common.errors import ConfigError, EngramError
from common.recording import Recording
from common.recording.manifest import MANIFEST, SEGMENTS
from deploy.keeping import EVALUATOR
from deploy.rundir import RunDirectory, read_rows
from learner import checkpoint as checkpoints

_MARKS = {MANIFEST, "events.jsonl"}
"""Files by which recordings and run directories are known."""
_BUSY = 60.0
"""Seconds since the last write after which a recording that never ended counts as broken off."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """Pictures that a run or a recording still has.

    Attributes:
        path: Run directory or recording.
        ended: When the run last wrote, or the recording was last written; seconds since the epoch.
        retention: Seconds that pictures stay after that; 0 for always.
        files: Where they are.
        recording: Whether it is a recording.
    """

    path: Path
    ended: float
    retention: float
    files: tuple[Path, ...]
    recording: bool

    @property
    def size(self) -> int:
        """Bytes of the files, as far as they are still there."""
        return sum(file.stat().st_size for file in self.files if file.exists())

    def is_due(self, now: float) -> bool:
        """Whether the pictures are to go."""
        return bool(self.retention) and self.ended + self.retention <= now


@dataclass(frozen=True)
class Expire:
    """Remove pictures that have been kept for as long as their run's `retention` says; meant for a daily timer.

    Of a run go the replay buffers in its checkpoints and the experiences that the evaluator followed: it cannot be
    resumed any more, but weights, ledger, measurements and report stay. A recording goes as a whole. What is in use is
    left alone.

    Examples:
      engram expire runs recordings --dry-run
      engram expire runs/a --older 1d
    """

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories, recordings, or folders that hold some at any depth."""
    older: Seconds = 0.0
    """Take this age, for example `30d`, instead of what each says itself."""
    dry_run: bool = False
    """Only say what would go."""


def expire(words: list[str]) -> int:
    """Runs `engram expire` with the words after it; returns the exit code: 1 where something due could not go."""
    asked = tyro.cli(Expire, args=words, prog="engram expire")
    for path in asked.paths:
        if not path.is_dir():
            raise ConfigError("paths", str(path), "must be folders that exist")
    failed, now = 0, time.time()
    for folder in find(asked.paths):
        try:
            held = look(folder, older=asked.older)
        except (EngramError, OSError) as error:
            failed += 1
            print(f"{folder} cannot be looked at: {error}")
            continue
        if held.files:
            failed += not _settle(held, now, dry_run=asked.dry_run)
    return 1 if failed else 0


def _settle(held: Held, now: float, *, dry_run: bool) -> bool:
    """Removes what is due, and says what becomes of it; returns False where it could not go."""
    said = f"{held.path}: {held.size / 1e6:.1f} MB of pictures, ended {_utc(held.ended)}"
    if not held.is_due(now):
        kept = f"kept until {_utc(held.ended + held.retention)}" if held.retention else "kept: no retention is set"
        print(f"{said}, {kept}")
        return True
    try:
        if not dry_run:
            remove(held)
    except (EngramError, OSError) as error:
        print(f"{said}, due but still there: {error}")
        return False
    print(f"{said}, {'would go' if dry_run else 'removed'}")
    return True


def find(paths: Sequence[Path]) -> list[Path]:
    """Finds runs and recordings: the paths themselves, or what is below them at any depth."""
    return sorted({file.parent.resolve() for path in paths for file in path.rglob("*") if file.name in _MARKS})


def look(folder: Path, *, older: float = 0.0) -> Held:
    """Says which pictures a run or a recording still holds.

    Args:
        folder: Run directory or recording.
        older: Seconds that replace what it says itself; 0 for none.

    Raises:
        EngramError: What it says of itself cannot be read.
    """
    held = _recording(folder) if (folder / MANIFEST).is_file() else _run(folder)
    return replace(held, retention=older or held.retention)


def remove(held: Held) -> None:
    """Removes the pictures, for good.

    Raises:
        ConfigError: The run is going on, or the recording is being written.
    """
    if held.recording:
        if not Recording(held.path).manifest.whole and held.ended > time.time() - _BUSY:
            raise ConfigError("paths", str(held.path), "is being written")
        for file in held.files:
            file.unlink(missing_ok=True)
        with suppress(OSError):  # somebody keeps other files there
            held.path.rmdir()
        return
    directory = RunDirectory.open(held.path)
    try:
        for checkpoint in checkpoints.complete(directory.checkpoints):
            checkpoints.drop_replay(checkpoint)
        for file in held.files:
            file.unlink(missing_ok=True)
        directory.event("expired", retention=held.retention)
    finally:
        directory.close()


def _run(folder: Path) -> Held:
    found = (
        *(file for path in checkpoints.complete(folder / "checkpoints") for file in checkpoints.replay_files(path)),
        # What processes leave that were killed while they wrote, and a stream that was to outlive the run.
        *folder.glob("checkpoints/.partial-*/**/*.safetensors"),
        *folder.glob(f".{EVALUATOR}.*"),
        *(file for file in (folder / "store").rglob("*") if file.is_file()),
        folder / EVALUATOR,
    )
    return Held(
        path=folder,
        ended=max((float(row.get("t", 0.0)) for row in read_rows(folder / "events.jsonl")), default=0.0),
        retention=_retention(from_yaml(folder / "config.yaml")),
        files=tuple(file for file in found if file.is_file()),
        recording=False,
    )


def _recording(folder: Path) -> Held:
    recording = Recording(folder)
    segments = recording.segments.values()
    names = {MANIFEST, SEGMENTS, *(name for segment in segments for name in segment.files)}
    files = tuple(
        file for file in folder.iterdir() if file.is_file() and (file.name in names or file.suffix == ".part")
    )
    return Held(
        path=folder,
        # Imports and tours count captures from their own beginning: when they were written is in the files.
        ended=max(file.stat().st_mtime for file in files),
        retention=_retention(recording.config()),
        files=files,
        recording=True,
    )


def _retention(config: RunConfig | None) -> float:
    return config.retention if config else 0.0


def _utc(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
