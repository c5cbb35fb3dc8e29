"""Drawers: the property that defines each, with fixed seeds and bounds from theory."""

import numpy as np
import pytest
from numpy.typing import NDArray

from common.exposure import is_rehearsed
from learner.replay import Drawer, LossPrioritised, NewestMix, Rehearsal, Uniform

DRAWS = 40_000
SERIALS = np.array([5, 3, 8, 1, 9, 2, 7, 4])
"""The newest four lie in the slots 4, 2, 6 and 0."""
BOUND = 24.3
"""Chi-squared, 7 degrees of freedom, p = 0.001."""


def chi_squared(slots: NDArray[np.int64], chances: NDArray[np.float64]) -> float:
    expected = len(slots) * chances / chances.sum()
    return float(((np.bincount(slots, minlength=len(chances)) - expected) ** 2 / expected).sum())


def prioritised(exponent: float) -> LossPrioritised:
    return LossPrioritised(16, exponent=exponent, seed=1)


@pytest.mark.parametrize("weights", [None, np.linspace(0.2, 1.0, 8)])
def test_uniform_is_uniform_but_for_the_weights(weights: NDArray[np.float64] | None) -> None:
    slots = Uniform(seed=0).draw(DRAWS, SERIALS, weights)
    assert chi_squared(slots, np.ones(8) if weights is None else weights) < BOUND


class TestLossPrioritised:
    LOSSES = np.array([0.1, 0.2, 0.4, 0.8, 0.1, 0.3, 0.5, 0.7], np.float32)

    @pytest.mark.parametrize("weights", [None, np.linspace(0.2, 1.0, 8)])
    @pytest.mark.parametrize("exponent", [0.0, 0.6, 2.0])
    def test_chances_are_a_power_of_the_losses(self, exponent: float, weights: NDArray[np.float64] | None) -> None:
        drawer = prioritised(exponent)
        drawer.learned(np.arange(8), self.LOSSES)
        chances = self.LOSSES.astype(np.float64) ** exponent * (1.0 if weights is None else weights)
        assert chi_squared(drawer.draw(DRAWS, SERIALS, weights), chances) < BOUND

    def test_an_unseen_frame_is_as_likely_as_the_greatest_loss(self) -> None:
        drawer = prioritised(1.0)
        drawer.learned(np.arange(8), self.LOSSES)
        drawer.placed(0, "visit/0000")
        chances = self.LOSSES.astype(np.float64)
        chances[0] = 0.8
        assert chi_squared(drawer.draw(DRAWS, SERIALS, None), chances) < BOUND

    def test_the_last_loss_counts(self) -> None:
        drawer = prioritised(1.0)
        drawer.learned(np.arange(8), self.LOSSES[::-1])
        drawer.learned(np.arange(8), self.LOSSES)
        assert chi_squared(drawer.draw(DRAWS, SERIALS, None), self.LOSSES.astype(np.float64)) < BOUND

    def test_a_loss_of_nothing_can_still_be_drawn_and_nothing_known_is_uniform(self) -> None:
        drawer = prioritised(1.0)
        assert chi_squared(drawer.draw(DRAWS, SERIALS, None), np.ones(8)) < BOUND
        drawer.learned(np.arange(8), np.zeros(8, np.float32))
        assert chi_squared(drawer.draw(DRAWS, SERIALS, None), np.ones(8)) < BOUND


class TestNewestMix:
    NEW = frozenset({4, 2, 6, 0})

    @pytest.mark.parametrize(("share", "new"), [(0.0, 0), (0.125, 8), (0.49, 31), (1.0, 64)])
    def test_the_share_is_exact_in_every_batch(self, share: float, new: int) -> None:
        drawer = NewestMix(newest=4, share=share, seed=0)
        for _ in range(50):
            slots = drawer.draw(64, SERIALS, None).tolist()
            assert len(slots) == 64
            assert sum(slot in self.NEW for slot in slots) == new

    @pytest.mark.parametrize("weights", [None, np.linspace(0.2, 1.0, 8)])
    def test_it_is_uniform_within_each_part_but_for_the_weights(self, weights: NDArray[np.float64] | None) -> None:
        drawer = NewestMix(newest=4, share=0.25, seed=2)
        slots = drawer.draw(DRAWS, SERIALS, weights)
        chances = np.ones(8) if weights is None else weights.copy()
        part = np.isin(np.arange(8), list(self.NEW))
        chances[part] *= 0.25 / chances[part].sum()
        chances[~part] *= 0.75 / chances[~part].sum()
        assert chi_squared(slots, chances) < BOUND

    def test_while_few_are_held_all_are_new(self) -> None:
        slots = NewestMix(newest=8, share=0.25, seed=2).draw(DRAWS, SERIALS, None)
        assert chi_squared(slots, np.ones(8)) < BOUND


@pytest.mark.parametrize("drawer", [Uniform(seed=0), prioritised(0.6), NewestMix(newest=4, share=0.5, seed=0)])
def test_one_frame_is_enough(drawer: Drawer) -> None:
    assert drawer.draw(5, np.array([0]), None).tolist() == [0] * 5


class TestRehearsal:
    CHOSEN = next(name for name in map(str, range(100)) if is_rehearsed(name, 0.3))
    OTHER = next(name for name in map(str, range(100)) if not is_rehearsed(name, 0.3))

    def drawer(self, chosen: set[int], *, frames: int) -> Rehearsal:
        drawer = Rehearsal(8, share=0.3, times=5.0, frames=frames, seed=1)
        for slot in range(8):
            drawer.placed(slot, self.CHOSEN if slot in chosen else self.OTHER)
        return drawer

    @pytest.mark.parametrize("weights", [None, np.linspace(0.2, 1.0, 8)])
    def test_a_chosen_frame_is_drawn_so_many_times_as_often_and_then_never(
        self, weights: NDArray[np.float64] | None
    ) -> None:
        drawer = self.drawer({4, 0, 3}, frames=4)  # numbers 9, 5 and 1 of at most 9
        chances = np.array([5.0, 1, 1, 0, 5, 1, 1, 1]) * (1.0 if weights is None else weights)
        slots = drawer.draw(DRAWS, SERIALS, weights)
        assert 3 not in slots
        kept = np.delete(np.arange(8), 3)
        expected = len(slots) * chances[kept] / chances.sum()
        assert float(((np.bincount(slots, minlength=8)[kept] - expected) ** 2 / expected).sum()) < BOUND

    def test_a_slot_is_as_its_newest_frame(self) -> None:
        drawer = self.drawer({3}, frames=4)
        drawer.placed(3, self.OTHER)
        assert chi_squared(drawer.draw(DRAWS, SERIALS, None), np.ones(8)) < BOUND

    def test_where_nothing_else_is_left_the_dropped_are_drawn(self) -> None:
        drawer = self.drawer(set(range(8)), frames=4)
        assert set(drawer.draw(DRAWS, SERIALS + 100 * (SERIALS == 9), None).tolist()) == {4}
        drawer.placed(4, self.OTHER)
        assert set(drawer.draw(DRAWS, SERIALS, None).tolist()) > {4}

    def test_the_hash_chooses_its_share(self) -> None:
        names = [f"actor-{actor}.1.0000/{number:04d}" for actor in range(20) for number in range(500)]
        assert abs(sum(is_rehearsed(name, 0.1) for name in names) - 1000) < 4 * 30
