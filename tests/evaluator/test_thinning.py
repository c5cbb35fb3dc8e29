from dataclasses import dataclass
from itertools import pairwise
from math import log

from evaluator.thinning import most_redundant

BLOCK = 10.0


@dataclass(frozen=True)
class Item:
    visit: str
    kind: str
    end: float


def grow(items: list[Item], limit: int) -> list[Item]:
    kept: list[Item] = []
    for item in items:
        kept.append(item)
        if len(kept) > limit:
            del kept[most_redundant(kept, item.end, BLOCK)]
    return kept


def stream(visits: int, blocks: int) -> list[Item]:
    return [
        Item(f"v{visit}", "withheld" if block % 5 == 2 else "exposed", BLOCK * (visit * blocks + block + 1))
        for visit in range(visits)
        for block in range(blocks)
    ]


def test_every_visit_stays_with_both_kinds_while_there_is_room() -> None:
    kept = grow(stream(visits=12, blocks=10), limit=30)
    assert len(kept) == 30
    assert {(item.visit, item.kind) for item in kept} == {
        (f"v{visit}", kind) for visit in range(12) for kind in ("exposed", "withheld")
    }


def test_a_contrast_goes_before_a_visit() -> None:
    kept = grow(stream(visits=12, blocks=10), limit=15)
    assert len(kept) == 15
    assert {item.visit for item in kept} == {f"v{visit}" for visit in range(12)}


def test_visits_go_only_when_there_are_too_many() -> None:
    kept = grow(stream(visits=40, blocks=6), limit=10)
    assert len(kept) == 10
    assert len({item.visit for item in kept}) == 10


def test_young_stay_denser_than_old() -> None:
    items = [Item("v", "exposed", BLOCK * (index + 1)) for index in range(400)]
    kept = grow(items, limit=20)
    assert kept[0] is items[0]
    assert kept[-1] is items[-1]
    ages = [items[-1].end - item.end + BLOCK for item in kept]
    gaps = [log(older) - log(younger) for older, younger in pairwise(ages)]
    assert max(gaps) < 4 * log(400) / 20
    assert sum(age < 400 for age in ages) > 8


def test_the_rule_by_hand() -> None:
    items = [Item("a", "exposed", 100.0), Item("a", "exposed", 110.0), Item("a", "exposed", 190.0)]
    assert most_redundant(items, 200.0, BLOCK) == 1
    assert most_redundant([*items, Item("b", "exposed", 105.0)], 200.0, BLOCK) != 3
