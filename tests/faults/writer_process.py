"""One stream writer in a process of its own: `python -m tests.faults.writer_process '{"url": …, "folder": …}'`.

Each capture is first noted in the file `sensor`, eight bytes apiece, by nothing that counts; `counts.json` follows, and
`pace.json` tells how many were late.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from common.messages import Datum
from common.stream import CaptureJournal, StreamKeys, StreamWriter, connect

FPS = 30.0
ACTOR = "actor-0"
STREAM = "faults"


LATE = 0.2
"""Share of an interval after its deadline at which a frame counts as late."""


def dump(name: str, content: Mapping[str, Any], folder: Path) -> None:
    fresh = folder / f"{name}.json.new"
    fresh.write_text(json.dumps(content), "utf-8")
    fresh.replace(folder / f"{name}.json")


def main(url: str, folder: str, length: int, spool: int, actor: str = ACTOR, fps: float = FPS, side: int = 96) -> None:
    place = Path(folder)
    ended = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    sensor = os.open(place / "sensor", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    frames = np.random.default_rng(0).integers(0, 256, (8, side, side, 3), dtype=np.uint8)
    writer = StreamWriter(
        lambda: connect(url),
        keys=StreamKeys(STREAM),
        actor=actor,
        journal=CaptureJournal(place / f"{actor}.journal"),
        length=length,
        spool=spool,
    )
    began = due = time.monotonic()
    dumped = 0.0
    number = late = 0
    while not ended.is_set():
        late += time.monotonic() - due > LATE / fps
        now = time.time_ns()
        os.write(sensor, now.to_bytes(8, "little"))
        writer.put(
            Datum(
                buffer="frames",
                actor=actor,
                seq=0,
                visit=f"{actor}.1.0000",
                world="test",
                experience=f"{actor}.1.0000/0000",
                captured_ns=now,
                system_time=due - began,
                visit_time=due - began,
                weights_version=0,
                action=np.zeros(2, np.float32),
                labels=None,
                data=frames[number % len(frames)],
            )
        )
        number += 1
        if due - dumped >= 0.2:
            dump("counts", asdict(writer.counts()), place)
            dump("pace", {"late": late}, place)
            dumped = due
        due += 1 / fps
        ended.wait(max(0.0, due - time.monotonic()))
    writer.close()
    dump("counts", asdict(writer.counts()), place)
    dump("pace", {"late": late}, place)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
