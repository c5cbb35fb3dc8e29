"""One stream writer of a fleet, without torch: `python -m tests.bench.fleet_process '{"url": …, "actor": …}'`.

Says `ready` once it has written its first frames, takes the moment to begin (CLOCK_MONOTONIC, seconds) from standard
input, writes, and ends with one line of JSON.
"""

import json
import random
import resource
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common.stream import CaptureJournal, StreamKeys, StreamWriter, connect
from tests.bench.frames import datum

SIDE = 96
WARM_UP = 5
"""Frames before the window: the connection is open and every path has been taken once."""


def used() -> float:
    """CPU seconds of this process so far, all threads, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(url: str, stream: str, actor: str, fps: float, seconds: float) -> dict[str, Any]:
    """Writes for as long as asked; returns the accounting."""
    journal = CaptureJournal(Path(tempfile.mkdtemp()) / f"{actor}.journal")
    writer = StreamWriter(
        lambda: connect(url), keys=StreamKeys(stream), actor=actor, journal=journal, length=10_000, spool=300
    )

    def put(number: int) -> None:
        writer.put(datum(SIDE, actor=actor, number=number))

    for number in range(WARM_UP):
        put(number)
        time.sleep(0.02)
    while writer.counts().spooled:
        time.sleep(0.01)
    loaded = {"torch", "ray"} & sys.modules.keys()
    print("ready" if not loaded else f"must not be loaded: {', '.join(sorted(loaded))}", flush=True)

    began = due = float(sys.stdin.readline()) + random.random() / fps
    count, late = round(seconds * fps), 0
    time.sleep(max(0.0, began - time.monotonic()))
    before = used()
    for number in range(count):
        late += time.monotonic() - due > 0.2 / fps
        put(WARM_UP + number)
        due += 1 / fps
        time.sleep(max(0.0, due - time.monotonic()))
    writer.close()
    spent = used() - before
    return asdict(writer.counts()) | {"cpu": spent, "frames": count, "late": late}


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))), flush=True)
