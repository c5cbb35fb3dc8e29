"""The run directory: made once, appended to, readable after any death."""

import errno
import io
import json
import logging
import math
import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import ConfigError, RunError
from common.status import RunStatus, StoreStatus
from deploy.rundir import RowFile, RunDirectory, plain, read_rows, to_json


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[RunDirectory]:
    directory = RunDirectory(tmp_path / "runs" / "one")
    yield directory
    directory.close()


def test_the_time_in_which_a_run_was_not_there_is_no_system_time(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    directory = RunDirectory(folder)
    assert directory.stood() == 0.0

    def event(kind: str, ago: float, **more: float) -> None:
        row = {"v": 1, "t": time.time() - ago, "kind": kind, **more}
        with (folder / "events.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    event("started", 1000)
    os.utime(folder / "metrics.jsonl", (0, time.time() - 900))
    assert directory.stood() == pytest.approx(900, abs=1), "it died after 100 s"
    event("paused", 800, stood=0.0)
    event("checkpoint", 790)
    assert directory.stood() == pytest.approx(800, abs=1), "it died in a pause"
    event("went_on", 700, stood=100.0)
    event("stopped", 500, stood=100.0)
    assert directory.stood() == pytest.approx(600, abs=1)
    directory.close()


def test_it_is_made_once_and_never_over_another(directory: RunDirectory) -> None:
    assert {path.name for path in directory.path.iterdir()} == {
        "events.jsonl", "metrics.jsonl", "evaluations.jsonl", "checkpoints", "actors", "report", ".lock",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="exists already: choose another, or `engram resume` it") as error:
        RunDirectory(directory.path)
    assert error.value.field == "run_dir"


def test_a_place_where_no_folder_can_be_made_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        RunDirectory(tmp_path / "file" / "run")


def test_resuming_needs_an_earlier_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be the folder of an earlier run"):
        RunDirectory.open(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="must be the folder of an earlier run"):
        RunDirectory.open(tmp_path)


def test_rows_go_on_where_the_earlier_run_was_cut_off(directory: RunDirectory) -> None:
    directory.event("started", seed=3)
    directory.evaluation({"row": "evaluation", "version": 1})
    directory.close()
    with (directory.path / "events.jsonl").open("a") as file:
        file.write('{"v":1,"kind":"hal')
    assert [row["kind"] for row in read_rows(directory.path / "events.jsonl")] == ["started"]
    again = RunDirectory.open(directory.path)
    again.event("resumed")
    again.close()
    assert [row["kind"] for row in again.read_events()] == ["started", "resumed"]
    assert again.read_evaluations() == [{"v": 1, "row": "evaluation", "version": 1}]


def test_an_event_has_its_time_twice_and_the_same(directory: RunDirectory) -> None:
    row = directory.event("restart", part="actor-0")
    assert row["utc"].endswith("Z")
    assert math.isclose(datetime.fromisoformat(row["utc"]).timestamp(), row["t"], abs_tol=2e-3)
    assert directory.read_events() == [{"v": 1, **row}]


def test_a_row_is_on_the_disk_when_append_returns(directory: RunDirectory) -> None:
    directory.metrics({"t": 1.0, "part": "driver"})
    assert (directory.path / "metrics.jsonl").read_text() == '{"v":1,"t":1.0,"part":"driver"}\n'


def test_json_is_strict() -> None:
    value = {
        "nan": math.nan,
        "inf": [math.inf, -math.inf],
        "numpy": np.float32(0.5),
        "array": np.array([1.0, np.nan]),
        "path": Path("a/b"),
        "status": RunStatus(store=StoreStatus(entries={"actor-0": 3})),
        "text": "日本 – é",
    }
    found = json.loads(to_json(value), parse_constant=pytest.fail)
    assert found["nan"] is None
    assert found["inf"] == [None, None]
    assert found["numpy"] == 0.5
    assert found["array"] == [1.0, None]
    assert found["path"] == str(Path("a/b"))
    assert found["status"]["learner"]["loss"] is None
    assert found["status"]["store"]["entries"] == {"actor-0": 3}
    assert found["text"] == value["text"]
    with pytest.raises(TypeError, match="object has no place in JSON"):
        plain(object())


def test_damage_before_the_last_line_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a":1}\nnot json\n{"a":2}\n')
    with pytest.raises(RunError, match="line 2"):
        list(read_rows(path))
    assert list(read_rows(tmp_path / "missing.jsonl")) == []


class FillingUp(io.FileIO):
    """A file on a disk with little room: a write takes what still fits, the next one fails."""

    room = 100

    def write(self, data: Any) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = super().write(data[: self.room])
        self.room -= taken
        return taken


def test_a_full_disk_loses_whole_rows_and_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"v":1,"n":0}\n{"torn')
    really_open = Path.open
    disk: list[FillingUp] = []

    def open_here(self: Path, mode: str = "r", **options: Any) -> Any:
        if mode != "ab":
            return really_open(self, mode, **options)
        disk.append(FillingUp(self, mode))
        return disk[-1]

    monkeypatch.setattr(Path, "open", open_here)
    rows = RowFile(path)
    with caplog.at_level(logging.ERROR):
        taken = [rows.append({"n": number, "text": "x" * 20}) for number in range(1, 5)]
    assert taken == [True, True, False, False]
    assert rows.lost == 2
    assert [record.message for record in caplog.records] == [
        f"no space left for {path}: rows are lost from now on, the run goes on"
    ]
    disk[-1].room = 1000
    assert rows.append({"n": 5})
    rows.close()
    assert path.read_bytes().endswith(b"\n")
    assert [row["n"] for row in read_rows(path)] == [0, 1, 2, 5]


def test_other_errors_of_the_disk_are_not_hidden(tmp_path: Path) -> None:
    rows = RowFile(tmp_path / "rows.jsonl")
    rows.close()
    with pytest.raises(ValueError, match="closed file"):
        rows.append({"n": 1})


def test_a_small_file_is_written_whole_or_not_at_all(directory: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    path = directory.write_text_atomic("config.yaml", "seed: 1\n")
    assert path.read_text() == "seed: 1\n"

    def fail(_: Any) -> None:
        raise OSError("the disk went away")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="went away"):
        directory.write_text_atomic("config.yaml", "seed: 2\n")
    assert path.read_text() == "seed: 1\n"
    assert not list(directory.path.glob(".config*"))


def test_a_directory_belongs_to_one_run_at_a_time(tmp_path: Path) -> None:
    first = RunDirectory(tmp_path / "run")
    with pytest.raises(ConfigError, match="still going on"):
        RunDirectory.open(tmp_path / "run")
    first.close()
    RunDirectory.open(tmp_path / "run").close()
