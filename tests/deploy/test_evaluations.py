"""What a run says of memory while it goes on is what `engram evaluate` and the report say at its end."""

import json
from pathlib import Path

import pytest

from common.catalogue import Metric
from common.metrics import samples
from common.status import RunStatus, StudyStatus
from deploy.evaluate import evaluate
from deploy.evaluations import Evaluations, read_study
from deploy.report.material import gather
from deploy.rundir import RunDirectory, read_rows
from evaluator.scores import Score
from tests.deploy.report.runs import measured, simulated
from tests.runs import wait_until


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("runs"))


def test_medians_and_contrasts_are_those_of_engram_evaluate(folder: Path) -> None:
    told = read_study(folder)
    assert evaluate([str(folder)]) == 0
    times = json.loads((folder / "report" / "times.json").read_text("utf-8"))
    for name in ("t_mem", "t_forget", "half_peak"):
        median = times[name]["medians"]["seconds"]
        shown = told.times[name]
        assert (shown.value, shown.low, shown.high) == (median["value"], median["low"], median["high"])
        assert told.outcomes[name] == times[name]["counts"]
    assert told.threshold == times["theta"]["value"]
    assert told.contrasts["episodic"].value == times["episodic"]["value"]
    assert "world" not in told.contrasts, "the simulator has no scores of whole worlds"
    assert told.missing["rememorised"].startswith("its return was seen in 0 of")


def test_continual_metrics_are_those_of_the_report(tmp_path: Path) -> None:
    folder = measured(tmp_path)
    told, scores = read_study(folder), gather([folder]).first.continual.scores
    found = {
        str(name): score.value for name, score in scores.items() if isinstance(score, Score) and name != "recovery"
    }
    assert found
    assert {name: number.value for name, number in told.continual.items()} == found


def test_prometheus_sees_value_and_interval(folder: Path) -> None:
    shown = {sample.key: sample.value for sample in samples(RunStatus(study=read_study(folder)))}
    ends = [
        shown[f'engram_driver_memory_time_seconds{{time="t_mem",bound="{end}"}}'] for end in ("low", "value", "high")
    ]
    assert ends == sorted(ends)
    assert not any(sample.metric is Metric.DRIVER_TIME for sample in samples(RunStatus(study=StudyStatus())))


def test_rows_are_written_and_read_again(folder: Path, tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    evaluations = Evaluations(directory, elapsed=lambda: 12.5)
    evaluations.look(None)
    assert evaluations.study == StudyStatus(), "nothing was measured yet"
    rows = list(read_rows(folder / "evaluations.jsonl"))
    evaluations.write(rows)

    def read() -> bool:
        evaluations.look(None)
        return evaluations.study.times == expected

    expected = read_study(folder).times
    wait_until(read, 30, "all rows are read")
    assert {row["elapsed"] for row in directory.read_evaluations()} == {12.5}
    evaluations.close()
