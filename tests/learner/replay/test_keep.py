"""Keepers: the property that defines each, with fixed seeds and bounds from theory."""

import math
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from pamiq_core.data.impls import RandomReplacementBuffer

from common.config import Keep, ReplayConfig
from common.errors import ConfigError
from learner.replay import Fifo, Keeper, LogAge, RandomReplacement, Reservoir, TwoTier, replace_probability


def fed(keeper: Keeper, frames: int) -> NDArray[np.int64]:
    """Numbers of the frames held, by slot, after so many."""
    held = np.full(keeper.capacity, -1, np.int64)
    for serial in range(frames):
        slot = keeper.place(serial)
        if slot is not None:
            held[slot] = serial
    return held


def chi_squared(counts: NDArray[np.int64]) -> float:
    """Distance of counts from equal ones."""
    return float(((counts - counts.mean()) ** 2 / counts.mean()).sum())


def test_fifo_holds_the_newest() -> None:
    assert sorted(fed(Fifo(10), 37)) == list(range(27, 37))


def test_a_reservoir_is_uniform_over_the_past() -> None:
    """400 reservoirs of 20 among 200 frames, in 10 tenths of the past; drawn without replacement, so the statistic is
    0.9 times a chi-squared one, 9 degrees of freedom, p = 0.001."""
    tenths = np.zeros(10, np.int64)
    for seed in range(400):
        held = fed(Reservoir(20, seed=seed), 200)
        assert len(set(held.tolist())) == 20
        tenths += np.bincount(held // 20, minlength=10)
    assert tenths.sum() == 8000
    assert chi_squared(tenths) < 27.9


class TestRandomReplacement:
    CAPACITY = 1000
    SURVIVAL = 36_000

    @pytest.mark.parametrize(("capacity", "survival"), [(1000, 36_000), (512, 432_000), (16, 5), (64, 300)])
    def test_its_chance_is_pamiq_core_s(self, capacity: int, survival: int) -> None:
        theirs = RandomReplacementBuffer[int].compute_replace_probability_from_expected_survival_length(
            capacity, survival
        )
        assert replace_probability(capacity, survival) == pytest.approx(theirs, rel=1e-12)

    def test_without_a_survival_time_every_frame_is_kept(self) -> None:
        keeper = RandomReplacement(50, survival=0, seed=0)
        assert all(keeper.place(serial) is not None for serial in range(2000))

    def test_a_kept_frame_lives_geometrically(self) -> None:
        """Mean life C ÷ p = survival ÷ (ln C + γ) = 4810 frames; of the first C a share (1 − p ÷ C)^t is left."""
        keeper = RandomReplacement(self.CAPACITY, survival=self.SURVIVAL, seed=1)
        mean = self.SURVIVAL / (math.log(self.CAPACITY) + 0.5772)
        assert self.CAPACITY / keeper.probability == pytest.approx(mean, rel=1e-4)
        replaced = np.zeros(self.CAPACITY, np.int64)
        left: dict[int, int] = {}
        for frame in range(40_000):
            slot = keeper.place(self.CAPACITY + frame)
            if slot is not None:
                replaced[slot] += 1
            if frame + 1 in (1000, 5000, 10_000):
                left[frame + 1] = int((replaced == 0).sum())
        lives = replaced.sum()
        assert self.CAPACITY * 40_000 / lives == pytest.approx(mean, rel=4 / math.sqrt(lives))
        # Uniform over slots: 999 degrees of freedom, 4 standard deviations.
        assert abs(chi_squared(replaced) - 999) < 4 * math.sqrt(2 * 999)
        for frames, found in left.items():
            share = (1 - keeper.probability / self.CAPACITY) ** frames
            assert found / self.CAPACITY == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / self.CAPACITY))

    def test_all_are_replaced_after_the_survival_time(self) -> None:
        """The coupon collector's time has mean `survival` and a standard deviation of about π/√6 · C ÷ p."""
        capacity, survival, trials = 40, 400, 200
        keeper = RandomReplacement(capacity, survival=survival, seed=2)
        times: list[int] = []
        for _ in range(trials):
            missing, frames = set(range(capacity)), 0
            while missing:
                slot = keeper.place(capacity + frames)
                frames += 1
                if slot is not None:
                    missing.discard(slot)
            times.append(frames)
        error = math.pi / math.sqrt(6) * capacity / keeper.probability / math.sqrt(trials)
        assert np.mean(times) == pytest.approx(survival, abs=4 * error)

    def test_a_survival_time_that_cannot_be_reached_is_refused(self) -> None:
        least = math.ceil(1024 * (math.log(1024) + 0.5772156649015329))
        config = ReplayConfig(capacity=1024, keep=Keep.RANDOM_REPLACEMENT, survival=least)
        assert replace_probability(config.capacity, config.survival) == pytest.approx(1.0, abs=1e-3)
        with pytest.raises(
            ConfigError, match=rf"learner\.replay\.survival = {least - 1}: must be 0 or at least {least}"
        ):
            ReplayConfig(capacity=1024, keep=Keep.RANDOM_REPLACEMENT, survival=least - 1)


