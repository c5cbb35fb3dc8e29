"""The stream against bare redis-py, with the client that it makes by itself, and NumPy doing the same bytes."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import tempfile
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import redis
from pamiq_core.data import DataUsersDict

from common.exposure import Exposure
from common.messages import Datum
from common.stream import CaptureJournal, StreamKeys, StreamReader, StreamWriter, connect
from common.stream.writer import BATCH
from common.wire import decode, encode
from deploy.store import EmbeddedStore
from learner.ingest import Ingest
from learner.ledger import Ledger
from learner.replay import Fifo, ReplayBuffer, Uniform
from tests.bench.frames import RULE, datum
from tests.bench.measure import Result, rates, timed

FRAMES = 2000
KEYS = StreamKeys("bench")
ACTORS = ("a", "b", "c", "d")


def writer() -> list[Result]:
    """`StreamWriter` against a bare pipeline of XADDs of the same entries."""
    results: list[Result] = []
    for side in (96, 224):
        store = EmbeddedStore(512 * 2**20)
        client = redis.Redis.from_url(store.url)
        one, folder = datum(side), Path(tempfile.mkdtemp())

        def ours(url: str = store.url, one: Datum = one, folder: Path = folder) -> float:
            journal = CaptureJournal(folder / f"{time.time_ns()}.journal")
            ending = StreamWriter(
                lambda: connect(url),
                keys=StreamKeys(f"ours-{time.time_ns()}"),
                actor="a",
                journal=journal,
                length=100,
                spool=2 * FRAMES,
            )

            ending.put(one)  # opens the connection, as the bare client's is open
            while ending.counts().spooled:
                time.sleep(0.001)

            def work() -> None:
                for _ in range(FRAMES):
                    ending.put(one)
                while ending.counts().spooled:
                    time.sleep(0.0005)

            rate = timed(work, FRAMES)
            ending.close()
            return rate

        def bare(client: Any = client, one: Datum = one) -> float:
            fields = cast(Any, encode(one))
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
        results.append(Result(what=what, ours=f"{a:.0f}/s", limit=f"{b:.0f}/s bare XADD", ratio=ratio, least=0.8))
        client.close()
        store.stop()
    return results


def reader() -> list[Result]:
    """Four actors' streams into a replay buffer that is full, against a bare XREAD loop.

    Once in one thread: decode, exposure rule, ledger, buffer. Once as a learner has it, through the ingest's thread and
    pamiq-core's DataCollector and DataUser, where two threads share the interpreter.
    """
    store = EmbeddedStore(512 * 2**20)
    client = redis.Redis.from_url(store.url)
    for actor in ACTORS:
        client.sadd(KEYS.actors, actor)
        for number in range(FRAMES // len(ACTORS)):
            entry = cast(Any, encode(datum(96, actor=actor, number=number)._replace(seq=number + 1, ordinal=number)))
            client.xadd(KEYS.frames(actor), entry, id=f"{number + 1}-0")
        client.hset(KEYS.written, actor, FRAMES // len(ACTORS))
    ledger, ingests = Ledger(), list[Ingest]()

    def admit(one: Datum) -> int:
        if ingests:
            ingests[-1].note_added()
        return ledger.admit(one, step=0, now_ns=0)

    buffer = ReplayBuffer((96, 96), keep=Fifo(FRAMES // 2), draw=Uniform(seed=0), admit=admit)

    def alone() -> float:
        reading = StreamReader(connect(store.url), keys=KEYS)
        reading.refresh()

        def work() -> None:
            while found := reading.read():
                for one in found:
                    assert one.experience == RULE.experience(one.visit, one.visit_time)
                    if RULE.classify(one.visit, one.visit_time) is Exposure.EXPOSED:
                        buffer.add(one)

        return timed(work, FRAMES)

    def learner() -> float:
        users = DataUsersDict.from_data_buffers({"frames": buffer})
        reading = StreamReader(connect(store.url), keys=KEYS)
        ingest = Ingest(
            reading,
            rule=RULE,
            collectors={"frames": users.data_collectors_dict.acquire("frames")},
            image_shape=(96, 96, 3),
            noted=lambda _: None,
        )
        ingests.append(ingest)

        def work() -> None:
            ingest.start()
            while sum(position.ordinal for position in list(reading.positions.values())) < FRAMES:
                users["frames"].update()
                time.sleep(0.005)
            users["frames"].update()

        rate = timed(work, FRAMES)
        ingest.close()
        ingests.clear()
        return rate

    def bare() -> float:
        def work() -> None:
            after = dict.fromkeys(map(KEYS.frames, ACTORS), "0-0")
            while reply := client.xread(cast(Any, after), count=32):
                for key, entries in cast(Any, reply):
                    after[key.decode()] = entries[-1][0]

        return timed(work, FRAMES)

    results: list[Result] = []
    for what, ours, least in (("decode, admit, store", alone, 0.6), ("ingest thread, DataUser, buffer", learner, None)):
        a, b, ratio = rates(ours, bare, rounds=15)
        limit = f"{b:.0f}/s bare XREAD"
        results.append(Result(what=f"reader, 28 kB: {what}", ours=f"{a:.0f}/s", limit=limit, ratio=ratio, least=least))
    client.close()
    store.stop()
    return results


def sample() -> list[Result]:
    """`ReplayBuffer.sample` against a plain NumPy gather; `decode` is shown beside."""
    buffer = ReplayBuffer((224, 224), keep=Fifo(1024), draw=Uniform(seed=0), admit=lambda _: 0)
    one = datum(224)
    for _ in range(1024):
        buffer.add(one)
    frames = buffer.get_data()
    generator = np.random.default_rng(0)
    a, b, ratio = rates(
        lambda: timed(lambda: [buffer.sample(64) for _ in range(20)], 20 * 64),
        lambda: timed(lambda: [frames[generator.integers(1024, size=64)] for _ in range(20)], 20 * 64),
    )
    fields = encode(one._replace(seq=1, ordinal=0))
    rate = timed(lambda: [decode(fields) for _ in range(2000)], 2000)
    return [
        Result(what="sample(64), 224×224×3", ours=f"{a:.0f}/s", limit=f"{b:.0f}/s gather", ratio=ratio, least=0.7),
        Result(what="decode, 224×224×3", ours=f"{rate:.0f}/s", limit="", ratio=None),
    ]
