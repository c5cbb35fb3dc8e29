from itertools import pairwise
from math import log

import pytest

from evaluator.schedule import RATIO, Chapter, Schedule, chapters
from tests.evaluator.memory.textures import experience

BLOCK = 10.0
ALL = 10**9


def at(seconds: float) -> int:
    return int(seconds * 1e9)


def chapter(name: str, ended: float, *, size: int = 6, exposed: float | None = None) -> Chapter:
    return Chapter(name=name, size=size, ended_ns=at(ended), exposed_ns=0 if exposed is None else at(exposed))


def follow(schedule: Schedule, times: list[float], *, room: int = ALL, exposed: float | None = None) -> list[float]:
    """Times at which one chapter that ended at 100 s was measured."""
    found: list[float] = []
    for time in times:
        last = min(time, exposed) if exposed is not None else None
        one = chapter("v", 100.0, exposed=last)
        plan = schedule.plan([one], at(time), room)
        schedule.note(plan, at(time), [one])
        if plan.chapters:
            found.append(time)
    return found


def test_measurements_are_spaced_by_a_ratio_of_age() -> None:
    ages = [time - 100 for time in follow(Schedule(BLOCK), [101.0 + second for second in range(10_000)])]
    steps = [later / earlier for earlier, later in pairwise(ages) if earlier >= BLOCK]
    assert all(RATIO <= step < RATIO * 1.1 for step in steps)
    assert len(ages) == pytest.approx(log(10_000 / BLOCK) / log(RATIO), abs=4)


def test_time_since_the_last_exposure_is_a_clock_of_its_own() -> None:
    times = [110.0 + 10 * number for number in range(500)]
    by_age = follow(Schedule(BLOCK), times)
    both = follow(Schedule(BLOCK), times, exposed=2000.0)
    before, after = ([time for time in both if (time > 2000.0) is late] for late in (False, True))
    assert before == [time for time in by_age if time <= 2000.0]
    since = [time - 2000 for time in after]
    assert since[0] == 10
    steps = [later / earlier for earlier, later in pairwise(since)]
    assert all(RATIO <= step < RATIO + 10 / BLOCK for step in steps)
    assert len(after) > len([time for time in by_age if time > 2000.0]) + 10


def test_a_new_block_makes_its_chapter_due_at_once() -> None:
    schedule = Schedule(BLOCK)
    one = chapter("v", 100.0)
    schedule.note(schedule.plan([one], at(105), ALL), at(105), [one])
    assert not schedule.plan([one], at(106), ALL).chapters
    assert schedule.plan([chapter("v", 106.0)], at(107), ALL).chapters == ("v",)


def test_what_has_no_room_waits_and_is_counted_the_oldest_longest() -> None:
    schedule = Schedule(BLOCK, {f"v{number}": at(5000) for number in range(10)})
    all_of_them = [chapter(f"v{number}", 480.0 * number) for number in range(10)]
    plan = schedule.plan(all_of_them, at(9000), room=20)
    assert plan.chapters == ("v9", "v8", "v7")
    assert (plan.due, plan.postponed) == (60, 42)


def test_nothing_waits_for_ever() -> None:
    schedule, when = Schedule(BLOCK), {f"v{number}": 0 for number in range(12)}
    for turn in range(200):
        now = 1000.0 + 30 * turn
        all_of_them = [*(chapter(name, 50.0) for name in when), chapter(f"new-{turn}", now - 1, size=6)]
        plan = schedule.plan(all_of_them, at(now), room=12)
        schedule.note(plan, at(now), all_of_them)
        for name in plan.chapters:
            when[name] = when.get(name, 0) + 1
    assert all(when[f"v{number}"] >= 2 for number in range(12))


def test_the_most_overdue_is_measured_even_without_room() -> None:
    plan = Schedule(BLOCK).plan([chapter("v", 0.0), chapter("w", 5.0)], at(20), room=0)
    assert plan.chapters == ("w",)
    assert plan.postponed == 6


def test_a_version_made_before_the_chapter_ended_leaves_it_due() -> None:
    schedule = Schedule(BLOCK)
    one = chapter("v", 100.0)
    for version in (90.0, 95.0, 101.0):
        plan = schedule.plan([one], at(version), ALL)
        assert plan.chapters == ("v",)
        schedule.note(plan, at(version), [one])
    assert not schedule.plan([one], at(102), ALL).chapters


def test_what_is_followed_no_more_is_forgotten() -> None:
    schedule = Schedule(BLOCK)
    both = [chapter("v", 0.0), chapter("w", 0.0)]
    schedule.note(schedule.plan(both, at(10), ALL), at(10), both[:1])
    assert schedule.measured == {"v": at(10)}


def test_chapters_gather_blocks_and_their_last_exposure() -> None:
    found = chapters([experience(number) for number in (0, 3, 9, 10)], {"v/0003": 70, "v/0009": 50, "gone": 90})
    assert found == [
        Chapter(name="v/0", size=3, ended_ns=1, exposed_ns=70),
        Chapter(name="v/1", size=1, ended_ns=1, exposed_ns=0),
    ]
