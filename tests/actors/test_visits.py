from itertools import pairwise

import pytest

from actors.worlds.visits import VisitSchedule
from common.config.run import VisitOrder

WORLDS = ("a", "b", "c", "d")


def take(order: VisitOrder, count: int, *, seed: int = 0, start_offset: int = 0) -> list[str]:
    schedule = VisitSchedule(WORLDS, order, 60.0, seed, start_offset)
    return [next(schedule) for _ in range(count)]


@pytest.mark.parametrize("order", VisitOrder)
def test_same_arguments_give_the_same_visits(order: VisitOrder) -> None:
    assert take(order, 50, seed=3, start_offset=1) == take(order, 50, seed=3, start_offset=1)


@pytest.mark.parametrize("order", VisitOrder)
def test_at_agrees_with_next(order: VisitOrder) -> None:
    schedule = VisitSchedule(WORLDS, order, 60.0, 5)
    assert [schedule.at(visit) for visit in range(20)] == take(order, 20, seed=5)
    assert schedule.position == 0


def test_cycle_starts_each_actor_at_another_world() -> None:
    assert take(VisitOrder.CYCLE, 5) == ["a", "b", "c", "d", "a"]
    assert take(VisitOrder.CYCLE, 5, start_offset=3) == ["d", "a", "b", "c", "d"]


def test_shuffle_shows_all_worlds_each_round_and_none_twice_in_a_row() -> None:
    worlds = take(VisitOrder.SHUFFLE, 400)
    assert all(set(worlds[i : i + 4]) == set(WORLDS) for i in range(0, 400, 4))
    assert len({tuple(worlds[i : i + 4]) for i in range(0, 400, 4)}) > 5
    assert all(a != b for a, b in pairwise(worlds))


def test_random_never_stays_and_reaches_everything() -> None:
    worlds = take(VisitOrder.RANDOM, 400)
    assert set(worlds) == set(WORLDS)
    assert all(a != b for a, b in pairwise(worlds))


@pytest.mark.parametrize("order", [VisitOrder.SHUFFLE, VisitOrder.RANDOM])
def test_seed_and_actor_change_the_order(order: VisitOrder) -> None:
    plain = take(order, 40)
    assert plain != take(order, 40, seed=1)
    assert plain != take(order, 40, start_offset=1)


@pytest.mark.parametrize("order", VisitOrder)
def test_one_world_is_visited_over_and_over(order: VisitOrder) -> None:
    schedule = VisitSchedule(("only",), order, 1.0, 0)
    assert [next(schedule) for _ in range(3)] == ["only"] * 3
