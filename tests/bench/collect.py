"""What the frame loop waits for when it hands over a frame: with a server, without one, with one that stands still.

Both ways in are timed in turns on the same writer: `StreamWriter.put`, and the `collect` of the pamiq-core collector
that an agent calls.
"""

import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil

from actors.context import StepContext, StreamCollector
from common.exposure import ExposureRule
from common.messages import Observation
from common.stream import CaptureJournal, StreamKeys, StreamWriter, connect
from deploy.store import EmbeddedStore
from tests.bench.frames import datum
from tests.bench.measure import Result

SECONDS = 20.0
FRAMES = 2000
"""Frames of each way in, spread over the seconds."""
PATIENCE = 30.0


def collect() -> list[Result]:
    """The 99th percentile of `put()` and `collect()`."""
    results: list[Result] = []
    store = EmbeddedStore(512 * 2**20)
    gone = "redis://127.0.0.1:1"
    # Without a server the spool overflows, so that each put also drops the oldest.
    for name, url, spool in (
        ("server answers", store.url, 300),
        ("no server", gone, 300),
        ("server stopped", store.url, 2 * FRAMES + 100),
    ):
        writer = StreamWriter(
            lambda url=url: connect(url),
            keys=StreamKeys(name.replace(" ", "-")),
            actor="a",
            journal=CaptureJournal(Path(tempfile.mkdtemp()) / "a.journal"),
            length=500,
            spool=spool,
        )
        if url == gone:
            times = _times(writer)
            writer.close(1.0)
            fate = f"{sum(writer.counts().dropped.values())} dropped, counted"
        else:
            writer.put(datum(96))
            _written(writer)  # the connection is open
            if name == "server stopped":
                with _standing_still(store.url):
                    times = _times(writer)
                    assert writer.counts().spooled > FRAMES
            else:
                times = _times(writer)
            fate = f"{_written(writer)} of {writer.counts().captured} written"
            writer.close()
        for call, taken in times.items():
            p99, longest = float(np.percentile(taken, 99)) * 1e3, max(taken) * 1e3
            results.append(
                Result(
                    what=f"{call}() p99, {name}",
                    ours=f"{p99:.3f} ms (longest {longest:.1f}); {fate}",
                    limit="100 ms frame",
                    ratio=None,
                    value=p99,
                    most=0.5,
                )
            )
    store.stop()
    return results


def _times(writer: StreamWriter) -> dict[str, list[float]]:
    """Hands over frames by both ways in turns; returns each call's seconds."""
    frames = np.random.default_rng(0).integers(0, 256, (8, 96, 96, 3), dtype=np.uint8)
    context = StepContext(action=np.zeros(4, np.float32))
    rule = ExposureRule(salt="bench", block=10.0)
    collector = StreamCollector(buffer="frames", actor="a", generation=1, context=context, rule=rule, writer=writer)
    taken: dict[str, list[float]] = {"put": [], "collect": []}
    began = due = time.perf_counter()
    for number in range(2 * FRAMES):
        frame, now = frames[number % len(frames)], due - began
        if number % 2:
            context.observation = Observation(
                frame=frame, captured_ns=time.time_ns(), world="bench", visit=0, visit_time=now
            )
            context.system_time = now
            before = time.perf_counter()
            collector.collect(frame)
            taken["collect"].append(time.perf_counter() - before)
        else:
            one = datum(96, number=number)
            before = time.perf_counter()
            writer.put(one)
            taken["put"].append(time.perf_counter() - before)
        due += SECONDS / (2 * FRAMES)
        time.sleep(max(0.0, due - time.perf_counter()))
    return taken


def _written(writer: StreamWriter) -> int:
    """Waits until nothing waits to be written; returns what was written so far."""
    end = time.monotonic() + PATIENCE
    while writer.counts().spooled:
        if time.monotonic() > end:
            raise TimeoutError(f"{writer.counts()} after {PATIENCE:g} s")
        time.sleep(0.01)
    return writer.counts().written


@contextmanager
def _standing_still(url: str) -> Generator[None]:
    """SIGSTOP to the server for as long as the block."""
    client = connect(url)
    server = psutil.Process(int(cast(Any, client).info("server")["process_id"]))
    client.close()
    server.suspend()
    try:
        yield
    finally:
        server.resume()
