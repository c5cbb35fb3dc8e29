"""Recordings whose games do not behave: given up in time, said in a line, and nothing is left."""

import os
import signal
import tempfile
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import psutil
import pytest
from rich.progress import Progress

from actors.tour import tour
from actors.worlds import doom_game
from common.config import ActorConfig, RunConfig
from common.errors import RecordingError, RunError
from common.messages import Datum
from common.recording import Manifest, Quality, Recording, RecordingWriter
from deploy.recordings.tour import Live, pack, record, send_lives

RUN = RunConfig(duration=1.0, actors=ActorConfig(count=1))


FIRST = b"f" + pack(
    Datum(
        buffer="frames",
        actor="actor-0",
        seq=1,
        visit="actor-0.1.0000",
        world="freedoom2:map01",
        experience="actor-0.1.0000/0000",
        captured_ns=0,
        system_time=0.0,
        visit_time=0.0,
        weights_version=0,
        action=np.zeros(0, np.float32),
        labels=None,
        data=np.zeros((16, 16, 3), np.uint8),
        ordinal=0,
    )
)
LONG = "86399"
"""Seconds that an engine sleeps: by these it is found among all processes."""


def hangs(run: RunConfig, sender: Connection) -> None:
    """An engine that starts and then says nothing."""
    package = Path(run.run_dir)
    (package / "vizdoom.pk3").touch()
    engine = package / "vizdoom"
    engine.write_text(f"#!/bin/sh\nexec sleep {LONG}\n")
    engine.chmod(0o700)
    doom_game._PACKAGE = package  # pyright: ignore[reportPrivateUsage]
    sender.send_bytes(FIRST)
    send_lives(run, sender)


def sleeping() -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["cmdline"]) if LONG in (process.info["cmdline"] or ())]


def dies(run: RunConfig, sender: Connection) -> None:
    sender.send_bytes(FIRST)
    os.kill(os.getpid(), signal.SIGSEGV)


def refuses(run: RunConfig, sender: Connection) -> None:
    sender.send_bytes(b"eViZDoom did not start")


@pytest.mark.parametrize(
    ("live", "said"),
    [
        (hangs, "no frame for 20 s after 1 of 10: a game hangs"),
        (dies, "died, exit code -11"),
        (refuses, "^ViZDoom did not start$"),
    ],
)
def test_a_game_that_fails_ends_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, live: Live, said: str
) -> None:
    out = tmp_path / "out"
    run = replace(RUN, run_dir=str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with pytest.raises(RunError, match=said):
        record(run, out / "tour.rec", progress=Progress(disable=True), patience=20.0, live=live)
    assert not list(out.iterdir())
    assert not list(tmp_path.glob("engram-game-*"))
    assert not psutil.wait_procs(sleeping(), timeout=5)[1]


def test_a_game_that_behaves_is_recorded_and_nothing_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "tour.rec"
    assert record(RUN, path, progress=Progress(disable=True)) == 10
    assert [datum.ordinal for datum in Recording(path)] == list(range(10))
    with pytest.raises(RecordingError, match="exists"):
        record(RUN, path, progress=Progress(disable=True))


def test_an_hour_of_144_pixels_at_10_frames_a_second_takes_less_than_500_megabytes(tmp_path: Path) -> None:
    world = replace(RUN.world, image_size=(144, 144), visit=4.0)
    run = replace(RUN, world=world, duration=24.0)
    lived = list(tour(run, index=0, frames=240))
    with RecordingWriter(tmp_path / "a", of=Manifest.new("tour", quality=Quality.LOSSY)) as writer:
        for datum in lived:
            writer.write(datum)
            if datum.seq % 30 == 0:
                writer.flush()
    size = sum(path.stat().st_size for path in (tmp_path / "a").iterdir())
    assert size / 240 * 36_000 < 500e6
    errors = [
        np.square(np.asarray(one.data, np.float32) - np.asarray(other.data)).mean()
        for one, other in zip(Recording(tmp_path / "a"), lived, strict=True)
    ]
    assert 10 * np.log10(255**2 / np.mean(errors)) > 40  # PSNR, dB
