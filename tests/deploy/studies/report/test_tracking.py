"""Trials as MLflow runs, where MLflow is installed; where it is not, a clear error."""

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConfigError
from deploy.studies.report.material import gather
from deploy.studies.report.tracking import log
from tests.deploy.studies.report.made import sizes, study

HERE = importlib.util.find_spec("mlflow") is not None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    axes, variants = sizes((1e4,))
    return study(tmp_path / "study", axes, variants, seeds=(0, 1))


@pytest.mark.skipif(HERE, reason="mlflow is installed")
def test_without_mlflow_the_error_says_what_to_install(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pip install 'pamiq-engram\[mlflow\]'"):
        log(gather(folder, 8.0), str(tmp_path / "store"), tmp_path)


@pytest.mark.skipif(not HERE, reason="mlflow is not installed")
def test_trials_are_runs_that_can_be_read_back(folder: Path, tmp_path: Path) -> None:
    mlflow: Any = importlib.import_module("mlflow")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("page", "utf-8")
    where = str(tmp_path / "store")
    assert log(gather(folder, 8.0), where, tmp_path / "report") == (2, 0)
    row = json.loads((folder / "trials" / "s0-s1" / "trial.json").read_text("utf-8"))
    (folder / "trials" / "s0-s1" / "trial.json").write_text(json.dumps(row | {"numbers": "2" * 32}), "utf-8")
    material = gather(folder, 8.0)
    assert log(material, where, tmp_path / "report") == (1, 1)
    client: Any = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'store' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("made").experiment_id])
    by_name = {run.data.tags["engram.trial"]: run for run in runs}
    assert set(by_name) == {"s0-s0", "s0-s1", "report"}
    run = by_name["s0-s0"]
    assert run.data.params["level.size"] == "s0"
    assert run.data.params["config.learner.replay.draw"] == "rehearsal"
    history = client.get_metric_history(run.info.run_id, "gain.place")
    wanted = [version["gain.place"] for version in material.findings[0].versions[0]]
    assert sorted(point.value for point in history) == pytest.approx(sorted(wanted))
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"config.yaml", "evaluations.jsonl"}
    assert [file.path for file in client.list_artifacts(by_name["report"].info.run_id)] == ["index.html"]
