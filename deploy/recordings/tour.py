"""`engram record`: lives of actors, faster than time, into one recording that learners can go through again and again.

    process `record`   tour of each actor, in turns ─► wire ─► pipe ─► this process ─► recording

Lives have a process of their own, since the engine of a game can hang while it starts, or take its process along when
it dies (ViZDoom 1.3.2), and nobody in that process could do anything about it.
"""

import shutil
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import msgpack
from rich.progress import Progress

from actors.tour import tour
from actors.worlds import check_worlds
from actors.worlds.doom_folder import sweep_leftovers
from common import wire
from common.config import RunConfig
from common.errors import ConfigError, EngramError, RunError
from common.messages import Datum
from common.process import settle, undisturbed
from common.recording import CRF, Manifest, Quality, RecordingWriter

PATIENCE = 60.0
"""Seconds without a frame after which a game counts as hung; one starts within 5 s, a few more on a busy machine."""
_FRAME, _ERROR, _END = b"f", b"e", b"."

type Live = Callable[[RunConfig, Connection], None]
"""Lives a run's lives and sends every frame."""


def record(
    run: RunConfig,
    path: Path,
    *,
    progress: Progress,
    quality: Quality = Quality.LOSSLESS,
    crf: int = CRF,
    patience: float = PATIENCE,
    live: Live | None = None,
) -> int:
    """Records `run.duration` seconds of the lives of all actors, frame by frame in turns.

    Args:
        run: Worlds, visits, actors, frames a second, seed.
        path: Folder to make.
        progress: Shows how far it is.
        quality: How frames are kept.
        crf: Constant rate factor of lossy video.
        patience: Seconds without a frame after which it is given up.
        live: Lives the lives; runs in the process of its own.

    Returns:
        Frames written: fewer than asked for where worlds end before.

    Raises:
        ConfigError: There is no such world, or no end.
        RecordingError: The folder exists, or cannot be written.
        RunError: A game did not start, hung, or died, or nothing was seen; nothing is left.
    """
    settle(part="record", threads=run.actors.threads)
    check_worlds(run.world)
    if not run.duration:
        raise ConfigError("duration", run.duration, "must be above 0: a recording needs an end")
    total = _frames(run) * run.actors.count
    task = progress.add_task(f"recording {path.name}", total=total)
    writer = RecordingWriter(path, of=Manifest.new("tour", config=run, quality=quality, crf=crf))
    try:
        for packed in _lived(run, total, live or send_lives, patience):
            writer.write(wire.decode(cast(Any, msgpack).unpackb(packed, raw=True)))
            progress.advance(task)
        writer.close()
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)  # it may not even be there yet
        raise
    return writer.manifest.data


def send_lives(run: RunConfig, sender: Connection) -> None:
    """Lives the lives of all actors and sends every frame, packed as an entry of the wire, or what went wrong."""
    settle(part="record", threads=run.actors.threads)
    lives = [tour(run, index=index, frames=_frames(run)) for index in range(run.actors.count)]
    try:
        for datum in _in_turns(lives):
            sender.send_bytes(_FRAME + pack(datum))
        sender.send_bytes(_END)
    except EngramError as error:
        sender.send_bytes(_ERROR + str(error).encode())


def pack(datum: Datum) -> bytes:
    """Packs a datum as an entry of the wire, for the pipe."""
    return cast(bytes, cast(Any, msgpack).packb({name: bytes(value) for name, value in wire.encode(datum).items()}))


def _lived(run: RunConfig, total: int, live: Live, patience: float) -> Iterator[bytes]:
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=live, args=(run, sender), name="record", daemon=True)
    with undisturbed():
        process.start()
    sender.close()
    try:
        for number in range(total):
            if not receiver.poll(patience):
                raise RunError(f"no frame for {patience:g} s after {number} of {total}: a game hangs; record again")
            message = receiver.recv_bytes()
            if message[:1] == _END:
                return
            if message[:1] == _ERROR:
                raise RunError(message[1:].decode())
            yield message[1:]
    except EOFError:
        process.join()
        died = f"the process of the games died, exit code {process.exitcode}"
        raise RunError(f"{died}: record again; its last words are above, if it had any") from None
    finally:
        process.kill()
        process.join()
        receiver.close()
        sweep_leftovers()


def _frames(run: RunConfig) -> int:
    return round(run.duration * run.actors.fps)


def _in_turns(lives: list[Iterator[Datum]]) -> Iterator[Datum]:
    """Gives one datum of each life in turn; one that is over leaves the turns to the others."""
    while lives:
        for life in list(lives):
            datum = next(life, None)
            if datum is None:
                lives.remove(life)
            else:
                yield datum
