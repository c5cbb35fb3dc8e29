"""The buffer: every frame with what belongs to it under every strategy, and states that go on bit for bit."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.config import Draw, Keep, ReplayConfig
from common.errors import CheckpointError
from common.messages import Datum
from learner.replay import Fifo, ReplayBuffer, Uniform, staleness_weight

type Make = Callable[..., Datum]

DIM = 6
EVERY = [pytest.param(keep, draw, id=f"{keep}-{draw}") for keep in Keep for draw in Draw]
"""All strategies, by keep and draw."""


def config(**fields: Any) -> ReplayConfig:
    return replace(ReplayConfig(capacity=32, min_fill=8, newest=0.25, survival=300), **fields)


def built(
    keep: Keep = Keep.TWO_TIER, draw: Draw = Draw.LOSS_PRIORITISED, *, weighted: bool = False, **fields: Any
) -> ReplayBuffer:
    """Takes `seq` as the ledger row, and `visit_time` as the weight."""
    return ReplayBuffer.from_config(
        config(keep=keep, draw=draw, **fields),
        (4, 6),
        dim=DIM,
        seed=3,
        admit=lambda datum: datum.seq,
        weigh=(lambda datum: 1.0 + datum.visit_time) if weighted else None,
    )


def live(buffer: ReplayBuffer, make_datum: Make, numbers: range) -> list[int]:
    """Adds frames that hold their number, and lets training find something about a batch every fifth; its numbers."""
    drawn: list[int] = []
    for number in numbers:
        frame = np.full((4, 6, 3), number % 256, np.uint8)
        buffer.add(make_datum(seq=number, captured_ns=number, visit_time=float(number % 7), data=frame))
        if number % 5 == 4:
            batch = buffer.sample(16)
            assert np.array_equal(batch.frames_BHWC[:, 0, 0, 0], batch.rows_B % 256)
            assert np.array_equal(batch.rows_B, batch.serials_B)
            assert set(batch.fresh_F2[:, 0].tolist()) <= set(batch.rows_B.tolist())
            found = np.random.default_rng(number)
            losses_B = found.random(16).astype(np.float32)
            features_BD = found.normal(size=(16, DIM)).astype(np.float32)
            buffer.learned(batch.slots_B, batch.serials_B, losses_B=losses_B, features_BD=features_BD)
            drawn += batch.rows_B.tolist()
    return drawn


@pytest.mark.parametrize(("keep", "draw"), EVERY)
class TestEveryStrategy:
    def test_a_frame_and_what_belongs_to_it_stay_together(self, make_datum: Make, keep: Keep, draw: Draw) -> None:
        buffer = built(keep, draw)
        drawn = live(buffer, make_datum, range(500))
        arrays = buffer.arrays()
        assert len(buffer) == 32 == len(set(arrays["serials"].tolist()))
        assert np.array_equal(arrays["rows"], arrays["serials"])
        assert np.array_equal(arrays["frames"][:, 3, 5, 2], arrays["serials"] % 256)
        assert buffer.added == 500
        assert (buffer.left_out > 0) == (keep in (Keep.RESERVOIR, Keep.RANDOM_REPLACEMENT))
        assert set(drawn) <= set(range(500))

    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("frames", [20, 213])
    def test_one_that_was_killed_goes_on_alike(
        self, make_datum: Make, keep: Keep, draw: Draw, frames: int, weighted: bool
    ) -> None:
        buffer, again = (built(keep, draw, weighted=weighted) for _ in range(2))
        live(buffer, make_datum, range(frames))
        live(again, make_datum, range(7))  # what a restored one did before does not matter
        again.restore(buffer.arrays(), json.loads(json.dumps(buffer.numbers())))
        ahead = range(frames, frames + 150)
        assert live(buffer, make_datum, ahead) == live(again, make_datum, ahead)
        one, other = buffer.arrays(), again.arrays()
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name]) for name in one)
        assert buffer.numbers() == again.numbers()

    def test_all_is_kept_as_long_as_there_is_room(self, make_datum: Make, keep: Keep, draw: Draw) -> None:
        buffer = built(keep, draw)
        live(buffer, make_datum, range(32))
        assert sorted(buffer.arrays()["serials"].tolist()) == list(range(32))
        assert buffer.left_out == 0

    def test_a_faded_frame_is_not_drawn_beside_a_fresh_one(self, make_datum: Make, keep: Keep, draw: Draw) -> None:
        buffer = ReplayBuffer.from_config(
            config(keep=keep, draw=draw, capacity=16),
            (4, 6),
            dim=DIM,
            seed=0,
            admit=lambda datum: datum.seq,
            weigh=lambda datum: staleness_weight(datum.visit_time, 10.0),
        )
        for seq in range(16):
            buffer.add(make_datum(seq=seq, visit_time=1e9 * (seq % 4 > 0), data=np.zeros((4, 6, 3), np.uint8)))
        assert set(buffer.sample(5000).rows_B.tolist()) == {0, 4, 8, 12}


def test_choices_are_independent_of_each_other(make_datum: Make) -> None:
    """A buffer that is not full yet is drawn from alike, whatever it will keep; what is kept does not hang on draws."""
    drawn = {keep: tuple(live(built(keep, Draw.UNIFORM), make_datum, range(30))) for keep in Keep}
    assert len(set(drawn.values())) == 1
    kept: list[list[int]] = []
    for draw in Draw:
        buffer = built(Keep.RESERVOIR, draw)
        live(buffer, make_datum, range(90))
        kept.append(buffer.arrays()["serials"].tolist())
    assert kept[0] == kept[1] == kept[2]


def test_a_frame_that_is_left_out_is_admitted_all_the_same(make_datum: Make) -> None:
    admitted: list[int] = []
    buffer = ReplayBuffer.from_config(
        config(keep=Keep.RESERVOIR), (4, 6), dim=DIM, seed=0, admit=lambda datum: admitted.append(datum.seq) or 0
    )
    kept = 0
    for seq in range(200):
        buffer.add(make_datum(seq=seq, data=np.zeros((4, 6, 3), np.uint8)))
        kept += seq in buffer.arrays()["serials"]
    assert admitted == list(range(200))
    assert buffer.added == 200 == kept + buffer.left_out
    assert buffer.left_out > 0


def test_a_frame_is_fresh_once(make_datum: Make) -> None:
    buffer = built(Keep.FIFO, Draw.UNIFORM)
    for seq in range(50):
        buffer.add(make_datum(seq=seq, captured_ns=seq, data=np.zeros((4, 6, 3), np.uint8)))
    fresh = [moment for _ in range(40) for moment in buffer.sample(16).fresh_F2[:, 0].tolist()]
    assert sorted(fresh) == list(range(18, 50))


def test_late_news_of_a_replaced_frame_are_dropped(make_datum: Make) -> None:
    buffer = built(Keep.FIFO, Draw.LOSS_PRIORITISED)
    live(buffer, make_datum, range(32))
    batch = buffer.sample(64)
    live(buffer, make_datum, range(32, 36))
    before = buffer.arrays()["draw.priorities"]
    buffer.learned(batch.slots_B, batch.serials_B, losses_B=np.full(64, 9.0, np.float32))
    after = buffer.arrays()["draw.priorities"]
    told = set(batch.slots_B.tolist())
    assert told & set(range(4)), "the batch holds a frame that was replaced"
    for slot in range(32):
        news = slot in told and slot >= 4
        assert after[slot] == (pytest.approx(9.0**0.6) if news else before[slot])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"capacity": 64}, "capacity = 32 instead of 64"),
        ({"keep": Keep.RESERVOIR}, "keep = two_tier instead of reservoir"),
        ({"draw": Draw.NEWEST_MIX}, "draw = loss_prioritised instead of newest_mix"),
        ({"newest": 0.5}, "newest = 8 instead of 16"),
        ({"priority_exponent": 1.0}, "priority_exponent = 0.6 instead of 1.0"),
    ],
)
def test_a_state_of_other_settings_is_refused(make_datum: Make, fields: dict[str, Any], said: str) -> None:
    buffer, other = built(), built(**fields)
    live(buffer, make_datum, range(40))
    with pytest.raises(CheckpointError, match=said):
        other.restore(buffer.arrays(), json.loads(json.dumps(buffer.numbers())))


def test_features_of_another_width_are_refused(make_datum: Make) -> None:
    buffer, wider = (
        ReplayBuffer.from_config(config(keep=Keep.MINRED), (4, 6), dim=dim, seed=0, admit=lambda _: 0)
        for dim in (DIM, DIM + 1)
    )
    with pytest.raises(CheckpointError, match=f"dim = {DIM} instead of {DIM + 1}"):
        wider.restore(buffer.arrays(), buffer.numbers())


class TestFifo:
    def fill(self, buffer: ReplayBuffer, make_datum: Make, numbers: range) -> None:
        for number in numbers:
            buffer.add(make_datum(seq=number, data=np.full((4, 6, 3), number % 256, np.uint8)))

    def buffer(self, capacity: int = 10) -> ReplayBuffer:
        return ReplayBuffer((4, 6), keep=Fifo(capacity), draw=Uniform(seed=0), admit=lambda datum: datum.seq)

    def test_the_oldest_gives_way(self, make_datum: Make) -> None:
        buffer = self.buffer()
        self.fill(buffer, make_datum, range(25))
        assert len(buffer) == 10
        assert sorted(buffer.get_data()[:, 0, 0, 0].tolist()) == list(range(15, 25))

    def test_a_frame_keeps_its_row(self, make_datum: Make) -> None:
        buffer = self.buffer()
        self.fill(buffer, make_datum, range(25))
        batch = buffer.sample(200)
        assert batch.frames_BHWC.shape == (200, 4, 6, 3)
        assert np.array_equal(batch.frames_BHWC[:, 0, 0, 0], batch.rows_B)

    def test_sampling_is_uniform(self, make_datum: Make) -> None:
        buffer = self.buffer()
        self.fill(buffer, make_datum, range(10))
        counts = np.bincount(buffer.sample(20_000).rows_B, minlength=10)
        assert (((counts - 2000) ** 2) / 2000).sum() < 27.9  # chi-squared, 9 degrees of freedom, p = 0.001

    def test_a_batch_is_a_copy(self, make_datum: Make) -> None:
        buffer = self.buffer(2)
        self.fill(buffer, make_datum, range(2))
        batch = buffer.sample(4)
        before = batch.frames_BHWC.copy()
        self.fill(buffer, make_datum, range(100, 104))
        assert np.array_equal(batch.frames_BHWC, before)

    def test_a_restored_one_goes_on_alike(self, make_datum: Make) -> None:
        buffer, again = self.buffer(), self.buffer()
        self.fill(buffer, make_datum, range(13))
        again.restore(buffer.arrays(), json.loads(json.dumps(buffer.numbers())))
        self.fill(buffer, make_datum, range(13, 17))
        self.fill(again, make_datum, range(13, 17))
        assert np.array_equal(buffer.sample(64).rows_B, again.sample(64).rows_B)
        assert np.array_equal(buffer.get_data(), again.get_data())

    def test_a_buffer_of_another_size_is_refused(self, make_datum: Make) -> None:
        buffer = self.buffer(10)
        self.fill(buffer, make_datum, range(10))
        with pytest.raises(CheckpointError, match="capacity"):
            self.buffer(5).restore(buffer.arrays(), buffer.numbers())


class TestWeights:
    HALF_LIFE = 10.0

    def buffer(self, capacity: int = 8) -> ReplayBuffer:
        """Takes `seq` as the ledger row, and `visit_time` as the age of the weights that acted."""
        return ReplayBuffer(
            (4, 6),
            keep=Fifo(capacity),
            draw=Uniform(seed=0),
            admit=lambda datum: datum.seq,
            weigh=lambda datum: staleness_weight(datum.visit_time, self.HALF_LIFE),
        )

    def fill(self, buffer: ReplayBuffer, make_datum: Make, ages: list[float], first: int = 0) -> None:
        for seq, age in enumerate(ages, first):
            buffer.add(make_datum(seq=seq, visit_time=age, data=np.full((4, 6, 3), seq, np.uint8)))

    def chi_squared(self, buffer: ReplayBuffer, expected: dict[int, float]) -> float:
        """Compares 20 000 draws with the shares that each row should have."""
        rows = np.concatenate([buffer.sample(500).rows_B for _ in range(40)])
        assert set(rows.tolist()) <= expected.keys()
        shares = np.array(list(expected.values())) / sum(expected.values())
        counts = np.array([(rows == row).sum() for row in expected])
        return float(((counts - 20_000 * shares) ** 2 / (20_000 * shares)).sum())

    def test_a_half_life_halves_the_chance(self, make_datum: Make) -> None:
        buffer = self.buffer()
        ages = [0.0, 10.0, 20.0, 30.0, 5.0, 15.0, 0.0, 40.0]
        self.fill(buffer, make_datum, ages)
        expected = {row: 0.5 ** (age / self.HALF_LIFE) for row, age in enumerate(ages)}
        assert self.chi_squared(buffer, expected) < 24.3  # 7 degrees of freedom, p = 0.001

    def test_a_frame_that_replaces_another_brings_its_own_weight(self, make_datum: Make) -> None:
        buffer = self.buffer(3)
        self.fill(buffer, make_datum, [0.0, 0.0])
        buffer.sample(4)
        self.fill(buffer, make_datum, [0.0, 10.0], first=2)
        assert self.chi_squared(buffer, {1: 1.0, 2: 1.0, 3: 0.5}) < 13.8  # 2 degrees of freedom, p = 0.001

    def test_equal_weights_are_uniform_however_small(self, make_datum: Make) -> None:
        buffer = self.buffer()
        self.fill(buffer, make_datum, [1e9] * 8)
        assert self.chi_squared(buffer, dict.fromkeys(range(8), 1.0)) < 24.3

    def test_a_faded_frame_is_not_drawn_beside_a_fresh_one(self, make_datum: Make) -> None:
        buffer = self.buffer(2)
        self.fill(buffer, make_datum, [1e9, 0.0])
        assert set(buffer.sample(20_000).rows_B.tolist()) == {1}

    def test_without_weights_draws_are_the_generator_s_own_integers(self, make_datum: Make) -> None:
        buffer = ReplayBuffer((4, 6), keep=Fifo(10), draw=Uniform(seed=5), admit=lambda datum: datum.seq)
        self.fill(buffer, make_datum, [1e9] * 10)
        assert np.array_equal(buffer.sample(64).rows_B, np.random.default_rng(5).integers(10, size=64))
        assert buffer.arrays().keys() == {"frames", "rows", "serials"}

    def test_weights_come_back_from_a_checkpoint(self, make_datum: Make) -> None:
        buffer, again = self.buffer(), self.buffer()
        self.fill(buffer, make_datum, [3.0 * number for number in range(11)])
        again.restore(buffer.arrays(), json.loads(json.dumps(buffer.numbers())))
        assert np.array_equal(buffer.arrays()["weights"], again.arrays()["weights"])
        for one in (buffer, again):
            self.fill(one, make_datum, [7.0], first=11)
        assert np.array_equal(buffer.sample(256).rows_B, again.sample(256).rows_B)

    def test_frames_of_a_checkpoint_without_weights_weigh_one(self, make_datum: Make) -> None:
        plain = ReplayBuffer((4, 6), keep=Fifo(8), draw=Uniform(seed=0), admit=lambda datum: datum.seq)
        self.fill(plain, make_datum, [1e9] * 4)
        buffer = self.buffer()
        buffer.restore(plain.arrays(), plain.numbers())
        self.fill(buffer, make_datum, [10.0], first=4)
        assert buffer.arrays()["weights"].tolist() == [1.0, 1.0, 1.0, 1.0, 0.5]

    @pytest.mark.parametrize(("age", "weight"), [(None, 1.0), (-5.0, 1.0), (0.0, 1.0), (10.0, 0.5), (1e12, 2.0**-40)])
    def test_the_weight_of_an_age(self, age: float | None, weight: float) -> None:
        assert staleness_weight(age, self.HALF_LIFE) == weight
