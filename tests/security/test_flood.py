"""One actor that writes all it can, against a real server: the others keep their share of memory, reader and buffer."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import redis
from pamiq_core.data import DataUsersDict
from pamiq_core.data.impls import SequentialBuffer

from common.config import RunConfig
from common.exposure import ExposureRule
from common.messages import Datum
from common.signing import adopt
from common.stream import CaptureJournal, StreamKeys, StreamReader, StreamWriter, connect
from deploy.rundir import RunDirectory, read_rows
from deploy.stream_server import StreamServer
from learner.allowance import FACTOR, Allowance
from learner.ingest import Ingest
from tests.common.rig import adds_up, until
from tests.runs import small_run
from tests.security.servers import own_server

type Make = Callable[..., Datum]

KEY = bytes(range(32))
LIMIT = 96 * 2**20
BUDGET = 24 * 2**20
FPS = 40.0
RULE = ExposureRule(salt="x", block=3.0, withhold=False)


@dataclass
class Site:
    """A server with users for each part, and the driver's look at it."""

    run: RunConfig
    directory: RunDirectory
    server: StreamServer

    def client(self, part: str) -> Any:
        return connect(self.server.access.url(part))

    @property
    def keys(self) -> StreamKeys:
        return StreamKeys(self.server.stream)

    def writer(self, actor: str, folder: Path) -> StreamWriter:
        return StreamWriter(
            lambda: connect(self.server.access.url(actor)),
            keys=self.keys,
            actor=actor,
            journal=CaptureJournal(folder / f"{actor}.journal"),
            budget=self.run.stream.budget // self.run.actors.total,
            spool=100,
        )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("ENGRAM_STREAM_KEY", KEY.hex())
    small = small_run(tmp_path / "run", tmp_path / "cache")
    with own_server(tmp_path / "server", f"maxmemory {LIMIT}") as url:
        run = replace(
            small,
            redis_url=url,
            actors=replace(small.actors, count=3, fps=FPS, spool=1.0),
            stream=replace(small.stream, budget=BUDGET),
        )
        directory = RunDirectory(run.path)
        server = StreamServer(run, directory, say=directory.event)
        adopt(KEY)
        try:
            assert server.access.shared == ""
            yield Site(run, directory, server)
        finally:
            adopt(None)
            server.close(done=True)
            directory.close()


def frames(make_datum: Make, actor: str) -> Iterator[Datum]:
    """An actor's frames, random as those that no codec makes smaller, numbered by the experiences that they are of."""
    number = 0
    pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    while True:
        visit, moment = f"{actor}.1.0000", number / FPS
        yield make_datum(
            actor=actor, visit=visit, visit_time=moment, experience=RULE.experience(visit, moment), data=pixels
        )
        number += 1


