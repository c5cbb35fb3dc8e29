"""What the ledger costs beside the step whose frames it books."""

import sys
import time
from itertools import count

import numpy as np
import torch

from common.config.presets import preset
from common.ijepa.model import IJepa
from learner.ledger import Ledger
from learner.step import TrainingStep
from tests.bench.frames import datum
from tests.bench.measure import Result, rates

ROWS = 4096


def ledger() -> list[Result]:
    """Admission of as many frames as a step earns and the booking of its batch, as a share of the demo's step."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = preset("demo")
    batch, side = run.learner.optim.batch_size, run.world.image_size[0]
    model = IJepa(run.learner.model, run.world.image_size, seed=0)
    step = TrainingStep(model, run.learner.optim, run.learner.masks, seed=0)
    frames = torch.randint(0, 256, (batch, *run.world.image_size, 3), dtype=torch.uint8)
    book, numbers, generator = Ledger(), count(), np.random.default_rng(0)
    one = datum(side)
    for number in range(ROWS):
        book.admit(one._replace(experience=f"e{number}"), step=0, now_ns=0)
    admitted = max(1, round(batch / run.learner.replay.replay_ratio))
    batches = [generator.integers(ROWS, size=batch).astype(np.int32) for _ in range(200)]
    data = [one._replace(experience=f"e{number}") for number in range(admitted)]

    def ours() -> float:
        began = time.perf_counter()
        for rows_B in batches:
            for new in data:
                book.admit(new, step=0, now_ns=0)
            book.expose(rows_B, step=next(numbers), now_ns=0)
        return (time.perf_counter() - began) / len(batches)

    def stepping() -> float:
        began = time.perf_counter()
        step(frames)
        return time.perf_counter() - began

    booking, stepped, share = rates(ours, stepping, rounds=5)
    began = time.perf_counter()
    news = book.news(1).pack()
    packing = time.perf_counter() - began
    torch.set_num_threads(threads)
    return [
        Result(
            what=f"ledger, {admitted} admitted and {batch} used, of the demo's step",
            ours=f"{booking * 1e6:.0f} µs",
            limit=f"{stepped * 1e3:.0f} ms step",
            ratio=share,
            most=0.02,
        ),
        Result(
            what=f"ledger, {ROWS} rows in a payload",
            ours=f"{packing * 1e3:.1f} ms, {len(news) / ROWS:.0f} bytes a row, {_memory(book) / ROWS:.0f} in memory",
            limit="",
        ),
    ]


def _memory(book: Ledger) -> int:
    """Bytes of everything that the ledger refers to, shared text counted once."""
    seen: set[int] = set()
    todo: list[object] = [vars(book)]
    total = 0
    while todo:
        thing = todo.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        total += thing.nbytes if isinstance(thing, np.ndarray) else sys.getsizeof(thing)
        if isinstance(thing, dict):
            todo += [*thing.keys(), *thing.values()]
        elif isinstance(thing, list):
            todo += thing
    return total
