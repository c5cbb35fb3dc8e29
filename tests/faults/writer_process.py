"""One stream writer in a process of its own: `python -m tests.faults.writer_process '{"url": …, "folder": …}'`.

Each capture is first noted in the file `sensor`, eight bytes apiece, by nothing that counts; `counts.json` follows.
"""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import numpy as np

from common.messages import Datum
from common.stream import CaptureJournal, StreamKeys, StreamWriter, connect

FPS = 30.0
ACTOR = "actor-0"
STREAM = "faults"


def dump(writer: StreamWriter, folder: Path) -> None:
    fresh = folder / "counts.json.new"
    fresh.write_text(json.dumps(asdict(writer.counts())), "utf-8")
    fresh.replace(folder / "counts.json")


def main(url: str, folder: Path, length: int, spool: int) -> None:
    ended = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    sensor = os.open(folder / "sensor", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    frames = np.random.default_rng(0).integers(0, 256, (8, 96, 96, 3), dtype=np.uint8)
    writer = StreamWriter(
        lambda: connect(url),
        keys=StreamKeys(STREAM),
        actor=ACTOR,
        journal=CaptureJournal(folder / f"{ACTOR}.journal"),
        length=length,
        spool=spool,
    )
    began = due = time.monotonic()
    dumped = 0.0
    number = 0
    while not ended.is_set():
        now = time.time_ns()
        os.write(sensor, now.to_bytes(8, "little"))
        writer.put(
            Datum(
                buffer="frames",
                actor=ACTOR,
                seq=0,
                visit=f"{ACTOR}.1.0000",
                world="test",
                experience=f"{ACTOR}.1.0000/0000",
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
            dump(writer, folder)
            dumped = due
        due += 1 / FPS
        ended.wait(max(0.0, due - time.monotonic()))
    writer.close()
    dump(writer, folder)


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    main(asked["url"], Path(asked["folder"]), asked["length"], asked["spool"])
