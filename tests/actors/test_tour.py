import itertools
from dataclasses import replace

import numpy as np

from actors.tour import tour
from common.config import RunConfig, WorldConfig
from common.exposure import ExposureRule

WORLDS = WorldConfig(worlds=("freedoom2:map01", "freedoom1:e1m1"), placebo_worlds=(), visit=2.0, image_size=(48, 48))


def test_a_tour_is_a_life_without_a_clock_and_the_same_each_time() -> None:
    run = RunConfig(world=WORLDS, seed=3)
    first, again = (list(tour(run, index=0, frames=45)) for _ in range(2))
    assert [datum.seq for datum in first] == list(range(1, 46))
    assert all(datum.captured_ns == round((datum.seq - 1) * 1e8) for datum in first)
    assert [datum.world for datum in first] == ["freedoom2:map01"] * 20 + ["freedoom1:e1m1"] * 20 + [
        "freedoom2:map01"
    ] * 5
    assert len({datum.visit for datum in first}) == 3
    rule = ExposureRule.of(run)
    assert all(datum.experience == rule.experience(datum.visit, datum.visit_time) for datum in first)
    assert all(np.array_equal(np.asarray(a.data), np.asarray(b.data)) for a, b in zip(first, again, strict=True))
    assert [datum.visit_time for datum in first] == [datum.visit_time for datum in again]
    moving = [np.abs(np.asarray(a.data, np.int64) - np.asarray(b.data)).mean() for a, b in itertools.pairwise(first)]
    assert np.median(moving) > 1


def test_another_seed_or_actor_lives_another_life() -> None:
    run = RunConfig(world=replace(WORLDS, worlds=("freedoom2:map01",)), seed=3)
    frames = [
        np.asarray(list(tour(changed, index=index, frames=3))[-1].data)
        for changed, index in ((run, 0), (replace(run, seed=4), 0), (run, 1))
    ]
    assert not np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[0], frames[2])
