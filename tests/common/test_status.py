"""What several ranks say of themselves, put together."""

import pytest

from common.status import LearnerStatus, ReaderCounts, together


def test_what_is_counted_or_held_adds_up_and_the_rest_is_the_first_rank_s() -> None:
    ours = LearnerStatus(
        ranks=2, step=5, images=40, ring=30, capacity=64, replay_ratio=4.0, version=3, loss=0.5, experiences=4,
        counts={"a": ReaderCounts(admitted=10, unread=1), "b": ReaderCounts(guard=2)},
    )  # fmt: skip
    theirs = LearnerStatus(
        ranks=2, step=5, images=40, ring=31, capacity=64, replay_ratio=1.0, waiting="ratio", experiences=6,
        counts={"a": ReaderCounts(admitted=11)},
    )  # fmt: skip
    whole = together([ours, theirs])
    assert (whole.images, whole.ring, whole.capacity, whole.experiences) == (80, 61, 128, 6)
    assert whole.counts == {"a": ReaderCounts(admitted=21, unread=1), "b": ReaderCounts(guard=2)}
    assert (whole.step, whole.version, whole.loss, whole.waiting, whole.ranks) == (5, 3, 0.5, "ratio", 2)
    assert whole.replay_ratio == pytest.approx(80 / (40 / 4.0 + 40 / 1.0)), "frames sampled ÷ frames admitted"
    assert together([ours]) is ours