def live(writer: StreamWriter, source: Iterator[Datum], stop: threading.Event) -> threading.Thread:
    """Writes as an honest actor does, on the beat."""

    def run() -> None:
        began, count = time.monotonic(), 0
        while not stop.is_set():
            writer.put(next(source)._replace(captured_ns=time.time_ns()))
            count += 1
            stop.wait(max(0.0, began + count / FPS - time.monotonic()))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_who_writes_without_end_costs_the_others_no_frame_and_no_time(
    site: Site, tmp_path: Path, make_datum: Make
) -> None:
    admitted: Counter[str] = Counter()
    waits: defaultdict[str, list[float]] = defaultdict(list)

    def noted(datum: Datum) -> None:
        admitted[datum.actor] += 1
        ingest.note_added()  # as the training thread says, which here has room for everything

    def passed(datum: Datum) -> None:
        waits[datum.actor].append(time.time() - datum.captured_ns / 1e9)

    users = DataUsersDict.from_data_buffers({"frames": SequentialBuffer[Any](10_000)})
    ingest = Ingest(
        StreamReader(site.client("learner"), keys=site.keys),
        rule=RULE,
        collectors={"frames": users.data_collectors_dict.acquire("frames")},
        image_shape=(48, 48, 3),
        noted=noted,
        passed=passed,
        allowed=Allowance(FACTOR * FPS, 100.0).grants,
    )
    stop = threading.Event()
    writers = {actor: site.writer(actor, tmp_path) for actor in ("actor-0", "actor-1", "actor-2")}
    honest = [live(writers[actor], frames(make_datum, actor), stop) for actor in ("actor-1", "actor-2")]
    ingest.start()
    began, source = time.monotonic(), frames(make_datum, "actor-0")
    while time.monotonic() - began < 8.0:
        writers["actor-0"].put(next(source)._replace(captured_ns=time.time_ns()))
        if writers["actor-0"].counts().spooled > 80:
            time.sleep(0.002)
    stop.set()
    for thread in honest:
        thread.join()
    lasted = time.monotonic() - began
    until(lambda: not any(count.unread for count in ingest.counts().values()), 20)
    ingest.close()
    counts = {actor: writer.counts() for actor, writer in writers.items()}
    for writer in writers.values():
        writer.close()
    read = ingest.counts()
    assert counts["actor-0"].written > 5 * counts["actor-1"].written, "it was a flood"
    for actor in ("actor-1", "actor-2"):
        assert adds_up(counts[actor])
        assert counts[actor].lost == 0
        assert (read[actor].missed, read[actor].gated, read[actor].foreign) == (0, 0, 0)
        assert read[actor].admitted == counts[actor].written
        assert float(np.percentile(waits[actor][80:], 99)) < 1.0, "seconds; a reader finds who is new within one"
    assert admitted["actor-0"] <= 100 + FACTOR * FPS * (lasted + 20)
    assert read["actor-0"].gated > counts["actor-0"].written / 3
    total = sum(admitted.values())
    assert (admitted["actor-1"] + admitted["actor-2"]) / total > 0.35, admitted


def test_who_does_not_trim_its_stream_is_cut_to_its_share(site: Site, tmp_path: Path, make_datum: Make) -> None:
    """A stranger with an actor's password: it signs nothing, trims nothing, and writes megabytes."""
    stop, key = threading.Event(), site.keys.frames("actor-0")
    honest = {actor: site.writer(actor, tmp_path) for actor in ("actor-1", "actor-2")}
    threads = [live(writer, frames(make_datum, actor), stop) for actor, writer in honest.items()]
    sent, refused, most, sizes = 0, 0, 0, Counter[str]()
    with site.client("actor-0") as stranger:
        for _ in range(200):  # small ones first: an estimate from the first nodes would be deceived
            stranger.xadd(key, {"v": "1", "data": b"x"})
        began = looked = time.monotonic()
        while time.monotonic() - began < 6.0:
            try:
                stranger.xadd(key, {"v": "1", "data": bytes(2**18)})
                sent += 2**18
            except redis.OutOfMemoryError:
                refused += 1
            if time.monotonic() - looked > 0.5:
                looked = time.monotonic()
                status = site.server.look()
                assert status.up
                most = max(most, status.memory)
            time.sleep(0.003)
    time.sleep(1.0)
    site.server.look()
    stop.set()
    for thread in threads:
        thread.join()
    until(lambda: not any(writer.counts().spooled for writer in honest.values()), 10)
    with connect(site.run.redis_url) as client:
        for actor in ("actor-0", "actor-1", "actor-2"):
            sizes[actor] = int(cast(Any, client).memory_usage(site.keys.frames(actor), samples=0))
    assert sent > 2 * BUDGET, "it was a flood"
    for actor, writer in honest.items():
        counts = writer.counts()
        writer.close()
        assert (counts.lost, counts.spooled) == (0, 0)
        assert counts.written > 6 * FPS
        assert sizes[actor] > 0.5 * min(BUDGET / 3, counts.written * 48 * 48 * 3)
    assert sizes["actor-0"] <= 1.5 * BUDGET / 3 + 2**18
    assert most < LIMIT
    told = [row for row in read_rows(site.directory.path / "events.jsonl") if row["kind"] == "stream_cut"]
    assert [(row["actor"], row["share"]) for row in told] == [("actor-0", BUDGET // 3)]
    assert refused == 0, "the server was never full"
