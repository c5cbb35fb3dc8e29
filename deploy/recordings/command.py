"""The command line of recordings; the heavy imports come after the refusals."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from threading import Event

import tyro

from common.config import PlaybackConfig, RunConfig
from common.config.files import from_yaml
from common.config.units import parse_seconds
from common.errors import ConfigError
from common.options import URL_VARIABLE, secret, take_option
from common.recording import CRF, Manifest, Quality, Recording
from deploy.starting import starting_point

_RECORD = """\
Write what actors see into a folder (the first word) of videos and tables: docs/recordings.md.

  --from RUN_DIR  the stream of a run that is going on, until it ends, Ctrl-C, or --duration
  --import PATH   a video, or a folder of videos (once for each): OBS, pamiq-recorder, what FFmpeg reads
  neither         actors live faster than time, and nothing else runs: for `engram sweep`
  --quality       lossless (every bit, a third of raw frames) or lossy (H.264; --crf 0 to 51, less is better)

Examples:
  engram record tour.rec --duration 30m --actors.count 1 --world.visit 150s
  engram record live.rec --from runs/a --duration 10m
  engram record obs.rec --import ~/Videos/OBS --quality lossy --world.image-size 144 144
"""

_REPLAY = """\
Put a recording (the first word) in the actors' place of a run: the same wire, learner and evaluator as `engram run`.

The configuration is the recording's own, unless --preset or --config names another; every field is a flag.
--speed is 1 by default; 4x plays four seconds a second; as-fast-as-possible waits for learner and evaluator.

Examples:
  engram replay live.rec --run-dir runs/again
  engram replay live.rec --speed 4x --learner.optim.lr 1e-4
  engram replay live.rec --speed as-fast-as-possible --seed 3
"""

FASTEST = "as-fast-as-possible"


def record(words: list[str]) -> int:
    """Runs `engram record` with the words after it; returns the exit code."""
    path = None
    if words and not words[0].startswith("-"):
        path, words = Path(words[0]), words[1:]
    words, quality, crf = _quality(words)
    words, run_dir = take_option(words, "--from")
    if run_dir is not None:
        return _record_live(words, _given(path), Path(run_dir), quality, crf)
    words, sources = _all(words, "--import")
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

    with Progress() as progress:
        if sources:
            from deploy.recordings.imported import record_videos

            frames = record_videos(
                config, [Path(source) for source in sources], path, progress=progress, quality=quality, crf=crf
            )
        else:
            from deploy.recordings.tour import record as record_tour

            frames = record_tour(config, path, progress=progress, quality=quality, crf=crf)
    print(f"{frames} frames, {size_of(path) / 1e6:.0f} MB: {path}")
    return 0


def _record_live(words: list[str], path: Path, run_dir: Path, quality: Quality, crf: int) -> int:
    words, duration = take_option(words, "--duration")
    words, url = take_option(words, "--redis-url")
    if words:
        raise ConfigError("record --from", " ".join(words), "takes --duration, --redis-url, --quality and --crf")
    try:
        seconds = inf if duration is None else parse_seconds(duration)
    except ValueError as error:
        raise ConfigError("duration", duration, str(error)) from None
    from rich.console import Console

    from deploy.address import StreamAddress
    from deploy.recordings.live import record_live

    address = StreamAddress.find(run_dir, url=url or secret(URL_VARIABLE))
    manifest = Manifest.new("stream", config=from_yaml(run_dir / "config.yaml"), quality=quality, crf=crf)
    signalled, end = Event(), time.monotonic() + seconds

    def stop(_number: int, _frame: object) -> None:
        signalled.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    with Console().status(f"recording {path}") as line:
        done = record_live(
            address,
            path,
            manifest=manifest,
            stopped=lambda: signalled.is_set() or time.monotonic() >= end,
            show=lambda data, missed: line.update(f"recording {path}: {data} data, {missed} missed"),
        )
    missed = sum(done.missed.values())
    print(f"{done.data} data, {missed} missed, {size_of(path) / 1e6:.0f} MB: {path}")
    return 0


def replay(words: list[str], *, start: Callable[[RunConfig], RunConfig] = lambda config: config) -> RunConfig:
    """Reads what follows `engram replay`.

    Args:
        words: The words.
        start: Changes the configuration before the words do.

    Returns:
        The run to execute.

    Raises:
        ConfigError: The recording does not fit the run.
        RecordingError: It is no recording, or its manifest is damaged.
    """
    path = None
    if words and not words[0].startswith("-"):
        path, words = Path(words[0]), words[1:]
    words, speed = take_option(words, "--speed")
    recording = None if path is None else Recording(path)
    named = any(word.partition("=")[0] in ("--preset", "--config") for word in words)
    words, default = starting_point(words)
    if recording is not None:
        default = (None if named else recording.config()) or default
        playback = PlaybackConfig(recording=str(path), speed=_speed(speed), start=_start(recording))
        actors = replace(default.actors, count=max(1, len(recording.counted.actors)), edge=0)
        default = start(replace(default, playback=playback, actors=actors, duration=0.0))
    config = tyro.cli(
        RunConfig,
        args=words,
        default=default,
        prog="engram replay RECORDING",
        description=_REPLAY,
        config=(tyro.conf.EnumChoicesFromValues,),
    )
    if recording is None:
        raise ConfigError("recording", "", "must be given first: engram replay RECORDING [OPTIONS]")
    recorded = recording.config()
    if recorded is not None and recorded.world.image_size != config.world.image_size:
        size = f"must be the recording's {recorded.world.image_size}: frames are played as they are"
        raise ConfigError("world.image_size", config.world.image_size, size)
    return config


def recordings(words: list[str]) -> int:
    """Runs `engram recordings` with the words after it; returns the exit code."""
    from deploy.recordings.listing import recordings as look_after

    return look_after(words)


def _speed(text: str | None) -> float:
    if text == FASTEST:
        return 0.0
    try:
        speed = float((text or "1").removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed <= 1000:
        raise ConfigError("speed", text, f"must be a number above 0 as in 4x, at most 1000, or {FASTEST}")
    return speed


def _start(recording: Recording) -> float:
    """System time of a recording's first datum that can be read."""
    first = next(iter(Recording(recording.path, on_damage=lambda damage: None)), None)
    if first is None:
        raise ConfigError("recording", str(recording.path), "holds nothing that could be played")
    return first.system_time


def size_of(path: Path) -> int:
    """Bytes of all files of a recording."""
    return sum(found.stat().st_size for found in path.iterdir())


def _given(path: Path | None) -> Path:
    if path is None:
        raise ConfigError("folder", "", "must be given first: engram record FOLDER [OPTIONS]")
    return path


def _all(words: Sequence[str], option: str) -> tuple[list[str], list[str]]:
    """Takes an option out of the words as often as it is there."""
    rest, found = list(words), list[str]()
    while True:
        rest, value = take_option(rest, option)
        if value is None:
            return rest, found
        found.append(value)


def _quality(words: Sequence[str]) -> tuple[list[str], Quality, int]:
    """Takes `--quality` and `--crf` out of the words."""
    rest, quality = take_option(words, "--quality")
    rest, crf = take_option(rest, "--crf")
    if quality not in (None, *Quality):
        raise ConfigError("quality", quality, f"must be one of {', '.join(Quality)}")
    if crf is not None and not (crf.isdigit() and int(crf) <= 51):
        raise ConfigError("crf", crf, "must be from 0 to 51")
    return rest, Quality(quality or Quality.LOSSLESS), int(crf or CRF)
