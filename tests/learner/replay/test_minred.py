"""MinRed against brute force, and on planted duplicates."""

import numpy as np
from numpy.typing import NDArray

from learner.replay import MinRed
from learner.replay.minred import FEATURE_EMA

CAPACITY, DIM = 40, 5


def normalised(features: NDArray[np.float64]) -> NDArray[np.float64]:
    return features / np.linalg.norm(features)


class BruteForce:
    """The paper's rule, computed anew each time in float64."""

    def __init__(self) -> None:
        self.features: dict[int, NDArray[np.float64]] = {}

    def learned(self, slots: NDArray[np.int64], features: NDArray[np.float32]) -> None:
        for slot in np.unique(slots).tolist():
            found = normalised(features[slots.tolist().index(slot)].astype(np.float64))
            old = self.features.get(slot)
            self.features[slot] = found if old is None else normalised(FEATURE_EMA * old + (1 - FEATURE_EMA) * found)

    def nearest(self) -> dict[int, float]:
        """Greatest similarity of each frame to another one."""
        return {
            slot: max(float(one @ other) for name, other in self.features.items() if name != slot)
            for slot, one in self.features.items()
        }


def test_it_replaces_what_brute_force_would() -> None:
    """A long random life: new frames, batches with repeats, frames learned twice. Either of the closest pair may go."""
    generator, keeper, brute = np.random.default_rng(4), MinRed(CAPACITY, dim=DIM), BruteForce()
    replaced = 0
    for serial in range(600):
        nearest = brute.nearest() if len(brute.features) > 1 else {}
        slot = keeper.place(serial)
        assert slot is not None
        if serial >= CAPACITY and nearest:
            assert slot in nearest, "a frame without features was replaced while others could be"
            assert max(nearest.values()) - nearest[slot] < 1e-5
            replaced += 1
        brute.features.pop(slot, None)
        if serial % 3 == 0:
            slots = generator.integers(min(serial + 1, CAPACITY), size=6)
            features = generator.normal(size=(6, DIM)).astype(np.float32)
            keeper.learned(slots, features)
            brute.learned(slots, features)
    assert replaced > 500


def test_planted_duplicates_vanish_first_and_the_diverse_stay() -> None:
    """20 frames at right angles to each other, 20 near copies of the first: all copies but one of it go first."""
    keeper, dim = MinRed(CAPACITY, dim=32), 32
    features = np.zeros((CAPACITY, dim), np.float32)
    features[np.arange(20), np.arange(20)] = 1.0
    noise = np.random.default_rng(0).normal(scale=0.01, size=(20, dim))
    features[20:] = features[0] + noise
    for serial in range(CAPACITY):
        keeper.place(serial)
    keeper.learned(np.arange(CAPACITY), 7.0 * features)
    gone = [keeper.place(CAPACITY + number) for number in range(20)]
    alike = {0, *range(20, 40)}
    assert len(set(gone)) == 20
    assert set(gone) <= alike, "only one of the copies is left, and no frame that was unlike all others went"


def test_frames_without_features_are_taken_in_turn_when_nothing_can_be_compared() -> None:
    keeper = MinRed(4, dim=DIM)
    assert [keeper.place(serial) for serial in range(11)] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2]


def test_equal_and_empty_features_do_no_harm() -> None:
    keeper = MinRed(4, dim=DIM)
    for serial in range(4):
        keeper.place(serial)
    keeper.learned(np.arange(4), np.zeros((4, DIM), np.float32))
    keeper.learned(np.arange(3), np.ones((3, DIM), np.float32))
    keeper.learned(np.zeros(0, np.int64), np.zeros((0, DIM), np.float32))
    assert {keeper.place(4), keeper.place(5)} <= {0, 1, 2}
    assert all(np.isfinite(keeper.arrays()["features"]).all(1))
