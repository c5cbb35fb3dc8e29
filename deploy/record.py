"""`engram record`: lives of actors, faster than time, into one file that learners can go through again and again."""

from collections.abc import Iterator
from pathlib import Path

from rich.progress import Progress

from actors.tour import tour
from actors.worlds import check_worlds
from common.codec import Codec
from common.config import RunConfig
from common.errors import ConfigError
from common.messages import Datum
from common.process import settle
from common.recording import RecordingWriter


def record(run: RunConfig, path: Path, *, progress: Progress) -> int:
    """Records `run.duration` seconds of the lives of all actors, frame by frame in turns.

    Args:
        run: Worlds, visits, actors, frames a second, codec, seed.
        path: File to write.
        progress: Shows how far it is.

    Returns:
        Frames written.

    Raises:
        ConfigError: There is no such world, or no end.
        RecordingError: The file exists, or cannot be written.
    """
    settle(part="record", threads=run.actors.threads)
    check_worlds(run.world)
    if not run.duration:
        raise ConfigError("duration", run.duration, "must be above 0: a recording needs an end")
    frames = round(run.duration * run.actors.fps)
    total = frames * run.actors.count
    task = progress.add_task(f"recording {path.name}", total=total)
    lives = [tour(run, index=index, frames=frames) for index in range(run.actors.count)]
    with RecordingWriter(path, Codec(run.stream.codec), run.stream.jpeg_quality) as writer:
        for datum in _in_turns(lives):
            writer.write(datum)
            progress.advance(task)
    return total


def _in_turns(lives: list[Iterator[Datum]]) -> Iterator[Datum]:
    for moment in zip(*lives, strict=True):
        yield from moment
