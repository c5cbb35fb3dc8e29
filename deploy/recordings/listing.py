"""`engram recordings`: what recordings there are, whether they are whole or the same, and cutting them."""

from dataclasses import dataclass
from math import inf
from pathlib import Path

import tyro
from rich.progress import Progress

from common.config import Seconds
from common.errors import ConfigError, RecordingError
from common.printable import printable
from common.recording import Quality, Recording, check, compare, trim
from common.recording.manifest import MANIFEST

_USAGE = """\
usage: engram recordings WHAT [OPTIONS]

  list     sizes, worlds and durations            engram recordings list recordings
  check    every file and every frame             engram recordings check live.rec
  compare  what a replay wrote with the original  engram recordings compare live.rec again.rec
  trim     a stretch of time, as a new one        engram recordings trim live.rec start.rec --end 10m

Exit codes: 0 all well, 1 damage or a difference was found, 2 no recording.
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
class Compare:
    """Compare two recordings to the bit, but for what belongs to a run: moments of capture and weights versions."""

    first: tyro.conf.Positional[Path]
    """A recording."""
    second: tyro.conf.Positional[Path]
    """What a replay of it wrote, recorded in its turn."""


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
        case "compare":
            asked = tyro.cli(Compare, args=words[1:], prog="engram recordings compare")
            same, difference = compare(asked.first, asked.second)
            print(f"{same} data are the same" + (f"; then {difference}" if difference else ", every one to the bit"))
            return 1 if difference else 0
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
    found = [path for given in asked.paths for path in _recordings(given)]
    if not found:
        raise ConfigError("paths", " ".join(map(str, asked.paths)), f"hold no recording (a folder with a {MANIFEST})")
    for path in found:
        try:
            print(f"{path}: {_described(Recording(path))}")
        except RecordingError as error:
            print(printable(str(error)))
    return 0


def _described(recording: Recording) -> str:
    counted = recording.counted
    times = [moment for one in recording.segments.values() for moment in (one.first_ns, one.last_ns)] or [0]
    size = sum(file.stat().st_size for file in recording.path.iterdir())
    facts = [
        f"{(max(times) - min(times)) / 1e9:.1f} s",
        f"{counted.data} data of {len(counted.actors)} actors",
        f"{sum(counted.missed.values())} missed",
        f"{size / 1e6:.1f} MB",
        counted.quality if counted.quality is Quality.LOSSLESS else f"{counted.quality}, crf {counted.crf}",
        {"tour": "of a tour", "stream": "of a live run", "import": "imported"}.get(counted.source, "of unknown source"),
        *(["broken off"] if not counted.whole else []),
    ]
    return f"{', '.join(facts)}\n  " + ", ".join(
        f"{printable(world)} ({data})" for world, data in sorted(counted.worlds.items())
    )


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
                    told = f"{path}: {where}{printable(reason)}"  # a recording may come from anywhere
                    progress.console.print(told, soft_wrap=True, highlight=False, markup=False)
            if not wrong:
                progress.console.print(
                    f"{path}: {Recording(path).counted.data} data, all as they were recorded",
                    soft_wrap=True,
                    highlight=False,
                )
            damaged += wrong
    return 1 if damaged else 0
