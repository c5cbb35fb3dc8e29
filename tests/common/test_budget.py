import time

import pytest

from common.budget import Budget, cpu_clock


class Machine:
    """A wall clock and a CPU clock that stand still unless somebody works or sleeps."""

    def __init__(self) -> None:
        self.wall, self.cpu, self.naps = 100.0, 7.0, list[float]()

    def work(self, seconds: float) -> None:
        self.wall += seconds
        self.cpu += seconds

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.wall += seconds

    def budget(self, share: float, burst: float = 0.5) -> Budget:
        return Budget(share, burst=burst, wall=lambda: self.wall, cpu=lambda: self.cpu, sleep=self.sleep)


def test_one_slice_by_hand() -> None:
    machine = Machine()
    budget = machine.budget(0.25)
    machine.work(0.1)
    budget.pause()
    assert machine.naps == [pytest.approx(0.3)]
    assert budget.used == pytest.approx(0.25)


def test_average_since_the_start_stays_below_the_share() -> None:
    machine = Machine()
    budget = machine.budget(0.3)
    for index in range(500):
        machine.work(0.02 + 0.01 * (index % 17))
        budget.pause()
        assert budget.used <= 0.3 + 1e-9
    assert budget.used == pytest.approx(0.3)


def test_idle_time_saves_up_no_more_than_the_burst() -> None:
    machine = Machine()
    budget = machine.budget(0.3, burst=0.5)
    machine.wall += 3600
    budget.pause()
    begin_wall, begin_cpu = machine.wall, machine.cpu
    for _ in range(100):
        machine.work(0.1)
        budget.pause()
        assert machine.cpu - begin_cpu <= 0.3 * (machine.wall - begin_wall) + 0.5 + 1e-9
    assert machine.naps


def test_waiting_for_others_costs_nothing() -> None:
    machine = Machine()
    budget = machine.budget(0.5)
    for _ in range(10):
        machine.work(0.1)
        machine.wall += 0.1
        budget.pause()
    assert sum(machine.naps) == pytest.approx(0)


def test_whole_core_never_sleeps() -> None:
    machine = Machine()
    budget = machine.budget(1.0)
    for _ in range(10):
        machine.work(1.0)
        budget.pause()
    assert sum(machine.naps) == pytest.approx(0)


def test_keeps_the_share_on_the_real_clocks() -> None:
    budget = Budget(0.25, burst=0.05)
    begin = time.monotonic()
    while time.monotonic() - begin < 0.6:
        sum(range(50_000))
        budget.pause()
    assert 0.1 < budget.used <= 0.26


def test_counts_the_whole_process_when_torch_has_threads() -> None:
    assert cpu_clock(1) is time.thread_time
    assert cpu_clock(2) is time.process_time
