from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import CheckpointError, RunError
from common.ledger import COLUMNS
from learner import checkpoint as checkpoints
from learner.checkpoint import Checkpoint

BOOK = {
    **{"experience": ["a"], "visit": ["v"], "world": ["w"], "actor": ["x"], "slot": [0]},
    **{name: [3] for name in ("started_ns", *COLUMNS)},
}
"""A ledger of one experience."""


def make(step: int, **state: Any) -> Checkpoint:
    generator = np.random.default_rng(step)
    return Checkpoint(
        step=step,
        model={"w": generator.normal(size=(3, 4)).astype(np.float32)},
        optimiser={"m": generator.normal(size=5), "count": np.array(step)},
        replay={"frames": generator.integers(0, 255, (2, 4, 4, 3), dtype=np.uint8)},
        ledger={"experience": ["a"], "exposures": [3]},
        state={"version": step, "number": step, "generator": {"state": 2**100}, **state},
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    saved = make(7)
    loaded = checkpoints.load(checkpoints.save(saved, tmp_path, keep=3))
    assert loaded.step == 7
    assert loaded.ledger == saved.ledger
    assert loaded.state["generator"] == saved.state["generator"]
    for group in ("model", "optimiser", "replay"):
        for name, array in getattr(saved, group).items():
            assert np.array_equal(getattr(loaded, group)[name], array)
            assert getattr(loaded, group)[name].dtype == array.dtype


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 4, 30):
        checkpoints.save(make(step), tmp_path, keep=2)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-000000004", "step-000000030"]
    assert checkpoints.latest(tmp_path) == tmp_path / "step-000000030"


def test_what_a_rollback_undid_is_not_resumed(tmp_path: Path) -> None:
    for step in (10, 20, 30, 15):
        checkpoints.save(make(step), tmp_path, keep=3)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-000000010", "step-000000015"]
    assert checkpoints.latest(tmp_path) == tmp_path / "step-000000015"


def test_checkpoints_of_one_step_stay_apart_so_that_the_next_may_extend_either(tmp_path: Path) -> None:
    """In a pause steps stand still, and the learner may not know yet that its last checkpoint is on disk."""
    for number, extends in ((1, 0), (2, 1), (3, 1), (4, 3), (5, 3)):
        checkpoints.save(make(10, number=number, extends=extends), tmp_path, keep=2)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-000000010-0004", "step-000000010-0005"]
    newest = checkpoints.latest(tmp_path)
    assert newest is not None
    assert checkpoints.load(newest).state["number"] == 5
    checkpoints.save(make(11), tmp_path, keep=2)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-000000010-0005", "step-000000011"]
    checkpoints.save(make(9), tmp_path, keep=2)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-000000009"]


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real ENOSPC: /dev/full accepts no byte. The last good checkpoint stays."""
    checkpoints.save(make(1), tmp_path, keep=3)
    real = Path.open

    def open_full(path: Path, mode: str = "r") -> Any:
        return real(Path("/dev/full") if path.name == "replay.safetensors" else path, mode)

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(RunError, match="No space left"):
        checkpoints.save(make(2), tmp_path, keep=3)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]


@pytest.mark.parametrize("victim", ["state.json", "model.safetensors", "ledger.json"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, victim: str) -> None:
    path = checkpoints.save(make(1), tmp_path, keep=3)
    (path / victim).write_bytes(b"\x00garbage")
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoints.load(path)


def test_a_checkpoint_whose_writing_was_killed_is_not_found(tmp_path: Path) -> None:
    path = checkpoints.save(make(1), tmp_path, keep=3)
    path.rename(tmp_path / ".partial-000000001")
    assert checkpoints.latest(tmp_path) is None


def test_what_each_rank_has_is_kept_and_given_back_to_it(tmp_path: Path) -> None:
    first = make(7, ranks=2)
    other = replace(make(7), model={}, optimiser={"m": np.array([9.0])}, replay={"frames": np.ones(3)}, ledger=BOOK)
    taken = checkpoints.gather([replace(first, ledger=BOOK, retired=BOOK), replace(other, retired=BOOK)])
    assert taken.retired["exposures"] == [6]
    loaded = checkpoints.load(checkpoints.save(taken, tmp_path, keep=3))
    ours, theirs = (loaded.of_rank(rank, 2) for rank in range(2))
    assert np.array_equal(ours.optimiser["m"], first.optimiser["m"])
    assert np.array_equal(theirs.optimiser["m"], [9.0])
    assert theirs.optimiser["count"] == ours.optimiser["count"] == 7
    assert np.array_equal(theirs.model["w"], first.model["w"])
    assert np.array_equal(theirs.replay["frames"], np.ones(3))
    assert (ours.others, theirs.others) == ((), ())
    assert loaded.whole_ledger()["exposures"] == [6]
    for ranks in (1, 3):
        with pytest.raises(CheckpointError, match=rf"of 2 ranks.* learner.ranks = {ranks}: resume with 2"):
            loaded.of_rank(0, ranks)


def test_ranks_that_were_asked_at_different_moments_make_no_checkpoint() -> None:
    with pytest.raises(CheckpointError, match=r"different moments: \[\(7, 7\), \(8, 8\)\]"):
        checkpoints.gather([make(7), make(8)])


def test_a_learner_goes_on_from_healthy_weights_where_there_are_any(tmp_path: Path) -> None:
    """A rollback's own checkpoint may never be written: the learner can die before."""
    checkpoints.save(make(10, healthy=True), tmp_path, keep=2)
    for step in (20, 30, 40):
        checkpoints.save(make(step, healthy=False), tmp_path, keep=2)
    assert checkpoints.latest(tmp_path) == tmp_path / "step-000000010", "kept, though it is older than `keep` others"
    assert len(list(tmp_path.iterdir())) == 3
    checkpoints.save(make(15, healthy=True), tmp_path, keep=2)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-000000010", "step-000000015"]
    only = tmp_path / "only"
    checkpoints.save(make(3, healthy=False), only, keep=2)
    assert checkpoints.latest(only) == only / "step-000000003", "better than none"
    checkpoints.save(make(4, healthy=None), only, keep=2)
    assert checkpoints.latest(only) == only / "step-000000004"
