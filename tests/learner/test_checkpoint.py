from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import CheckpointError, RunError
from learner import checkpoint as checkpoints
from learner.checkpoint import Checkpoint


def make(step: int) -> Checkpoint:
    generator = np.random.default_rng(step)
    return Checkpoint(
        step=step,
        model={"w": generator.normal(size=(3, 4)).astype(np.float32)},
        optimiser={"m": generator.normal(size=5), "count": np.array(step)},
        replay={"frames": generator.integers(0, 255, (2, 4, 4, 3), dtype=np.uint8)},
        ledger={"experience": ["a"], "exposures": [3]},
        state={"version": step, "generator": {"state": 2**100}},
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
