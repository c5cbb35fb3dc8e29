"""One reader into a replay ring: `python -m tests.soak.reader_process '{"url": …, "folder": …, "capacity": …}'`.

Draws a batch each second, as a learner does, and keeps `read.json` up to date; on SIGTERM reads what is left, and ends.
"""

import json
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from common.stream import StreamKeys, StreamReader, connect
from learner.replay import ReplayRing
from tests.faults.writer_process import STREAM

BATCH = 64


def main(url: str, folder: Path, capacity: int, side: int) -> None:
    ended = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    ring = ReplayRing(capacity, (side, side), seed=0, admit=lambda _: 0)
    reader = StreamReader(connect(url), keys=StreamKeys(STREAM))
    admitted: Counter[str] = Counter()

    def read() -> int:
        found = reader.read()
        for datum in found:
            ring.add(datum)
            admitted[datum.actor] += 1
        return len(found)

    def dump() -> None:
        unread = reader.unread()
        actors = {
            actor: asdict(position) | {"admitted": admitted[actor], "unread": unread[actor]}
            for actor, position in reader.positions.items()
        }
        fresh = folder / "read.json.new"
        fresh.write_text(json.dumps({"ring": len(ring), "actors": actors}), "utf-8")
        fresh.replace(folder / "read.json")

    due = time.monotonic()
    while not ended.is_set():
        if not read():
            ended.wait(0.01)
        if time.monotonic() >= due:
            due += 1.0
            reader.refresh()
            if len(ring):
                ring.sample(BATCH)
            dump()
    while read():
        pass
    dump()


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    main(asked["url"], Path(asked["folder"]), asked["capacity"], asked["side"])
