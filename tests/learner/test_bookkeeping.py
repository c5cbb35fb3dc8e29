"""Ledger and ring: what is counted, against brute force."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from common.errors import CheckpointError
from common.messages import Datum
from learner.ledger import NEVER, Ledger
from learner.replay import ReplayRing, staleness_weight

type Make = Callable[..., Datum]


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


class TestWeightedRing:
    HALF_LIFE = 10.0

    def ring(self, capacity: int = 8) -> ReplayRing:
        """Takes `seq` as the ledger row, and `visit_time` as the age of the weights that acted."""
        return ReplayRing(
            capacity,
            (4, 6),
            seed=0,
            admit=lambda datum: datum.seq,
            weigh=lambda datum: staleness_weight(datum.visit_time, self.HALF_LIFE),
        )

    def fill(self, ring: ReplayRing, make_datum: Make, ages: list[float], first: int = 0) -> None:
        for seq, age in enumerate(ages, first):
            ring.add(make_datum(seq=seq, visit_time=age, data=np.full((4, 6, 3), seq, np.uint8)))

    def chi_squared(self, ring: ReplayRing, expected: dict[int, float]) -> float:
        """Compares 20 000 draws with the shares that each row should have."""
        rows = np.concatenate([ring.sample(500).rows_B for _ in range(40)])
        assert set(rows.tolist()) <= expected.keys()
        shares = np.array(list(expected.values())) / sum(expected.values())
        counts = np.array([(rows == row).sum() for row in expected])
        return float(((counts - 20_000 * shares) ** 2 / (20_000 * shares)).sum())

    def test_a_half_life_halves_the_chance(self, make_datum: Make) -> None:
        ring = self.ring()
        ages = [0.0, 10.0, 20.0, 30.0, 5.0, 15.0, 0.0, 40.0]
        self.fill(ring, make_datum, ages)
        expected = {row: 0.5 ** (age / self.HALF_LIFE) for row, age in enumerate(ages)}
        assert self.chi_squared(ring, expected) < 24.3  # 7 degrees of freedom, p = 0.001

    def test_a_frame_that_replaces_another_brings_its_own_weight(self, make_datum: Make) -> None:
        ring = self.ring(3)
        self.fill(ring, make_datum, [0.0, 0.0])
        ring.sample(4)
        self.fill(ring, make_datum, [0.0, 10.0], first=2)
        assert self.chi_squared(ring, {1: 1.0, 2: 1.0, 3: 0.5}) < 13.8  # 2 degrees of freedom, p = 0.001

    def test_equal_weights_are_uniform_however_small(self, make_datum: Make) -> None:
        ring = self.ring()
        self.fill(ring, make_datum, [1e9] * 8)
        assert self.chi_squared(ring, dict.fromkeys(range(8), 1.0)) < 24.3

    def test_a_faded_frame_is_not_drawn_beside_a_fresh_one(self, make_datum: Make) -> None:
        ring = self.ring(2)
        self.fill(ring, make_datum, [1e9, 0.0])
        assert set(ring.sample(20_000).rows_B.tolist()) == {1}

    def test_without_weights_draws_are_the_generator_s_own_integers(self, make_datum: Make) -> None:
        ring = ReplayRing(10, (4, 6), seed=5, admit=lambda datum: datum.seq)
        self.fill(ring, make_datum, [1e9] * 10)
        assert np.array_equal(ring.sample(64).rows_B, np.random.default_rng(5).integers(10, size=64))
        assert ring.arrays().keys() == {"frames", "rows"}

    def test_weights_come_back_from_a_checkpoint(self, make_datum: Make) -> None:
        ring, again = self.ring(), self.ring()
        self.fill(ring, make_datum, [3.0 * number for number in range(11)])
        again.restore(ring.arrays(), json.loads(json.dumps(ring.numbers())))
        assert np.array_equal(ring.arrays()["weights"], again.arrays()["weights"])
        for one in (ring, again):
            self.fill(one, make_datum, [7.0], first=11)
        assert np.array_equal(ring.sample(256).rows_B, again.sample(256).rows_B)

    def test_frames_of_a_checkpoint_without_weights_weigh_one(self, make_datum: Make) -> None:
        plain = ReplayRing(8, (4, 6), seed=0, admit=lambda datum: datum.seq)
        self.fill(plain, make_datum, [1e9] * 4)
        ring = self.ring()
        ring.restore(plain.arrays(), plain.numbers())
        self.fill(ring, make_datum, [10.0], first=4)
        assert ring.arrays()["weights"].tolist() == [1.0, 1.0, 1.0, 1.0, 0.5]

    @pytest.mark.parametrize(("age", "weight"), [(None, 1.0), (-5.0, 1.0), (0.0, 1.0), (10.0, 0.5), (1e12, 2.0**-40)])
    def test_the_weight_of_an_age(self, age: float | None, weight: float) -> None:
        assert staleness_weight(age, self.HALF_LIFE) == weight
