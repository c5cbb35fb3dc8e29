"""1 to 64 writer processes at 10 FPS on one server: no frame lost, and what a frame costs as the fleet grows.

The cost is that of all writers and of the server.
"""

import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from common.stream import StreamKeys, StreamReader, connect
from deploy.cluster import prepare_environment
from deploy.store import EmbeddedStore
from tests.bench.measure import Result

FPS = 10.0
SECONDS = 15.0
SMALL, LARGE = 4, 64
FLEETS = (1, SMALL, 16, LARGE, LARGE, SMALL, SMALL, LARGE)
"""Sizes in turn; the two that are compared follow each other in both orders."""
BUDGET = 2**30
STARTING = 4
"""Processes that start at the same time."""


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What one fleet did: CPU seconds a frame, frames, frames that are not in the stream, frames put late."""

    cpu: float
    frames: int
    lost: int
    late: int


def fleet() -> list[Result]:
    """CPU-seconds a frame of 1, 4, 16 and 64 writers ÷ those of 4."""
    prepare_environment()
    outcomes: dict[int, list[_Outcome]] = {}
    for size in FLEETS:
        outcomes.setdefault(size, []).append(_live(size))
    basis = outcomes[SMALL]
    results: list[Result] = []
    for size, found in sorted(outcomes.items()):
        ratio = median(one.cpu / other.cpu for one, other in zip(found, basis, strict=False))
        frames, lost, late = (sum(getattr(one, name) for one in found) for name in ("frames", "lost", "late"))
        cost, four = (median(one.cpu for one in many) * 1e6 for many in (found, basis))
        results.append(
            Result(
                what=f"{size} writers, 28 kB, {FPS:.0f} FPS",
                ours=f"{cost:.0f} µs CPU/frame; {lost} of {frames} lost, {late} late",
                limit=f"{four:.0f} µs with {SMALL}",
                ratio=ratio,
                most=1.2 if size == LARGE else None,
                also=lost == 0,
            )
        )
    return results


def _live(size: int) -> _Outcome:
    """Starts a fleet, lets it write, and reads back what it wrote."""
    store = EmbeddedStore(BUDGET)
    stream = f"fleet-{size}"
    with ExitStack() as stack:
        stack.callback(store.stop)
        writers: list[subprocess.Popen[str]] = []
        for first in range(0, size, STARTING):
            fresh = [_start(store.url, stream, index) for index in range(first, min(first + STARTING, size))]
            for writer in fresh:
                stack.callback(_end, writer)
            for writer in fresh:
                said = _line(writer)
                if said != "ready":
                    raise RuntimeError(f"a writer does not start: {said!r}")
            writers += fresh
        begin = time.monotonic() + 1.0
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write(f"{begin}\n")
            writer.stdin.flush()
        server = psutil.Process(store.process)
        before = sum(server.cpu_times()[:2])
        told: list[dict[str, Any]] = [json.loads(_line(writer)) for writer in writers]
        served = sum(server.cpu_times()[:2]) - before
        there = _read_back(store.url, stream)
    captured = sum(one["captured"] for one in told)
    written = sum(one["written"] for one in told)
    frames = sum(one["frames"] for one in told)
    return _Outcome(
        cpu=(served + sum(one["cpu"] for one in told)) / frames,
        frames=frames,
        lost=max(captured - there, captured - written),
        late=sum(one["late"] for one in told),
    )


def _start(url: str, stream: str, index: int) -> subprocess.Popen[str]:
    asked = {"url": url, "stream": stream, "actor": f"actor-{index}", "fps": FPS, "seconds": SECONDS}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.bench.fleet_process", json.dumps(asked)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _line(writer: subprocess.Popen[str]) -> str:
    assert writer.stdout is not None
    return writer.stdout.readline().strip()


def _end(writer: subprocess.Popen[str]) -> None:
    writer.kill()
    writer.communicate()


def _read_back(url: str, stream: str) -> int:
    """Entries that a reader gets, each decoded, none twice."""
    client = connect(url, timeout=30.0)
    reader = StreamReader(client, keys=StreamKeys(stream))
    reader.refresh()
    seen: Counter[tuple[str, int]] = Counter()
    while data := reader.read():
        seen.update((datum.actor, datum.seq) for datum in data)
    client.close()
    return len(seen)
