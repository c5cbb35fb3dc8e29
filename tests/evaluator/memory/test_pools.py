import numpy as np
import pytest

from evaluator.experience import Experience, Kind, placebo_experiences
from evaluator.memory.pools import GATHERED, LEAST, WORLDS, Pool, Pools
from evaluator.scores import NotMeasurable
from tests.evaluator.memory.textures import BLOCK, tiles
from tests.evaluator.walks import probe_set, spec


def lived(visit: str, start: float, kind: Kind = Kind.EXPOSED, world: str = "elsewhere") -> Experience:
    return Experience(
        name=f"{visit}/{int(start / BLOCK):04d}", actor="a", visit=visit, world=world, kind=kind,
        frames=tiles(2, 0), numbers=(1, 2), start=start, end=start + 9, ended_ns=1,
    )  # fmt: skip


def give(pools: Pools, visit: str, start: float, *, world: str = "elsewhere", count: int = 32) -> None:
    pools.give(world, visit, zip(tiles(count, int(start)), np.linspace(start, start + 9, count), strict=True))


def filled() -> Pools:
    """A long visit of which every fifth block is withheld, and six short ones."""
    pools = Pools(None)
    for block in range(6):
        give(pools, "long", 50.0 * block * BLOCK / 10)
    for number in range(6):
        give(pools, f"short-{number}", 1000.0 + 60 * number)
    return pools


def ready(pools: Pools, world: str = "elsewhere") -> Pool:
    found = pools.find(world)
    assert isinstance(found, Pool)
    return found


def test_worlds_of_the_probe_set_have_their_walks_from_the_beginning() -> None:
    probes = probe_set(spec(worlds=2, placebo=1, trajectories=8, frames=20))
    pools = list(Pools(probes))
    assert [pool.world for pool in pools] == ["w0", "w1", "p0"]
    for number, pool in enumerate(pools):
        assert np.array_equal(pool.frames, probes.frames[probes.world == number])
        assert pool.probes is not None
        assert np.array_equal(probes.frames[pool.probes], pool.frames)


def test_a_placebo_meets_the_walks_of_its_world_alone() -> None:
    probes = probe_set(spec(worlds=1, placebo=2, trajectories=8, frames=20))
    pools = Pools(probes)
    for item in placebo_experiences(probes, 8, BLOCK):
        pool = ready(pools, item.world)
        rivals = pool.rivals(item, BLOCK)
        assert not isinstance(rivals, NotMeasurable)
        assert len(rivals) == 160
        assert item.visit not in pool.stays


def test_a_pool_is_full_once_and_then_never_changes() -> None:
    pools = filled()
    before = ready(pools)
    assert len(before) == GATHERED
    give(pools, "later", 5000.0)
    assert ready(pools) is before


def test_a_pool_that_is_not_full_says_how_much_there_is() -> None:
    pools = Pools(None)
    assert "no withheld block" in str(pools.find("elsewhere"))
    give(pools, "v", 0.0)
    assert f"32 of {GATHERED} frames" in str(pools.find("elsewhere"))


@pytest.mark.parametrize("kind", [Kind.EXPOSED, Kind.WITHHELD])
def test_exposed_and_withheld_blocks_lose_the_same_neighbours(kind: Kind) -> None:
    pool = ready(filled())
    rivals = pool.rivals(lived("long", 100.0, kind), BLOCK)
    assert not isinstance(rivals, NotMeasurable)
    assert len(rivals) == 255
    near = [place for place in rivals if pool.stays[place] == "long" and 50 <= pool.moments[place] <= 159]
    assert not near
    assert {pool.stays[place] for place in rivals} >= {"long", "short-0", "short-5"}


def test_the_choice_is_the_same_each_time_and_spread() -> None:
    pool = ready(filled())
    first, again = (pool.rivals(lived("another", 0.0), BLOCK) for _ in range(2))
    assert first == again
    assert not isinstance(first, NotMeasurable)
    assert len(set(first)) == 255
    assert max(np.diff(first)) <= 2


def test_too_few_are_counted() -> None:
    few = Pool(world="w", frames=tiles(LEAST - 1, 0), stays=("s",) * (LEAST - 1), moments=np.zeros(LEAST - 1))
    assert few.rivals(lived("v", 0.0), BLOCK) == NotMeasurable(
        f"only {LEAST - 1} frames of w from other stays are known that nobody trained on, fewer than {LEAST}"
    )


def test_the_number_of_worlds_is_bounded() -> None:
    pools = Pools(None)
    for number in range(WORLDS + 3):
        give(pools, "v", 0.0, world=f"world-{number}")
    assert len(pools.gathered()) == WORLDS


def test_what_is_gathered_can_be_given_back() -> None:
    pools = filled()
    give(pools, "v", 0.0, world="half")
    again = Pools(None)
    again.restore(pools.gathered())
    assert np.array_equal(ready(again).frames, ready(pools).frames)
    assert ready(again).rivals(lived("long", 100.0), BLOCK) == ready(pools).rivals(lived("long", 100.0), BLOCK)
    assert str(again.find("half")) == str(pools.find("half"))
