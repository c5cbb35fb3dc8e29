"""Limiter, ledger and ring: what is counted, against brute force."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from common.errors import CheckpointError
from common.messages import Datum
from learner.ledger import NEVER, Ledger
from learner.limiter import SampleToInsertLimiter
from learner.replay import ReplayRing

type Make = Callable[..., Datum]


class TestLimiter:
    def test_nothing_before_the_minimum_fill(self) -> None:
        limiter = SampleToInsertLimiter(ratio=4, min_fill=100, ahead=64, inserted=99)
        assert not limiter.allows(1)
        limiter.inserted = 100
        assert limiter.allows(64)
        assert not limiter.allows(65)

    def test_the_ratio_is_kept_in_the_long_run(self) -> None:
        limiter = SampleToInsertLimiter(ratio=3, min_fill=10, ahead=16)
        for _ in range(2000):
            limiter.inserted += 1
            while limiter.allows(8):
                limiter.sampled += 8
        assert abs(limiter.sampled - 3 * (2000 - 10)) <= 16
        assert limiter.achieved == pytest.approx(3, abs=0.05)


class TestLedger:
    def test_it_agrees_with_a_list_of_everything_that_happened(self, make_datum: Make) -> None:
        generator = np.random.default_rng(1)
        ledger, log = Ledger(), dict[str, list[int]]()
        rows: list[int] = []
        for step in range(1, 400):
            experience = f"e{generator.integers(step)}"
            rows.append(ledger.admit(make_datum(experience=experience), step=step, now_ns=step))
            log.setdefault(experience, [])
            batch = generator.choice(rows, size=16).astype(np.int32)
            ledger.expose(batch, step=step, now_ns=step * 10)
            for row in batch:
                log[ledger.experiences[row]].append(step)
        assert len(ledger) == len(log)
        table = ledger.table()
        for row, experience in enumerate(table["experience"]):
            uses = log[experience]
            assert table["exposures"][row] == len(uses)
            assert table["first_step"][row] == (uses[0] if uses else NEVER)
            assert table["last_step"][row] == (uses[-1] if uses else NEVER)
            assert table["last_ns"][row] == (uses[-1] * 10 if uses else NEVER)
        assert sum(table["frames"]) == 399

    def test_it_comes_back_from_its_table(self, make_datum: Make) -> None:
        ledger = Ledger()
        for number in range(700):
            ledger.admit(make_datum(experience=f"e{number}"), step=number, now_ns=number)
        table = json.loads(json.dumps(ledger.table()))
        again = Ledger.from_table(table)
        assert again.table() == ledger.table()
        assert again.admit(make_datum(experience="e5"), step=1, now_ns=1) == 5
        assert again.admit(make_datum(experience="new"), step=1, now_ns=1) == 700


class TestRing:
    def fill(self, ring: ReplayRing, make_datum: Make, numbers: range) -> None:
        for number in numbers:
            ring.add(make_datum(seq=number, data=np.full((4, 6, 3), number % 256, np.uint8)))

    def ring(self, capacity: int = 10) -> ReplayRing:
        return ReplayRing(capacity, (4, 6), seed=0, admit=lambda datum: datum.seq)

    def test_the_oldest_gives_way(self, make_datum: Make) -> None:
        ring = self.ring()
        self.fill(ring, make_datum, range(25))
        assert len(ring) == 10
        assert sorted(ring.get_data()[:, 0, 0, 0].tolist()) == list(range(15, 25))

    def test_a_frame_keeps_its_row(self, make_datum: Make) -> None:
        ring = self.ring()
        self.fill(ring, make_datum, range(25))
        batch = ring.sample(200)
        assert batch.frames_BHWC.shape == (200, 4, 6, 3)
        assert np.array_equal(batch.frames_BHWC[:, 0, 0, 0], batch.rows_B)

    def test_sampling_is_uniform(self, make_datum: Make) -> None:
        ring = self.ring()
        self.fill(ring, make_datum, range(10))
        counts = np.bincount(ring.sample(20_000).rows_B, minlength=10)
        assert (((counts - 2000) ** 2) / 2000).sum() < 27.9  # chi-squared, 9 degrees of freedom, p = 0.001

    def test_a_batch_is_a_copy(self, make_datum: Make) -> None:
        ring = self.ring(2)
        self.fill(ring, make_datum, range(2))
        batch = ring.sample(4)
        before = batch.frames_BHWC.copy()
        self.fill(ring, make_datum, range(100, 104))
        assert np.array_equal(batch.frames_BHWC, before)

    def test_a_restored_ring_goes_on_alike(self, make_datum: Make) -> None:
        ring, again = self.ring(), self.ring()
        self.fill(ring, make_datum, range(13))
        again.restore(ring.arrays(), json.loads(json.dumps(ring.numbers())))
        self.fill(ring, make_datum, range(13, 17))
        self.fill(again, make_datum, range(13, 17))
        assert np.array_equal(ring.sample(64).rows_B, again.sample(64).rows_B)
        assert np.array_equal(ring.get_data(), again.get_data())

    def test_a_ring_of_another_size_is_refused(self, make_datum: Make) -> None:
        ring = self.ring(10)
        self.fill(ring, make_datum, range(10))
        with pytest.raises(CheckpointError, match="capacity"):
            self.ring(5).restore(ring.arrays(), ring.numbers())
