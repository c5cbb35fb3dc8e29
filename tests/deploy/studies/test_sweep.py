"""`engram sweep`, from a file to the last trial, through the command line and a real Ray."""

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml

from common.config.files import to_yaml
from deploy.cli import main
from deploy.rundir import read_rows, take
from deploy.studies.files import load
from deploy.studies.trial import result_of
from tests.actors.films import film
from tests.deploy.studies.streams import VALUES, config, record
from tests.runs import wait_until

OF_STREAM = ("duration", "world.", "actors.", "stream.")


def write(path: Path, **changes: Any) -> Path:
    if not (path.parent / "places.rec").exists():
        record(path.parent / "places.rec")
    base = {name: value for name, value in VALUES.items() if not name.startswith(OF_STREAM)}
    content = {
        "v": 2,
        "title": "Two buffers",
        "recording": "places.rec",
        "seeds": 2,
        "base": base,
        "variants": {"fifo": None, "reservoir": {"learner.replay.keep": "reservoir"}, "iid": {"iid": True}},
        "bound": "iid",
        "reference": "fifo",
    }
    path.write_text(yaml.safe_dump({**content, **changes}))
    return path


def results(out: Path) -> dict[str, dict[str, Any]]:
    found = {path.name: result_of(path) for path in (out / "trials").iterdir()}
    return {name: result for name, result in found.items() if result is not None}


def engram(*words: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", "engram", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.timeout(600)
def test_a_study_killed_twice_ends_with_the_numbers_of_one_that_was_not(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Once a trial's process is killed, once the whole sweep."""
    file, out = write(tmp_path / "few.yaml"), tmp_path / "out"
    assert main(["sweep", str(file), "--out", str(tmp_path / "whole")]) == 0
    assert "6 of 6 trials are done" in capfd.readouterr().out
    whole = results(tmp_path / "whole")
    assert set(whole) == {f"{name}-s{seed}" for name in ("fifo", "reservoir", "iid") for seed in (0, 1)}

    sweep = engram("sweep", str(file), "--out", str(out))
    wait_until(lambda: any(out.glob("trials/*/checkpoints/step-*/state.json")), 120, "a trial that goes on")
    workers = [child for child in psutil.Process(sweep.pid).children(recursive=True) if "ray::" in child.name()]
    busy = max(workers, key=lambda child: child.cpu_times().user)
    os.kill(busy.pid, signal.SIGKILL)
    wait_until(lambda: len(results(out)) >= 2, 120, "some trials have ended")
    family = psutil.Process(sweep.pid).children(recursive=True)
    sweep.kill()
    sweep.wait()
    gone, alive = psutil.wait_procs(family, 90)
    assert not alive, f"left behind: {alive}"
    assert gone

    assert main(["sweep", str(file), "--out", str(out), "--expect", str(tmp_path / "whole")]) == 0
    assert capfd.readouterr().out.count("equal to the bit") == 6
    found = results(out)
    assert set(found) == set(whole)
    for name, result in found.items():
        assert result["weights"] == whole[name]["weights"], name
        assert result["numbers"] == whole[name]["numbers"], name
    study = json.loads((out / "study.json").read_text())
    assert study["trials"] == [*study["trials"]]
    assert set(study["trials"]) == set(found)
    assert (study["bound"], study["reference"], study["match"]) == ("iid", "fifo", "steps")
    assert {study["streams"]["places.rec"]} == {result["stream"]["digest"] for result in found.values()}


@pytest.mark.timeout(240)
def test_a_study_that_is_asked_to_stop_ends_in_order_and_goes_on(tmp_path: Path) -> None:
    file, out = write(tmp_path / "few.yaml", seeds=1), tmp_path / "out"
    sweep = engram("sweep", str(file), "--out", str(out))
    wait_until(lambda: any(out.glob("trials/*/checkpoints/step-*/state.json")), 120, "a trial that goes on")
    family = psutil.Process(sweep.pid).children(recursive=True)
    sweep.terminate()
    said, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == 130
    assert "trials are done; the same command goes on" in said.decode()
    assert "Traceback" not in said.decode()
    assert not psutil.wait_procs(family, 30)[1]
    assert main(["sweep", str(file), "--out", str(out)]) == 0
    assert len(results(out)) == 3


@pytest.mark.timeout(240)
def test_a_trial_that_cannot_be_is_given_up_with_its_reason_and_the_others_go_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file, out = write(tmp_path / "few.yaml", seeds=1), tmp_path / "out"
    (out / "trials").mkdir(parents=True)
    (out / "trials" / "fifo-s0").write_text("no folder can be made here")
    assert main(["sweep", str(file), "--out", str(out)]) == 1
    assert "fifo-s0 failed: " in capfd.readouterr().out
    assert set(results(out)) == {"reservoir-s0", "iid-s0"}
    (out / "trials" / "fifo-s0").unlink()
    assert main(["sweep", str(file), "--out", str(out)]) == 0
    assert "3 of 3 trials are done" in capfd.readouterr().out


@pytest.mark.timeout(300)
def test_a_folder_of_anybodys_videos_is_a_stream(tmp_path: Path) -> None:
    """Two walks over walls of noise: no ground truth, no probes, memory all the same."""
    (tmp_path / "walks").mkdir()
    random = np.random.default_rng(0)
    for name in ("garden", "street"):
        wall = random.integers(0, 256, (48, 400, 3), dtype=np.uint8)
        frames = [(number / 10, np.ascontiguousarray(wall[:, number : number + 48])) for number in range(300)]
        film(tmp_path / "walks" / f"{name}.mkv", frames, "ffv1", "bgr0")
    base = {
        name: value for name, value in VALUES.items() if not name.startswith(("world.", "stream.salt", "actors.count"))
    }
    base |= {"world.image_size": [24, 24], "actors.fps": 10}
    file = write(
        tmp_path / "few.yaml", seeds=1, recording=None, videos="walks", base=base, variants={"fifo": None}, bound=""
    )
    assert main(["sweep", str(file), "--out", str(tmp_path / "out")]) == 0
    result = results(tmp_path / "out")["fifo-s0"]
    assert result["stream"]["frames"] == 600
    rows = list(read_rows(tmp_path / "out" / "trials" / "fifo-s0" / "evaluations.jsonl"))
    assert {row["world"] for row in rows if row["row"] == "experience"} == {"garden", "street"}
    assert rows[-1]["loss"] > 0
    (again,) = load(file).trials(tmp_path / "out" / "recordings")
    assert again.recording.is_dir()


def test_a_dry_run_says_what_it_takes_and_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "few.yaml")
    assert main(["sweep", str(file), "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "6 trials, 6 to do, on 1 recordings, 0 to be made; matched by steps" in said
    assert "GiB of disk" in said
    assert not (tmp_path / "out").exists()


def test_what_the_cluster_lacks_is_said_before_anything_waits_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "few.yaml", gpus=64)
    assert main(["sweep", str(file), "--out", str(tmp_path / "out")]) == 2
    assert "fifo: GPU = '64': is what a trial needs of one host" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--list"),
        (["nothing"], "must be a YAML file, or one of"),
        (["model_size", "--scale", "huge"], "must be a YAML file, or one of"),
        (["model_size", "--jobs", "-1"], "jobs"),
        (["model_size", "--attempts", "0"], "attempts"),
    ],
)
def test_words_that_mean_nothing_are_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_list_names_every_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--list"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("model_size", "technique", "buffer", "visit_length", "revisit"))


