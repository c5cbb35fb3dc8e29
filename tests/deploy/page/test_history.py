"""The history: nothing of a run is cut off, nothing grows, and what is thinned keeps its mean."""

import math

import numpy as np
import pytest

from common.status import EvaluatorStatus, LearnerStatus, ReaderCounts, RunStatus
from deploy.page.history import NAMES, History, sample


def filled(seconds: float, *, length: int = 60, every: float = 0.5) -> History:
    history = History(2, length=length)
    for number in range(round(seconds / every)):
        time = number * every
        history.add(time, [time, math.nan if time < 10 else 7.0])
    return history


def test_a_short_run_is_there_second_by_second() -> None:
    found = filled(30).since()
    assert found.spacing == 1.0
    assert len(found.points) == 29
    assert np.diff([point[0] for point in found.points]) == pytest.approx(1.0)
    assert [point[1] for point in found.points] == pytest.approx([point[0] for point in found.points])
    assert math.isnan(found.points[0][2])
    assert found.points[-1][2] == 7.0
    assert found.now == [29.5, 29.5, 7.0]


@pytest.mark.parametrize("seconds", [59, 61, 121, 1000, 20_000])
def test_a_long_run_is_whole_and_no_longer_than_a_short_one(seconds: int) -> None:
    found = filled(seconds).since()
    assert len(found.points) <= 60
    if seconds > 60:
        assert len(found.points) >= 30
    times = np.array([point[0] for point in found.points])
    assert times[0] <= found.spacing
    assert times[-1] >= seconds - 2 * found.spacing - 1
    assert np.diff(times) == pytest.approx(found.spacing, rel=0.05)
    # Means of a straight line lie on it: thinning moved nothing.
    assert [point[1] for point in found.points] == pytest.approx(times)
    assert all(point[2] == 7.0 for point in found.points if point[0] > 10 + found.spacing)


def test_a_reader_that_knows_the_beginning_gets_the_rest() -> None:
    history = filled(30)
    everything = history.since().points
    assert history.since(everything[9][0]).points == everything[10:]
    assert history.since(1e9).points == []


def test_in_a_pause_only_the_newest_changes() -> None:
    history = History(1, length=60)
    for _ in range(100):
        history.add(5.0, [1.0])
    history.add(5.0, [2.0])
    found = history.since()
    assert found.points == []
    assert found.now == [5.0, 2.0]


def test_what_is_not_measured_yet_is_left_open() -> None:
    found = dict(zip(NAMES, sample(RunStatus()), strict=True))
    assert {name for name, value in found.items() if math.isfinite(value)} == {"fps", "unread"}
    status = RunStatus(
        learner=LearnerStatus(step=3, loss=0.5, version=2, staleness_seconds=4.0, counts={"a": ReaderCounts(unread=9)}),
        evaluator=EvaluatorStatus(
            version=1,
            probes={"world": {"trained": 0.6, "pixels": 0.4}},
            memory={"exposed": {"bits": 1.5}},
            health={"rankme": 20.0},
        ),
    )
    found = dict(zip(NAMES, sample(status), strict=True))
    assert {name: found[name] for name in ("loss", "staleness_seconds", "unread", "rankme")} == {
        "loss": 0.5,
        "staleness_seconds": 4.0,
        "unread": 9.0,
        "rankme": 20.0,
    }
    assert (found["world_trained"], found["world_pixels"], found["bits_exposed"]) == (0.6, 0.4, 1.5)
    assert math.isnan(found["world_random"])
