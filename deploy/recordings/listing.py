"""`engram recordings`: what recordings there are, whether they are whole, and cutting them."""

from dataclasses import dataclass
from math import inf
from pathlib import Path

import tyro
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from common.config import Seconds
from common.errors import ConfigError, RecordingError
from common.recording import Recording, check, trim
from common.recording.manifest import MANIFEST

_USAGE = """\
usage: engram recordings WHAT [OPTIONS]

  list     sizes, worlds and durations        engram recordings list recordings
  check    every file and every frame         engram recordings check live.rec
  trim     a stretch of time, as a new one    engram recordings trim live.rec start.rec --end 10m

Exit codes: 0 all well, 1 damage was found, 2 no recording.
"""


@dataclass(frozen=True)
class List:
    """List recordings: sizes, worlds, durations."""

    paths: tyro.conf.Positional[tuple[Path, ...]] = (Path(),)
    """Recordings, or folders that hold some."""


@dataclass(frozen=True)
class Check:
    """Read all of some recordings and decode every frame; say what is damaged, by segment, file, column or frame."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """The recordings."""


@dataclass(frozen=True)
class Trim:
    """Copy what was captured in a stretch of time into a new recording."""

    path: tyro.conf.Positional[Path]
    """The recording; it stays as it is."""
    out: tyro.conf.Positional[Path]
    """Folder to make."""
    start: Seconds = 0.0
    """Time after the first capture, for example `90s`."""
    end: Seconds = inf
    """Likewise; to the end without it."""


def recordings(words: list[str]) -> int:
    """Runs `engram recordings` with the words after it; returns the exit code."""
    match words[0] if words else "":
        case "list":
            return _list(tyro.cli(List, args=words[1:], prog="engram recordings list"))
        case "check":
            return _check(tyro.cli(Check, args=words[1:], prog="engram recordings check"))
        case "trim":
            asked = tyro.cli(Trim, args=words[1:], prog="engram recordings trim")
            if not 0 <= asked.start < asked.end:
                raise ConfigError("end", asked.end, f"must be above start = {asked.start:g} s")
            print(f"{trim(asked.path, asked.out, start=asked.start, end=asked.end)} data: {asked.out}")
            return 0
        case _:
            print(_USAGE, end="")
            return 0 if words and words[0] in ("-h", "--help") else 2


def _list(asked: List) -> int:
    table = Table()
    for column in ("recording", "from", "kept", "duration", "data", "missed", "size", "worlds", "actors", ""):
        table.add_column(column, justify="right" if column in ("duration", "data", "missed", "size") else "left")
    found = [path for given in asked.paths for path in _recordings(given)]
    for path in found:
        try:
            recording = Recording(path)
        except RecordingError as error:
            table.add_row(str(path), "", "", "", "", "", "", "", "", str(error))
            continue
        counted = recording.counted
        segments = recording.segments.values()
        times = [moment for segment in segments for moment in (segment.first_ns, segment.last_ns)] or [0]
        table.add_row(
            str(path),
            counted.source,
            counted.quality if counted.quality == "lossless" else f"{counted.quality}, crf {counted.crf}",
            f"{(max(times) - min(times)) / 1e9:.0f} s",
            str(counted.data),
            str(sum(counted.missed.values())),
            f"{sum(file.stat().st_size for file in path.iterdir()) / 1e6:.1f} MB",
            ", ".join(sorted(counted.worlds)),
            str(len(counted.actors)),
            "" if counted.whole else "not closed",
        )
    if not found:
        raise ConfigError("paths", " ".join(map(str, asked.paths)), f"hold no recording (a folder with a {MANIFEST})")
    Console(width=None).print(table)
    return 0


def _recordings(path: Path) -> list[Path]:
    if (path / MANIFEST).exists():
        return [path]
    return sorted(found.parent for found in path.glob(f"*/{MANIFEST}"))


def _check(asked: Check) -> int:
    damaged = 0
    with Progress(transient=True) as progress:
        for path in asked.paths:
            task = progress.add_task(f"checking {path.name}", total=len(Recording(path).segments))
            wrong = 0
            for segment, reason in check(path):
                progress.advance(task)
                if reason:
                    wrong += 1
                    where = f"segment {segment}: " if segment >= 0 else ""
                    progress.console.print(f"{path}: {where}{reason}", soft_wrap=True, highlight=False)
            if not wrong:
                progress.console.print(f"{path}: {Recording(path).counted.data} data, all as they were recorded")
            damaged += wrong
    return 1 if damaged else 0
