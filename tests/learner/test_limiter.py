"""The limiter against a bucket of credit that is filled one frame at a time, in exact arithmetic."""

import json
import math
import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config import LearnerConfig, OptimConfig, ReplayConfig
from common.errors import ConfigError
from learner.limiter import SampleToInsertLimiter


class Bucket:
    """Credit as a heap of samples: each admitted frame adds to it, each sample takes one, the rest runs over."""

    def __init__(self, ratio: Fraction, min_fill: int, ahead: int, behind: int | None) -> None:
        self._ratio, self._min_fill, self._ahead, self._behind = ratio, min_fill, ahead, behind
        self.inserted = 0
        self.credit = Fraction(0)
        self.lost = Fraction(0)

    def insert(self) -> None:
        self.inserted += 1
        if self.inserted > self._min_fill:
            self.credit += self._ratio
        if self._behind is not None and self.credit > self._behind:
            self.lost += self.credit - self._behind
            self.credit = Fraction(self._behind)

    def allows(self, samples: int) -> bool:
        return self.inserted >= self._min_fill and self.credit + self._ahead >= samples


@given(
    eighths=st.integers(1, 200),
    min_fill=st.integers(1, 30),
    ahead=st.integers(1, 40),
    behind=st.none() | st.integers(1, 60),
    moves=st.lists(st.tuples(st.sampled_from(["insert", "sample", "restart"]), st.integers(1, 20)), max_size=80),
)
def test_it_agrees_with_a_bucket_of_credit(
    eighths: int, min_fill: int, ahead: int, behind: int | None, moves: list[tuple[str, int]]
) -> None:
    ratio = Fraction(eighths, 8)
    bound = math.inf if behind is None else behind

    def fresh() -> SampleToInsertLimiter:
        return SampleToInsertLimiter(ratio=float(ratio), min_fill=min_fill, ahead=ahead, behind=bound)

    limiter, bucket = fresh(), Bucket(ratio, min_fill, ahead, behind)
    sampled = 0
    for move, count in moves:
        match move:
            case "insert":
                limiter.insert(count)
                for _ in range(count):
                    bucket.insert()
            case "sample" if bucket.allows(count):
                assert limiter.allows(count)
                limiter.sample(count)
                bucket.credit -= count
                sampled += count
            case "sample":
                assert not limiter.allows(count)
            case _:
                state = json.loads(json.dumps(limiter.state()))
                limiter = fresh()
                limiter.restore(state)
        assert limiter.forfeited == bucket.lost
        assert limiter.allows(1) == bucket.allows(1)
        assert limiter.achieved == (sampled / bucket.inserted if bucket.inserted else 0.0)
        if bucket.inserted >= min_fill:
            assert limiter.difference == bucket.credit >= -ahead
            earned = ratio * (bucket.inserted - min_fill)
            assert earned == limiter.difference + limiter.sampled + limiter.forfeited


def test_the_ratio_is_kept_in_the_long_run() -> None:
    limiter = SampleToInsertLimiter(ratio=3, min_fill=10, ahead=16, behind=8)
    for _ in range(2000):
        limiter.insert()
        while limiter.allows(8):
            limiter.sample(8)
    assert abs(limiter.sampled - 3 * (2000 - 10)) <= 16
    assert limiter.achieved == pytest.approx(3, abs=0.05)
    assert limiter.forfeited == 0


def test_a_learner_that_was_away_catches_up_with_what_the_bound_allows_and_no_more() -> None:
    limiter = SampleToInsertLimiter(ratio=4, min_fill=100, ahead=64, behind=160)
    limiter.insert(1100)
    assert limiter.forfeited == 4 * 1000 - 160
    drawn = 0
    while limiter.allows(32):
        limiter.sample(32)
        drawn += 32
    assert drawn == 160 + 64
    assert limiter.achieved == drawn / 1100


def test_without_a_bound_nothing_is_forfeited() -> None:
    limiter = SampleToInsertLimiter.from_config(ReplayConfig(max_behind=0.0), batch=64)
    limiter.insert(10**6)
    assert limiter.forfeited == 0


def test_an_older_checkpoint_has_forfeited_nothing() -> None:
    limiter = SampleToInsertLimiter(ratio=4, min_fill=100, ahead=64, behind=160)
    limiter.restore({"inserted": 120, "sampled": 64})
    assert (limiter.inserted, limiter.sampled, limiter.forfeited) == (120, 64, 0.0)


@pytest.mark.parametrize(
    ("replay", "least"),
    [
        (ReplayConfig(replay_ratio=1000, max_behind=1.0), 123),
        (ReplayConfig(min_new=400, max_behind=300.0), 398),
        (ReplayConfig(replay_ratio=10_000), 1248),
    ],
)
def test_a_band_in_which_nothing_could_move_is_refused(replay: ReplayConfig, least: int) -> None:
    expected = f"learner.replay.max_behind = {replay.max_behind}: must be 0 or at least {least}"
    with pytest.raises(ConfigError, match=re.escape(expected)):
        LearnerConfig(replay=replay, optim=OptimConfig(batch_size=8))


@pytest.mark.parametrize("replay", [ReplayConfig(replay_ratio=1e9, max_behind=0.0), ReplayConfig(max_behind=0.25)])
def test_a_band_that_holds_what_one_frame_earns_is_taken(replay: ReplayConfig) -> None:
    assert LearnerConfig(replay=replay).replay == replay


@pytest.mark.parametrize("field", ["max_behind", "staleness_half_life"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_bound_below_nothing_is_refused(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"learner\.replay\.{field}"):
        ReplayConfig(**{field: value})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("kept", [0, 1, 1001])
def test_the_registry_keeps_two_versions_at_least(kept: int) -> None:
    with pytest.raises(ConfigError, match=r"learner\.versions_kept"):
        LearnerConfig(versions_kept=kept)
