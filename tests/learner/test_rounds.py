"""Several training threads in step: what one is asked alone waits, what all are asked happens in the same round."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import override

import pytest

from learner.ranks import Ranks
from learner.rounds import Rounds
from tests.learner.source import until


class Threads(Ranks):
    """Ranks that are threads of one process: whoever speaks waits until all have spoken."""

    def __init__(self, rank: int, count: int, barrier: threading.Barrier, told: list[tuple[int, ...]]) -> None:
        super().__init__()
        self.rank, self.count = rank, count
        self._barrier, self._told = barrier, told

    @override
    def each(self, *numbers: int) -> Sequence[Sequence[int]]:
        self._told[self.rank] = numbers
        self._barrier.wait(10.0)
        heard = list(self._told)
        self._barrier.wait(10.0)
        return heard


class Group:
    """Ranks whose work is to count steps, as long as all want one more."""

    def __init__(self, count: int) -> None:
        barrier, told = threading.Barrier(count), [*map(tuple[int, ...], [()] * count)]
        self.ranks = [Threads(rank, count, barrier, told) for rank in range(count)]
        self.steps = [0] * count
        self.rounds = [Rounds(self._work(rank), self.ranks[rank]) for rank in range(count)]

    def _work(self, rank: int) -> Callable[[], bool]:
        def work() -> bool:
            while any(self.ranks[rank].all(not self.rounds[rank].interrupted())):
                self.steps[rank] += 1
            return True

        return work

    def start(self) -> None:
        for one in self.rounds:
            one.start()

    def close(self) -> None:
        threads = [threading.Thread(target=one.close) for one in self.rounds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@pytest.fixture(params=[1, 2, 3])
def group(request: pytest.FixtureRequest) -> Iterator[Group]:
    made = Group(request.param)
    made.start()
    yield made
    made.close()
    assert [one.failure for one in made.rounds] == [None] * request.param


def ask_all(group: Group) -> list[tuple[int, int]]:
    """Asks each rank, one after the other, for its steps and its round."""
    answers: dict[int, tuple[int, int]] = {}

    def ask(rank: int) -> None:
        rounds = group.rounds[rank]
        answers[rank] = rounds.ask(lambda: (group.steps[rank], rounds.count))

    threads = [threading.Thread(target=ask, args=(rank,)) for rank in range(len(group.rounds))]
    for number, thread in enumerate(threads):
        assert not answers, "nobody answers before all were asked"
        thread.start()
        if number < len(threads) - 1:
            thread.join(0.1)
    for thread in threads:
        thread.join()
    return [answers[rank] for rank in range(len(threads))]


def test_requests_are_answered_by_all_after_the_same_step(group: Group) -> None:
    for _ in range(5):
        until(lambda before=group.steps[0]: group.steps[0] > before)
        assert len(set(ask_all(group))) == 1


def test_one_that_is_paused_pauses_all_and_requests_are_still_answered(group: Group) -> None:
    until(lambda: group.steps[0] > 10)
    group.rounds[-1].pause()
    paused = ask_all(group)
    assert len(set(paused)) == 1
    assert [steps for steps, _ in ask_all(group)] == [steps for steps, _ in paused]
    group.rounds[-1].resume()
    until(lambda: min(group.steps) > paused[0][0])


def test_what_a_request_raises_is_its_own() -> None:
    rounds = Rounds(lambda: False, Ranks())
    rounds.start()
    with pytest.raises(ZeroDivisionError):
        rounds.ask(lambda: 1 // 0)
    assert rounds.ask(lambda: 1) == 1
    rounds.close()
    assert rounds.failure is None


def test_work_that_fails_ends_the_thread_and_is_told_to_who_asks() -> None:
    def fails() -> bool:
        raise ZeroDivisionError("in work")

    rounds = Rounds(fails, Ranks())
    rounds.start()
    until(lambda: rounds.failure is not None)
    with pytest.raises(ZeroDivisionError, match="in work"):
        rounds.ask(lambda: None)
