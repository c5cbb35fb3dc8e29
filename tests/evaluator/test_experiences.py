from collections import Counter
from typing import Any, cast

import numpy as np
import pytest

from common.config.model import ModelConfig
from common.errors import CheckpointError
from common.exposure import Exposure
from common.messages import Datum
from evaluator.experience import Kind, evenly, mask_seed
from evaluator.experiences import ExperienceArchive
from evaluator.keeping import pack, unpack
from evaluator.probeset import ProbeSet
from tests.evaluator.lives import BLOCK, Life
from tests.evaluator.walks import SIZE, probe_set, spec

MODEL = ModelConfig(patch_size=4, dim=16, depth=1, heads=2, predictor_dim=8, predictor_depth=1, predictor_heads=1)


def archive(*, frames: int = 8, limit: int = 100, probes: ProbeSet | None = None) -> ExperienceArchive:
    return ExperienceArchive(frames=frames, limit=limit, block=BLOCK, image_size=SIZE, probe_set=probes)


def fed(seconds: float) -> tuple[ExperienceArchive, list[tuple[Datum, Exposure]]]:
    kept, data = archive(), list(Life().live(seconds))
    for datum, kind in data:
        kept.observe(datum, kind)
    return kept, data


def test_frames_are_spread_over_the_block() -> None:
    kept, data = fed(61)
    by_seq = {datum.seq: datum for datum, _ in data}
    assert [item.name for item in kept.followed] == [f"actor-0/0/{block:04d}" for block in range(6)]
    for item in kept.followed:
        times = np.array([by_seq[number].visit_time for number in item.numbers])
        assert len(times) == 8
        assert np.ptp(np.diff(times)) <= 0.5 + 1e-9
        assert times[-1] - times[0] >= 7
        for frame, number in zip(item.frames, item.numbers, strict=True):
            assert np.array_equal(frame, cast(Any, by_seq[number].data))


def test_fast_cameras_are_thinned_to_the_same_spread() -> None:
    kept = archive()
    life = Life(fps=60)
    for datum, kind in life.live(21):
        kept.observe(datum, kind)
    for item in kept.followed:
        steps = np.diff(item.numbers)
        assert len(item.numbers) == 8
        assert steps.min() > 40
        assert np.ptp(steps) <= 32


def test_guard_frames_are_never_kept() -> None:
    kept, data = fed(301)
    kinds = {datum.seq: kind for datum, kind in data}
    assert Exposure.GUARD in kinds.values()
    for item in kept.followed:
        assert {kinds[number] for number in item.numbers} == {Exposure(item.kind)}
    assert {item.kind for item in kept.followed} == {Kind.EXPOSED, Kind.WITHHELD}


def test_only_complete_experiences_are_measured() -> None:
    kept, _ = fed(20)
    assert len(kept.followed) == 1
    more = Life()
    more.steps = 200
    datum, kind = next(more.live(0.1))
    kept.observe(datum, kind)
    assert len(kept.followed) == 2


def test_actors_do_not_close_each_others_experiences() -> None:
    kept, one, two = archive(), Life("a"), Life("b")
    for first, second in zip(one.live(15), two.live(15), strict=True):
        kept.observe(*first)
        kept.observe(*second)
    assert sorted(item.name for item in kept.followed) == ["a/0/0000", "b/0/0000"]


def test_pieces_of_experiences_are_left_out_and_counted() -> None:
    kept = archive()
    for datum, kind in Life(visit=13).live(26.2):
        kept.observe(datum, kind)
    assert [item.name for item in kept.followed] == ["actor-0/0/0000", "actor-0/1/0000"]
    assert kept.counts.short == 2


def test_repeated_and_foreign_frames_are_refused() -> None:
    kept, data = fed(11)
    before = kept.followed
    for datum, kind in data[-30:]:
        kept.observe(datum, kind)
    last, kind = data[-1]
    kept.observe(last._replace(seq=999, data=np.zeros((8, 8, 3), np.uint8)), kind)
    kept.observe(last._replace(seq=1000, data=np.zeros((*SIZE, 3), np.float32)), kind)
    assert kept.followed == before
    assert kept.counts.refused == 32


def test_contradictory_kinds_are_our_bug() -> None:
    kept, data = fed(5)
    last, kind = data[-1]
    other = Exposure.WITHHELD if kind is Exposure.EXPOSED else Exposure.EXPOSED
    with pytest.raises(ValueError, match="both"):
        kept.observe(last._replace(seq=999), other)
    with pytest.raises(ValueError, match="placebo"):
        kept.observe(last._replace(seq=1000), "placebo")


