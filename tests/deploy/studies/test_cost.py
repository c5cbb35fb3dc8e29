"""What a study is going to take."""

from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import ConfigError
from deploy.studies.cost import check_memory, costs, memory_bytes, recording_bytes
from deploy.studies.pace import Match, Pace, mean_step_flops
from deploy.studies.plan import encoder_parameters
from deploy.studies.trial import do_trial, result_of
from tests.deploy.studies.streams import config, record, trial


def test_estimates_are_near_what_a_trial_takes(tmp_path: Path) -> None:
    plain = trial(record(tmp_path / "places.rec"))
    (before,) = costs([plain], tmp_path / "trials")
    do_trial(plain, tmp_path / "trials" / plain.name)
    result = result_of(tmp_path / "trials" / plain.name)
    assert result is not None
    assert before.parameters == result["parameters"]["encoder"]
    assert before.steps == pytest.approx(result["steps"], rel=0.1)
    assert before.flops == pytest.approx(result["flops"], rel=0.1)
    assert not before.done
    (after,) = costs([plain], tmp_path / "trials")
    assert after.done
    assert after.seconds == result["seconds"]
    kept = sum(file.stat().st_size for file in (tmp_path / "trials").rglob("*") if file.is_file())
    assert kept / 8 < before.disk < 8 * kept


def test_what_does_not_fit_is_named_and_what_does_is_counted() -> None:
    small, large = trial(Path()), trial(Path(), {"learner.model.dim": 192, "learner.model.depth": 12})
    need = memory_bytes(large)
    assert memory_bytes(small) < need
    assert check_memory([small, large], available=2 * need) == 2
    with pytest.raises(ConfigError, match=r"only: learner\.model = '192 wide, 12 deep'.*GiB"):
        check_memory([small, large], available=need - 1)


def test_an_iid_trial_holds_the_whole_stream() -> None:
    long = {"duration": 36000.0}
    more = memory_bytes(trial(Path(), long, iid=True)) - memory_bytes(trial(Path(), long))
    frames = 36000 * 10 * 24 * 24 * 3
    assert frames < more < 3 * frames
    assert recording_bytes(trial(Path(), long)) < frames


def test_the_pace_grants_what_the_rate_says() -> None:
    run = config()
    assert Pace.of(run, Match.STEPS, 0.0).steps_in(1e-9) == float("inf")
    pace = Pace.of(run, Match.CLOCK, 4 * mean_step_flops(run))
    assert [pace.steps_in(seconds) for seconds in (0.0, 0.25, 10.0)] == pytest.approx([0, 1, 40])


def test_parameters_are_counted_and_operations_grow_with_the_network() -> None:
    small, large = config(), config({"learner.model.dim": 48})
    assert 3 < encoder_parameters(large) / encoder_parameters(small) < 4
    assert mean_step_flops(large) > 2 * mean_step_flops(small)
    wider = replace(small, learner=replace(small.learner, optim=replace(small.learner.optim, batch_size=16)))
    assert mean_step_flops(wider) == pytest.approx(2 * mean_step_flops(small), rel=0.1)
