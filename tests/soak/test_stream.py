"""Half an hour of 4 actors × 30 FPS × 150 kB into a ring: flat memory in every process, and both identities at the end.

`make soak ARGS=tests/soak/test_stream.py`; SOAK_SECONDS is its length, and the samples go to runs/soak-stream.json.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# SciPy is untyped in parts.

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from scipy.stats import theilslopes

from common.status import WriterCounts
from common.stream import connect
from deploy.store import EmbeddedStore
from tests.runs import wait_until, writer_adds_up

ROOT = Path(__file__).parents[2]
SECONDS = float(os.environ.get("SOAK_SECONDS", "1800"))
ACTORS, FPS, SIDE = 4, 30.0, 224
STREAM, RING = 500, 2000
"""Frames that each actor's stream and the ring hold: full within 20 seconds."""
EVERY = 5.0
"""Seconds between samples."""
STEEPEST = 1.0
"""MB a minute: what the slope's upper 95 % bound must stay below."""

pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS + 300)]

type Samples = dict[str, list[tuple[float, float, float]]]
"""By process: seconds since the start, unique and resident memory, MB."""


class Soak:
    """The processes of one soak, by name."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        store = EmbeddedStore(ACTORS * STREAM * (SIDE * SIDE * 3 + 1000))
        stack.callback(store.stop)
        client = connect(store.url)
        server = int(cast(Any, client).info("server")["process_id"])
        client.close()
        self.processes: dict[str, psutil.Process] = {"server": psutil.Process(server)}
        self.reader = self._start("reader", "tests.soak.reader_process", url=store.url, capacity=RING)
        asked: dict[str, Any] = {"url": store.url, "length": STREAM, "spool": 900, "fps": FPS}
        self.writers = {
            name: self._start(name, "tests.faults.writer_process", actor=name, **asked)
            for name in (f"actor-{index}" for index in range(ACTORS))
        }

    def _start(self, name: str, module: str, **asked: Any) -> subprocess.Popen[bytes]:
        folder = self._folder / name
        folder.mkdir()
        words = json.dumps(asked | {"folder": str(folder), "side": SIDE})
        with (folder / "log").open("w") as output:
            started = subprocess.Popen(
                [sys.executable, "-m", module, words], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
            )
        self._stack.callback(started.wait)
        self._stack.callback(started.kill)
        self.processes[name] = psutil.Process(started.pid)
        return started

    def stop(self, name: str, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        assert process.wait(60) == 0, (self._folder / name / "log").read_text("utf-8")[-2000:]

    def told(self, name: str, file: str) -> Mapping[str, Any]:
        return json.loads((self._folder / name / file).read_text("utf-8"))

    def began(self, name: str) -> bool:
        return (self._folder / name / "counts.json").exists()

    def sensed(self, name: str) -> int:
        return (self._folder / name / "sensor").stat().st_size // 8


@pytest.fixture
def soak(tmp_path: Path) -> Iterator[Soak]:
    with ExitStack() as stack:
        yield Soak(tmp_path, stack)


def watch(soak: Soak) -> Samples:
    """Samples every process until the time is over; all must live for as long."""
    samples: Samples = {name: [] for name in soak.processes}
    began = due = time.monotonic()
    while (now := time.monotonic() - began) < SECONDS:
        for name, process in soak.processes.items():
            memory = process.memory_full_info()
            samples[name].append((now, memory.uss / 1e6, memory.rss / 1e6))
        due += EVERY
        time.sleep(max(0.0, due - time.monotonic()))
    return samples


def test_four_actors_for_half_an_hour(soak: Soak) -> None:
    wait_until(lambda: all(soak.began(name) for name in soak.writers), 60, "frames of every actor")
    samples = watch(soak)
    place = ROOT / "runs" / "soak-stream.json"
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps(samples), "utf-8")
    for name, writer in soak.writers.items():
        soak.stop(name, writer)
    soak.stop("reader", soak.reader)

    read = soak.told("reader", "read.json")
    assert read["ring"] == RING
    for name in soak.writers:
        counts = WriterCounts(**soak.told(name, "counts.json"))
        late = soak.told(name, "pace.json")["late"]
        of_reader = read["actors"][name]
        print(f"{name}: {counts.captured} captured, {late} late, dropped {dict(counts.dropped)}, reader {of_reader}")
        assert soak.sensed(name) == counts.captured
        assert writer_adds_up(counts)
        assert counts.spooled == of_reader["unread"] == of_reader["duplicates"] == 0
        assert counts.written == of_reader["missed"] + of_reader["quarantined"] + of_reader["admitted"]
        assert counts.captured >= 0.99 * FPS * SECONDS
    slopes: dict[str, float] = {}
    for name, rows in samples.items():
        seconds, unique, _ = zip(*(row for row in rows if row[0] > SECONDS / 3), strict=True)
        slopes[name] = 60 * float(cast(Any, theilslopes)(unique, seconds)[3])
        print(f"{name}: {unique[-1]:.1f} MB, at most {slopes[name]:+.3f} MB a minute")
    assert max(slopes.values()) < STEEPEST, slopes
