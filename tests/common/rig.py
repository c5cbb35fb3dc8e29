"""A writer and readers on a real server, for tests of the stream."""

import time
from collections.abc import Callable
from pathlib import Path

from common.messages import Datum
from common.status import WriterCounts
from common.stream import CaptureJournal, StreamKeys, StreamReader, StreamWriter, connect

KEYS = StreamKeys("test")


def until(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)


def adds_up(counts: WriterCounts) -> bool:
    return counts.captured == counts.written + sum(counts.dropped.values()) + counts.spooled


class Rig:
    """A writer with its journal, and clients to look at the server."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.client = connect(url)
        self.journal = CaptureJournal(folder / "actor-0.journal")

    def writer(
        self, *, length: int = 1000, budget: int = 2**30, spool: int = 100, url: str = "", journal: str = ""
    ) -> StreamWriter:
        return StreamWriter(
            lambda: connect(url or self.url, timeout=0.5),
            keys=KEYS,
            actor="actor-0",
            journal=CaptureJournal(self.folder / journal) if journal else self.journal,
            length=length,
            budget=budget,
            spool=spool,
        )

    def reader(self, positions: dict[str, dict[str, int]] | None = None) -> StreamReader:
        reader = StreamReader(connect(self.url), keys=KEYS, positions=positions)
        reader.refresh()
        return reader


def read_all(reader: StreamReader) -> list[Datum]:
    data: list[Datum] = []
    while found := reader.read():
        data += found
    return data
