"""The stream against bare redis-py and NumPy doing the same bytes."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import tempfile
import time
from pathlib import Path
from typing import Any, cast

import numpy as np

from common.messages import Datum
from common.stream import CaptureJournal, StreamKeys, StreamReader, StreamWriter, connect
from common.stream.writer import BATCH
from common.wire import decode, encode
from deploy.store import EmbeddedStore
from learner.replay import ReplayRing
from tests.bench.measure import Result, rates, timed

FRAMES = 2000
KEYS = StreamKeys("bench")


def _datum(side: int) -> Datum:
    return Datum(
        buffer="frames",
        actor="a",
        seq=0,
        visit="a.1.0000",
        world="freedoom2:map01",
        experience="a.1.0000/0000",
        captured_ns=time.time_ns(),
        system_time=1.0,
        visit_time=1.0,
        weights_version=1,
        action=np.zeros(4, np.float32),
        labels=None,
        data=np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8),
    )


def writer() -> list[Result]:
    """`StreamWriter` against a bare pipeline of XADDs of the same entries."""
    results: list[Result] = []
    for side in (96, 224):
        store = EmbeddedStore(512 * 2**20)
        client = connect(store.url)
        datum, folder = _datum(side), Path(tempfile.mkdtemp())

        def ours(url: str = store.url, datum: Datum = datum, folder: Path = folder) -> float:
            journal = CaptureJournal(folder / f"{time.time_ns()}.journal")
            ending = StreamWriter(
                lambda: connect(url),
                keys=StreamKeys(f"ours-{time.time_ns()}"),
                actor="a",
                journal=journal,
                length=100,
                spool=2 * FRAMES,
            )

            ending.put(datum)  # opens the connection, as the bare client's is open
            while ending.counts().spooled:
                time.sleep(0.001)

            def work() -> None:
                for _ in range(FRAMES):
                    ending.put(datum)
                while ending.counts().spooled:
                    time.sleep(0.0005)

            rate = timed(work, FRAMES)
            ending.close()
            return rate

        def bare(client: Any = client, datum: Datum = datum) -> float:
            fields = cast(Any, encode(datum))
            key = f"bare-{time.time_ns()}"

            def work() -> None:
                for first in range(0, FRAMES, BATCH):
                    with client.pipeline(transaction=False) as pipeline:
                        for number in range(first, min(first + BATCH, FRAMES)):
                            pipeline.xadd(key, fields, id=f"{number + 1}-0", maxlen=100)
                        pipeline.execute()

            return timed(work, FRAMES)

        a, b, ratio = rates(ours, bare)
        what = f"writer, {side * side * 3 / 1000:.0f} kB frames"
        results.append(Result(what=what, ours=f"{a:.0f}/s", limit=f"{b:.0f}/s bare XADD", ratio=ratio, goal="≥ 0.8"))
        client.close()
        store.stop()
    return results


def reader() -> list[Result]:
    """`StreamReader` into a ring against a bare XREAD loop."""
    store = EmbeddedStore(512 * 2**20)
    client = connect(store.url)
    datum, key = _datum(96), KEYS.frames("a")
    client.sadd(KEYS.actors, "a")
    for number in range(FRAMES):
        entry = cast(Any, encode(datum._replace(seq=number + 1, ordinal=number)))
        client.xadd(key, entry, id=f"{number + 1}-0")
    ring = ReplayRing(2 * FRAMES, (96, 96), seed=0, admit=lambda _: 0)

    def ours() -> float:
        reading = StreamReader(client, keys=KEYS)
        reading.refresh()

        def work() -> None:
            while data := reading.read():
                for one in data:
                    ring.add(one)

        return timed(work, FRAMES)

    def bare() -> float:
        def work() -> None:
            position = "0-0"
            while reply := client.xread({key: position}, count=32):
                ((_, entries),) = cast(Any, reply)
                position = entries[-1][0]

        return timed(work, FRAMES)

    a, b, ratio = rates(ours, bare)
    client.close()
    store.stop()
    limit = f"{b:.0f}/s bare XREAD"
    return [Result(what="reader into the ring, 28 kB", ours=f"{a:.0f}/s", limit=limit, ratio=ratio, goal="≥ 0.6")]


def sample() -> list[Result]:
    """`ReplayRing.sample` against a plain NumPy gather; `decode` is shown beside."""
    ring = ReplayRing(1024, (224, 224), seed=0, admit=lambda _: 0)
    one = _datum(224)
    for _ in range(1024):
        ring.add(one)
    frames = ring.get_data()
    generator = np.random.default_rng(0)
    a, b, ratio = rates(
        lambda: timed(lambda: [ring.sample(64) for _ in range(20)], 20 * 64),
        lambda: timed(lambda: [frames[generator.integers(1024, size=64)] for _ in range(20)], 20 * 64),
    )
    fields = encode(one._replace(seq=1, ordinal=0))
    rate = timed(lambda: [decode(fields) for _ in range(2000)], 2000)
    return [
        Result(what="sample(64), 224×224×3", ours=f"{a:.0f}/s", limit=f"{b:.0f}/s gather", ratio=ratio, goal="≥ 0.7"),
        Result(what="decode, 224×224×3", ours=f"{rate:.0f}/s", limit="", ratio=None, goal=""),
    ]
