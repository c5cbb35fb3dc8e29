"""The command line of recordings; the heavy imports come after the refusals."""

from collections.abc import Sequence
from pathlib import Path

import tyro

from common.config import RunConfig
from common.errors import ConfigError
from common.recording import CRF, Quality
from deploy.starting import starting_point, take_option

_RECORD = """\
Write what actors see into a folder (the first word) of videos and tables: docs/recordings.md.

Without --from and --import, actors live faster than time, and nothing else runs: for `engram sweep`.

Examples:
  engram record tour.rec --duration 30m --actors.count 1 --world.visit 150s
  engram record tour.rec --duration 2m --quality lossy --seed 7

--quality lossless (the default: every bit, a third of raw frames) or lossy (H.264; --crf, 0 to 51, less is better).
"""


def record(words: list[str]) -> int:
    """Runs `engram record` with the words after it; returns the exit code."""
    path = None
    if words and not words[0].startswith("-"):
        path, words = Path(words[0]), words[1:]
    words, quality, crf = _quality(words)
    words, default = starting_point(words)
    config = tyro.cli(
        RunConfig,
        args=words,
        default=default,
        prog="engram record FOLDER",
        description=_RECORD,
        config=(tyro.conf.EnumChoicesFromValues,),
    )
    path = _given(path)
    from rich.progress import Progress

    from deploy.recordings.tour import record as record_tour

    with Progress() as progress:
        frames = record_tour(config, path, progress=progress, quality=quality, crf=crf)
    print(f"{frames} frames, {size_of(path) / 1e6:.0f} MB: {path}")
    return 0


def size_of(path: Path) -> int:
    """Bytes of all files of a recording."""
    return sum(found.stat().st_size for found in path.iterdir())


def _given(path: Path | None) -> Path:
    if path is None:
        raise ConfigError("folder", "", "must be given first: engram record FOLDER [OPTIONS]")
    return path


def _quality(words: Sequence[str]) -> tuple[list[str], Quality, int]:
    """Takes `--quality` and `--crf` out of the words."""
    rest, quality = take_option(words, "--quality")
    rest, crf = take_option(rest, "--crf")
    if quality not in (None, *Quality):
        raise ConfigError("quality", quality, f"must be one of {', '.join(Quality)}")
    if crf is not None and not (crf.isdigit() and int(crf) <= 51):
        raise ConfigError("crf", crf, "must be from 0 to 51")
    return rest, Quality(quality or Quality.LOSSLESS), int(crf or CRF)