class TestTwoTier:
    def test_the_short_tier_is_exactly_the_newest(self) -> None:
        keeper, held = TwoTier(30, newest=7, seed=0), np.full(30, -1, np.int64)
        for serial in range(400):
            slot = keeper.place(serial)
            assert slot is not None
            held[slot] = serial
            assert set(range(max(0, serial - 6), serial + 1)) <= set(held.tolist())
            short = keeper.arrays()["order"][keeper.capacity - keeper.newest :]
            if serial >= 30:
                assert set(held[short].tolist()) == set(range(serial - 6, serial + 1))

    def test_the_long_tier_is_uniform_over_all_that_left(self) -> None:
        """400 reservoirs of 20 among the 200 frames that left; as for the reservoir alone."""
        tenths = np.zeros(10, np.int64)
        for seed in range(400):
            held = fed(TwoTier(25, newest=5, seed=seed), 205)
            long = held[held < 200]
            assert len(set(long.tolist())) == 20
            tenths += np.bincount(long // 20, minlength=10)
        assert chi_squared(tenths) < 27.9


class TestLogAge:
    CAPACITY = 128

    @pytest.mark.parametrize("frames", [129, 1000, 20_000])
    def test_no_hole_is_wider_than_its_bound(self, frames: int) -> None:
        held = np.sort(fed(LogAge(self.CAPACITY), frames))
        widest = 2 * math.log(frames) / (self.CAPACITY - 1)
        assert len(set(held.tolist())) == self.CAPACITY
        assert (held[0], held[-1]) == (0, frames - 1)
        for older, younger in pairwise((frames - held).tolist()):
            assert older - younger == 1 or math.log(older / younger) <= widest

    def test_an_octave_holds_as_many_as_any_other(self) -> None:
        """Equal shares of what the octaves that are whole leave over, within a factor of 1.5; twice is proven."""
        frames = 2**15
        held = fed(LogAge(self.CAPACITY), frames)
        counts = np.bincount(np.floor(np.log2(frames - held)).astype(int))
        octaves = math.floor(math.log2(frames))
        whole = [octave for octave in range(octaves) if counts[octave] == 2**octave]
        thinned = counts[len(whole) : octaves]
        assert whole == list(range(len(whole)))
        assert thinned.min() >= (self.CAPACITY - 1) / (2 * math.log2(frames)) - 1
        assert thinned.max() <= 1.5 * thinned.min()

    def test_the_rule_by_hand(self) -> None:
        """Ages 5, 4, 3, 2 and a new one of 1: the neighbours' ratios are 5 ÷ 3, 4 ÷ 2 and 3 ÷ 1, so the second goes."""
        assert LogAge(4).place(4) == 1
