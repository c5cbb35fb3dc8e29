"""Sweeps, from the recording of real worlds to the ranking, through the command line."""

import json
from pathlib import Path

import pytest
import yaml

from common.errors import ConfigError
from deploy.cli import main
from deploy.sweep import Sweep

MODEL = {
    "learner.model.patch_size": 8,
    "learner.model.dim": 24,
    "learner.model.depth": 1,
    "learner.model.predictor_dim": 12,
    "learner.model.predictor_depth": 1,
    "learner.optim.batch_size": 8,
    "learner.replay.capacity": 64,
    "learner.replay.min_fill": 16,
    "learner.nice": 0,
    "world.image_size": [48, 48],
    "world.worlds": ["freedoom2:map01", "freedoom1:e1m1"],
    "world.placebo_worlds": [],
    "evaluator.trajectories": 4,
    "evaluator.frames": 4,
}


def write(path: Path, **changes: object) -> Path:
    content = {
        "v": 1,
        "recording": "tour.rec",
        "images": 96,
        "evaluations": 2,
        "seeds": [0],
        "base": MODEL,
        "variants": {"fifo": None, "reservoir": {"learner.replay.keep": "reservoir"}, "iid": {"iid": True}},
    }
    path.write_text(yaml.safe_dump(content | changes))
    return path


@pytest.mark.timeout(240)
def test_a_recording_is_swept_and_ranked_and_a_stopped_sweep_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = [
        "--world.worlds",
        "freedoom2:map01",
        "freedoom1:e1m1",
        "--world.visit",
        "6",
        "--world.image-size",
        "48",
        "48",
    ]
    record = ["record", str(tmp_path / "tour.rec"), "--duration", "12s", "--actors.count", "1", *flags]
    assert main([*record, "--world.placebo-worlds"]) == 0
    assert "120 frames" in capfd.readouterr().out
    cache = {"evaluator.cache": str(tmp_path)}
    file = write(tmp_path / "few.yaml", base=MODEL | cache)
    assert main(["sweep", str(file), "--jobs", "2"]) == 0
    out = capfd.readouterr().out
    assert all(name in out for name in ("fifo", "reservoir", "**iid** (bound)", "random-init", "8×8 pixels"))
    runs = tmp_path / "few" / "runs"
    results = {path.stem: json.loads(path.read_text()) for path in runs.glob("*.json")}
    assert set(results) == {"fifo-0", "reservoir-0", "iid-0"}
    for result in results.values():
        assert [one["images"] for one in result["evaluations"]] == [0, 48, 96]
        assert result["frames"] == results["iid-0"]["frames"]
        assert result["evaluations"][0]["probes"] == results["iid-0"]["evaluations"][0]["probes"]
    before = {path: path.read_bytes() for path in runs.glob("*.json")}
    (runs / "fifo-0.json").unlink()
    assert main(["sweep", str(file)]) == 0
    again = {path: path.read_bytes() for path in runs.glob("*.json")}
    assert again.keys() == before.keys()
    changed = [path.stem for path in before if before[path] != again[path]]
    assert changed in ([], ["fifo-0"])
    kept, repeated = (json.loads(one[runs / "fifo-0.json"]) for one in (before, again))
    assert kept["evaluations"] == repeated["evaluations"], "the same run again gives the same numbers"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"v": 2}, "must be a sweep of schema 1"),
        ({"colour": 1}, r"sweep\.colour"),
        ({"variants": {"a": {"learner.lr": 1.0}}}, r"a: learner\.lr"),
        ({"variants": {"a": {"learner.optim.lr": -1.0}}}, r"a: learner\.optim\.lr = -1"),
        ({"base": {"learner.replay.keep": "best"}}, "must be one of fifo, reservoir"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        Sweep.load(write(tmp_path / "sweep.yaml", **changes))


def test_a_missing_recording_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", str(write(tmp_path / "sweep.yaml"))]) == 2
    assert "cannot read" in capsys.readouterr().err
