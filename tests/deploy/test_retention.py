"""Pictures that were to go are gone, and nothing else is."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.config import RunConfig
from common.config.files import to_yaml
from common.errors import CheckpointError
from common.messages import Datum
from common.recording import Manifest, RecordingWriter
from deploy.cli import main
from deploy.rundir import RunDirectory
from learner import checkpoint as checkpoints
from learner.checkpoint import Checkpoint

type Make = Callable[..., Datum]

DAY = 86400.0


@pytest.fixture
def ended_run(tmp_path: Path) -> Path:
    """A run that ended two days ago and whose pictures may stay for one."""
    folder = tmp_path / "runs" / "a"
    directory = RunDirectory(folder)
    directory.write_text_atomic("config.yaml", to_yaml(replace(RunConfig(), retention=DAY)))
    directory.event("stopped")
    directory.write_text_atomic("evaluator.safetensors", "pictures")
    directory.close()
    part = Checkpoint(
        step=1,
        model={"w": np.ones(3, np.float32)},
        optimiser={"m": np.ones(3)},
        replay={"frames": np.ones((2, 4, 4, 3), np.uint8)},
        ledger={},
        state={"number": 1, "ranks": 2},
    )
    checkpoints.save(replace(part, others=(part,)), folder / "checkpoints", keep=1)
    events = folder / "events.jsonl"
    row = events.read_text("utf-8")
    moment = row.partition('"t":')[2].partition(",")[0]
    events.write_text(row.replace(moment, str(time.time() - 2 * DAY)), "utf-8")
    return folder


def test_a_run_keeps_all_but_its_pictures(ended_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.relative_to(ended_run) for path in ended_run.rglob("*") if path.is_file()}
    assert main(["expire", str(ended_run.parent), "--dry-run"]) == 0
    assert "would go" in capsys.readouterr().out
    assert {path.relative_to(ended_run) for path in ended_run.rglob("*") if path.is_file()} == before
    assert main(["expire", str(ended_run.parent)]) == 0
    assert "removed" in capsys.readouterr().out
    after = {path.relative_to(ended_run) for path in ended_run.rglob("*") if path.is_file()}
    assert {path.name for path in before - after} == {"replay.safetensors", "evaluator.safetensors"}
    newest = checkpoints.latest(ended_run / "checkpoints")
    assert newest is not None
    loaded = checkpoints.load(newest)
    assert loaded.model["w"].tolist() == [1, 1, 1]
    assert not loaded.replay
    with pytest.raises(CheckpointError, match="expired"):
        loaded.of_rank(0, 2)
    assert main(["expire", str(ended_run.parent)]) == 0
    assert capsys.readouterr().out == ""


def test_what_is_not_due_stays(ended_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["expire", str(ended_run), "--older", "3d"]) == 0
    assert "kept until" in capsys.readouterr().out
    assert list(ended_run.rglob("replay.safetensors"))


def test_a_run_that_is_going_on_keeps_its_pictures(ended_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = RunDirectory.open(ended_run)
    assert main(["expire", str(ended_run)]) == 1
    assert "in use" in capsys.readouterr().out
    assert list(ended_run.rglob("replay.safetensors"))
    directory.close()


def test_what_cannot_be_read_hides_nothing_else(ended_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = ended_run.parent / "0"
    broken.mkdir()
    (broken / "events.jsonl").write_text("no row\n", "utf-8")
    assert main(["expire", str(ended_run.parent)]) == 1
    said = capsys.readouterr().out
    assert "cannot be looked at" in said
    assert "removed" in said


def test_what_killed_processes_left_goes_too(ended_run: Path) -> None:
    left = (
        "checkpoints/.partial-000000009/replay.safetensors",
        ".evaluator.safetensors.77",
        "store/appendonlydir/x.aof",
    )
    for name in left:
        (ended_run / name).parent.mkdir(parents=True, exist_ok=True)
        (ended_run / name).write_text("pictures")
    assert main(["expire", str(ended_run)]) == 0
    assert not [name for name in left if (ended_run / name).exists()]


def test_a_recording_that_is_being_written_stays(
    tmp_path: Path, make_datum: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    with RecordingWriter(tmp_path / "a.rec", of=Manifest.new("tour")) as writer:
        writer.write(make_datum(seq=0, captured_ns=0))
        time.sleep(0.05)
        assert main(["expire", str(tmp_path), "--older", "10ms"]) == 1
        assert "is being written" in capsys.readouterr().out
    time.sleep(0.05)
    assert main(["expire", str(tmp_path), "--older", "1h"]) == 0
    assert (tmp_path / "a.rec").exists()
    assert main(["expire", str(tmp_path), "--older", "10ms"]) == 0
    assert not (tmp_path / "a.rec").exists()


def test_a_recording_goes_as_a_whole(tmp_path: Path, make_datum: Make) -> None:
    for name, days in (("old", 3.0), ("new", 0.5)):
        written = time.time() - days * DAY
        config = replace(RunConfig(), retention=DAY)
        with RecordingWriter(tmp_path / name, of=Manifest.new("stream", config=config)) as writer:
            writer.write(make_datum(seq=0, captured_ns=5))  # as in a tour, whose clock begins at 0
        for file in (tmp_path / name).iterdir():
            os.utime(file, (written, written))
    assert main(["expire", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
