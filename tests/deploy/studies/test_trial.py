"""One trial: the same numbers to the bit, also when its process is killed in the middle."""

import json
import multiprocessing
import os
import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from common.errors import CheckpointError, RecordingError, RunError
from common.ijepa.network import Network
from common.recording import Recording
from deploy.evaluate import study_of
from deploy.rundir import read_rows
from deploy.studies.pace import Match, mean_step_flops
from deploy.studies.plan import Trial
from deploy.studies.trial import FAILURE, RESULT, do_trial, measured_digest, result_of
from evaluator.experience import Kind
from learner import checkpoint as checkpoints
from tests.deploy.studies.streams import record, trial
from tests.runs import wait_until


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("streams") / "places.rec")


@pytest.fixture(scope="module")
def whole(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trial that nothing happened to."""
    folder = tmp_path_factory.mktemp("trials") / "whole"
    do_trial(trial(recording), folder)
    return folder


def result(folder: Path) -> dict[str, Any]:
    found = result_of(folder)
    assert found is not None
    return found


def heads(folder: Path) -> list[dict[str, Any]]:
    return [row for row in read_rows(folder / "evaluations.jsonl") if row["row"] == "evaluation"]


def test_it_measures_before_the_first_step_then_at_even_times_of_the_stream_and_at_its_end(whole: Path) -> None:
    rows = heads(whole)
    assert [row["version"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[0]["step"] == 0
    assert [row["system_time"] for row in rows] == pytest.approx([*range(0, 60, 5), 59.9])
    steps = [row["step"] for row in rows]
    assert steps == sorted(steps)
    found = result(whole)
    assert found["steps"] == steps[-1]
    # The ratio, to within the slack of two batches.
    assert abs(found["images"] - 1.5 * (found["data"]["exposed"] - 16)) <= 2 * 8
    assert sum(found["data"].values()) == found["stream"]["frames"] == 600
    assert found["flops"] == pytest.approx(steps[-1] * mean_step_flops(trial(Path()).config))
    assert not list(whole.glob("checkpoints/*"))
    assert not list(whole.glob("*.progress.safetensors"))


def test_its_folder_is_read_like_a_run(whole: Path) -> None:
    (run,) = study_of([whole]).runs
    assert {kind: len(run.of(kind)) > 0 for kind in Kind} == {
        Kind.EXPOSED: True, Kind.WITHHELD: True, Kind.PLACEBO: False,
    }  # fmt: skip
    assert (run.exposures_EV[run.of(Kind.EXPOSED)][:, -1] > 0).any()
    assert not (run.exposures_EV[run.of(Kind.WITHHELD)] > 0).any()
    assert Network.load(whole / "encoder.safetensors").image_size == (24, 24)


def test_the_same_trial_gives_the_same_numbers_and_another_seed_others(
    whole: Path, recording: Path, tmp_path: Path
) -> None:
    do_trial(trial(recording), tmp_path / "again")
    do_trial(trial(recording, seed=1), tmp_path / "other")
    first, again, other = result(whole), result(tmp_path / "again"), result(tmp_path / "other")
    assert again["weights"] == first["weights"]
    assert again["numbers"] == first["numbers"]
    assert other["weights"] != first["weights"]
    assert other["numbers"] != first["numbers"]
    assert other["stream"] == first["stream"]
    assert other["data"] == first["data"], "which frames are withheld does not depend on the learner's seed"


@pytest.mark.parametrize("iid", [False, True])
def test_killed_in_the_middle_it_goes_on_and_ends_as_if_nothing_had_been(
    recording: Path, tmp_path: Path, iid: bool
) -> None:
    wanted = trial(recording, iid=iid)
    do_trial(wanted, tmp_path / "whole")
    folder = tmp_path / "killed"
    process = multiprocessing.get_context("spawn").Process(target=do_trial, args=(wanted, folder))
    process.start()
    assert process.pid
    wait_until(lambda: any(folder.glob("checkpoints/step-*/state.json")), 60, "a checkpoint")
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert result_of(folder) is None, "it ended before it could be killed"
    with (folder / "evaluations.jsonl").open("ab") as file:
        file.write(b'{"v":1,"torn')
    do_trial(wanted, folder)
    first, second = result(tmp_path / "whole"), result(folder)
    assert second["resumed"] == 1
    assert second["weights"] == first["weights"]
    assert second["numbers"] == first["numbers"] == measured_digest(folder)


def test_iid_has_everything_before_its_first_step_and_as_many_steps(
    whole: Path, recording: Path, tmp_path: Path
) -> None:
    do_trial(trial(recording, iid=True), tmp_path / "iid")
    found, lived = result(tmp_path / "iid"), result(whole)
    assert found["iid"]
    assert found["data"]["exposed"] == lived["data"]["exposed"]
    rows = heads(tmp_path / "iid")
    assert len(rows) == len(heads(whole))
    assert rows[0]["step"] == 0
    assert abs(found["images"] - lived["images"]) <= 8
    assert not any(row["row"] == "experience" for row in read_rows(tmp_path / "iid" / "evaluations.jsonl"))


def test_where_time_is_matched_steps_stay_within_it(whole: Path, recording: Path, tmp_path: Path) -> None:
    plain = trial(recording)
    slow = mean_step_flops(plain.config) * 0.5  # half a step a second
    do_trial(replace(plain, match=Match.CLOCK, rate=slow), tmp_path / "slow")
    assert result(tmp_path / "slow")["steps"] == int(59.9 * 0.5)
    assert all(row["step"] <= row["system_time"] * 0.5 for row in heads(tmp_path / "slow"))
    do_trial(replace(plain, match=Match.CLOCK, rate=slow * 1e6), tmp_path / "fast")
    assert result(tmp_path / "fast")["weights"] == result(whole)["weights"]


def test_a_machine_that_waits_for_data_saves_no_time_up(recording: Path, tmp_path: Path) -> None:
    """Nothing can be done before `min_fill`, and those seconds are gone."""
    late = trial(recording, {"learner.replay.min_fill": 200, "learner.replay.capacity": 256})
    rate = mean_step_flops(late.config) * 2
    do_trial(replace(late, match=Match.CLOCK, rate=rate), tmp_path / "late")
    rows = heads(tmp_path / "late")
    begun = next(number for number, row in enumerate(rows) if row["step"])
    for before, after in pairwise(rows[begun - 1 :]):
        assert after["step"] - before["step"] <= 2 * (after["system_time"] - before["system_time"]) + 1


class _Stop(Exception):
    """The process is at its end."""


def broken_off(wanted: Trial, folder: Path, monkeypatch: pytest.MonkeyPatch, *, keeps: int, half: bool = False) -> None:
    """Does a trial until it has been kept so often; with `half`, up to the middle of the last time."""
    save, done = checkpoints.save, 0

    def saved(*args: Any, **options: Any) -> Path:
        nonlocal done
        done += 1
        if done == keeps and half:
            raise _Stop
        path = save(*args, **options)
        if done == keeps:
            raise _Stop
        return path

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "save", saved)
        with pytest.raises(_Stop):
            do_trial(wanted, folder)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("keeps", [2, 5, 13])
def test_wherever_it_is_broken_off_it_ends_the_same(
    whole: Path, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keeps: int, half: bool
) -> None:
    """Between any two writes, before the first step and after the last measurement too."""
    broken_off(trial(recording), tmp_path / "broken", monkeypatch, keeps=keeps, half=half)
    do_trial(trial(recording), tmp_path / "broken")
    assert result(tmp_path / "broken")["resumed"] == 1
    assert result(tmp_path / "broken")["numbers"] == result(whole)["numbers"]
    assert result(tmp_path / "broken")["weights"] == result(whole)["weights"]


def test_slow_trials_go_on_with_what_they_last_said_of_themselves(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = trial(recording)
    slow = replace(plain, match=Match.CLOCK, rate=mean_step_flops(plain.config) * 0.15)
    do_trial(slow, tmp_path / "whole")
    broken_off(slow, tmp_path / "broken", monkeypatch, keeps=6)
    do_trial(slow, tmp_path / "broken")
    assert result(tmp_path / "broken")["numbers"] == result(tmp_path / "whole")["numbers"]


def test_rows_that_a_power_cut_took_are_measured_again(
    whole: Path, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_off(trial(recording), tmp_path / "broken", monkeypatch, keeps=5)
    with (tmp_path / "broken" / "evaluations.jsonl").open("r+b") as file:
        file.truncate(1000)
    do_trial(trial(recording), tmp_path / "broken")
    assert result(tmp_path / "broken")["numbers"] == result(whole)["numbers"]


def test_what_decides_a_trial_besides_its_configuration_must_stay_the_same(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = replace(trial(recording), digest="a" * 32)
    broken_off(begun, tmp_path / "t", monkeypatch, keeps=2)
    for changed, said in (
        (trial(recording, iid=True), "order was 'lived' and is 'shuffled'"),
        (replace(begun, match=Match.CLOCK, rate=1e9), "match was 'steps 0' and is 'clock 1e"),
        (replace(begun, digest="b" * 32), "stream was 'aaa"),
    ):
        with pytest.raises(RunError, match=said):
            do_trial(changed, tmp_path / "t")
    with pytest.raises(RunError, match="was changed while"):
        do_trial(begun, tmp_path / "t")


def test_a_folder_of_another_configuration_is_refused(whole: Path, recording: Path) -> None:
    with pytest.raises(RunError, match="another configuration"):
        do_trial(trial(recording, {"learner.optim.lr": 1e-5}), whole)


def test_what_a_failure_left_is_no_obstacle(whole: Path, recording: Path, tmp_path: Path) -> None:
    folder = tmp_path / "only-s0"
    folder.mkdir()
    (folder / FAILURE).write_text("{}")
    do_trial(trial(recording), folder)
    assert result(folder)["numbers"] == result(whole)["numbers"]
    assert not (folder / FAILURE).exists()


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    assert result_of(tmp_path) is None
    for content in ("{", "[]", json.dumps({"v": 99})):
        (tmp_path / RESULT).write_text(content)
        with pytest.raises(RunError, match=r"trial\.json"):
            result_of(tmp_path)


def test_a_missing_recording_or_one_of_another_size_is_said(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordingError):
        do_trial(trial(tmp_path / "none.rec"), tmp_path / "a")
    with pytest.raises(CheckpointError, match="shape"):
        do_trial(trial(recording, {"world.image_size": [32, 32]}), tmp_path / "b")
    assert not (tmp_path / "b" / FAILURE).exists()
    assert Recording(recording).counted.data == 600