def test_the_bound_holds_and_visits_stay() -> None:
    kept = archive(limit=24)
    for datum, kind in Life().live(1200):
        kept.observe(datum, kind)
        assert kept.counts.followed <= 24
    counts = kept.counts
    assert counts.followed == 24
    assert counts.followed + counts.thinned + counts.short == 119
    assert {item.visit for item in kept.followed} == {f"actor-0/{number}" for number in range(20)}


def test_placebos_are_whole_blocks_of_stays_in_placebo_worlds() -> None:
    probes = probe_set(spec(worlds=1, placebo=2, trajectories=4, stay_frames=50))
    kept = archive(probes=probes)
    assert kept.counts.placebo == 8, "two of 20 frames in each of four stays"
    assert [item.world for item in kept.followed] == ["p0"] * 4 + ["p1"] * 4
    for item in kept.followed:
        assert item.kind is Kind.PLACEBO
        stay = int(item.visit.rpartition("/")[2])
        assert np.array_equal(item.frames, probes.stays[stay][list(item.numbers)])
    assert kept.followed[1].numbers == (21, 23, 26, 28, 31, 33, 36, 38)
    assert kept.followed[0].visit == kept.followed[1].visit != kept.followed[2].visit


def test_placebos_leave_room_for_life() -> None:
    probes = probe_set(spec(worlds=1, placebo=2, trajectories=8, frames=30))
    kept = archive(limit=20, probes=probes)
    for datum, kind in Life().live(400):
        kept.observe(datum, kind)
    assert (kept.counts.placebo, kept.counts.followed) == (5, 15)


def test_masks_differ_between_frames_and_experiences() -> None:
    seeds = [mask_seed(name, number) for name in ("v/0001", "v/0002", "v/00") for number in range(40)]
    assert len(set(seeds)) == len(seeds)
    assert mask_seed("v/0001", 3) == 1721586101172277559


def test_a_chapter_has_withheld_blocks_and_is_short() -> None:
    kept = archive(limit=1000)
    for datum, kind in Life(visit=600).live(1210):
        kept.observe(datum, kind)
    of_chapter: dict[str, list[Kind]] = {}
    for item in kept.followed:
        of_chapter.setdefault(item.chapter, []).append(item.kind)
    assert len(of_chapter) == 12
    whole = [Counter(kinds) for kinds in of_chapter.values() if len(kinds) == 10]
    assert len(whole) >= 10
    assert all(counted == {Kind.EXPOSED: 8, Kind.WITHHELD: 2} for counted in whole)


def test_a_new_archive_goes_on_where_the_old_one_was_saved() -> None:
    data = list(Life().live(400))
    whole, first, second = archive(limit=20), archive(limit=20), archive(limit=20)
    for datum, kind in data:
        whole.observe(datum, kind)
    for datum, kind in data[:1234]:
        first.observe(datum, kind)
    second.restore(*unpack(pack(*first.state())))
    for datum, kind in data:  # a new process reads the stream from its oldest entry
        second.observe(datum, kind)
    assert second.counts == whole.counts
    for one, other in zip(second.followed, whole.followed, strict=True):
        assert np.array_equal(one.frames, other.frames)
        assert {**vars(one), "frames": None} == {**vars(other), "frames": None}
    for one, other in zip(second.pools.gathered(), whole.pools.gathered(), strict=True):
        assert np.array_equal(one.frames, other.frames)
        assert (one.world, one.stays, one.moments.tolist()) == (other.world, other.stays, other.moments.tolist())


def test_a_smaller_archive_thins_what_it_is_given() -> None:
    before, _ = fed(400)
    smaller = archive(limit=12)
    smaller.restore(*before.state())
    assert smaller.counts.followed == 12


def test_the_state_of_other_frames_is_refused() -> None:
    before, _ = fed(31)
    with pytest.raises(CheckpointError, match="uint8"):
        archive(frames=4).restore(*before.state())


@pytest.mark.parametrize("content", [b"", b"torn", pack({}, {})[:-3], b"\x80\x04N."])
def test_a_damaged_state_is_refused(content: bytes) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        unpack(content)


@pytest.mark.parametrize(
    ("count", "chosen", "places"), [(8, 8, list(range(8))), (10, 2, [2, 7]), (9, 3, [1, 4, 7]), (5, 1, [2])]
)
def test_evenly(count: int, chosen: int, places: list[int]) -> None:
    assert evenly(count, chosen) == places