def test_another_stream_or_another_study_in_the_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "few.yaml", digest="0" * 32)
    assert main(["sweep", str(file), "--out", str(tmp_path / "out")]) == 2
    assert "is not the checksum of places.rec" in capsys.readouterr().err
    for content, said in (
        ({"name": "other", "match": "steps", "rate": 0.0}, "is of the study other"),
        ({"name": "few", "match": "clock", "rate": 1e9}, "has trials matched by clock, rate 1e+09"),
        ({"name": "few"}, "is damaged"),
    ):
        (tmp_path / "out" / "study.json").write_text(json.dumps(content))
        assert main(["sweep", str(write(tmp_path / "few.yaml")), "--out", str(tmp_path / "out")]) == 2
        assert said in capsys.readouterr().err


def test_two_sweeps_do_not_share_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = write(tmp_path / "few.yaml"), tmp_path / "out"
    out.mkdir()
    with closing(take(out)):
        assert main(["sweep", str(file), "--out", str(out)]) == 2
    assert "is in use" in capsys.readouterr().err


def test_results_of_another_configuration_do_not_pass_for_this_studys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, folder = write(tmp_path / "few.yaml"), tmp_path / "out" / "trials" / "reservoir-s1"
    folder.mkdir(parents=True)
    changed = config({"learner.replay.keep": "log_age"}, seed=1)
    (folder / "config.yaml").write_text(to_yaml(changed))
    assert main(["sweep", str(file), "--out", str(tmp_path / "out")]) == 1
    assert "reservoir-s1 is of another configuration" in capsys.readouterr().err
