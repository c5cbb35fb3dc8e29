"""`engram evaluate`: a run directory in, a table and JSON out."""

import json
from pathlib import Path

import numpy as np
import pytest

from common.config.files import to_yaml
from common.config.presets import preset
from common.errors import ConfigError, RunError
from deploy.cli import main
from deploy.evaluate import MEASURED, evaluate, study_of
from deploy.rundir import to_json
from evaluator.calibration.plan import LEVELS, Plan
from evaluator.calibration.simulator import simulate


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    rows = simulate(Plan(collapses=0.0), LEVELS["low"], np.random.default_rng(0))
    (folder / "evaluations.jsonl").write_text("".join(to_json({"v": 1, **row}) + "\n" for row in rows), "utf-8")
    (folder / "config.yaml").write_text(to_yaml(preset("demo")), "utf-8")
    return folder


def test_times_of_a_run_are_printed_and_written(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run_dir)]) == 0
    shown = capsys.readouterr().out
    assert "T_mem" in shown
    assert "not measurable, because the version rows hold no scores of whole worlds" in shown
    written = json.loads((run_dir / "report" / "times.json").read_text("utf-8"))
    seconds, frames = (written["t_mem"]["medians"][clock] for clock in ("seconds", "frames"))
    demo = preset("demo")
    assert frames["value"] == pytest.approx(seconds["value"] * demo.actors.fps * demo.actors.count)
    assert seconds["low"] < seconds["value"] < seconds["high"]
    assert f"{seconds['value']:.3g} [" in shown


def test_other_measures_are_not_in_these_rows(run_dir: Path) -> None:
    out = run_dir / "loss.json"
    assert evaluate([str(run_dir), "--measure", "loss", "--out", str(out)]) == 0
    assert "not_measurable" in json.loads(out.read_text("utf-8"))["t_mem"]


def test_a_calibration_takes_the_noise_of_a_run(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run_dir / "calibration.json"
    assert evaluate([str(run_dir), "--calibrate", "--studies", "3", "--out", str(out)]) == 0
    written = json.loads(out.read_text("utf-8"))
    assert set(written) == {*LEVELS, MEASURED}
    assert written["low"]["studies"] == 3
    assert "were called memorised" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "run_dirs"),
        (["nowhere"], "must be a run directory"),
        (["--calibrate", "--studies", "0"], "studies = 0: must be at least 1"),
        (["--calibrate", "a", "b"], "at most one"),
    ],
)
def test_what_cannot_work_is_refused(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *words]) == 2
    assert complaint in capsys.readouterr().err


def test_a_damaged_row_is_named(run_dir: Path) -> None:
    path = run_dir / "evaluations.jsonl"
    path.write_text(to_json({"schema": 2, "row": "experience", "version": 3}) + "\n", "utf-8")
    with pytest.raises(RunError, match=r"experience row of version 3: KeyError"):
        study_of([run_dir])


def test_a_run_that_measured_no_placebos_gives_no_noise(run_dir: Path) -> None:
    (run_dir / "evaluations.jsonl").write_text("", "utf-8")
    with pytest.raises(ConfigError, match="three placebos"):
        evaluate([str(run_dir), "--calibrate"])
