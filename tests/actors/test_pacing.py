import pytest
from pamiq_core import time

from actors.pacing import DeadlineAdjustor


class Clock:
    """A clock that only sleeping and working move; every sleep overshoots by `overshoot` seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.overshoot = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def sleep(self, seconds: float) -> None:
        self.now += seconds + self.overshoot


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_an_overrun_does_not_shift_what_follows(clock: Clock) -> None:
    pace = DeadlineAdjustor(0.1)
    pace.reset()
    starts: list[float] = []
    for work in (0.01, 0.15, 0.01, 0.01, 0.01):
        starts.append(clock.now)
        clock.advance(work)
        pace.adjust()
    first = starts[1] - 0.1
    assert starts[3:] == pytest.approx([first + 0.3, first + 0.4])
    assert pace.late == 1
    assert pace.skipped == 0


def test_the_mean_rate_is_exact_although_every_sleep_overshoots(clock: Clock) -> None:
    clock.overshoot = 0.004
    pace = DeadlineAdjustor(0.1)
    pace.reset()
    pace.adjust()
    began = clock.now
    for _ in range(1000):
        clock.advance(0.02)
        pace.adjust()
    assert clock.now - began == pytest.approx(100.0, abs=0.01)


def test_after_a_stall_no_burst_catches_up(clock: Clock) -> None:
    pace = DeadlineAdjustor(0.1)
    pace.reset()
    pace.adjust()
    clock.advance(3.05)
    pace.adjust()
    ends: list[float] = []
    for _ in range(3):
        pace.adjust()
        ends.append(clock.now)
    assert ends == pytest.approx([103.2, 103.3, 103.4])
    assert pace.skipped == 29


def test_a_pause_is_no_delay(clock: Clock) -> None:
    pace = DeadlineAdjustor(0.1)
    pace.reset()
    pace.adjust()
    clock.advance(60.0)
    pace.restart()
    pace.adjust()
    assert (pace.late, pace.skipped) == (0, 0)
