"""Trials as MLflow runs: parameters, metrics of every version, files. MLflow is imported here alone, when asked."""

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from itertools import batched
from math import isfinite
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from deploy.studies.report.data import times_of
from deploy.studies.report.findings import Findings
from deploy.studies.report.material import Material
from deploy.studies.report.provenance import config_of
from deploy.studies.report.trials import Trial
from evaluator.scores import Result, Score

type Told = Callable[[str], None]

_LONGEST = 500
"""Most letters of a parameter's value that MLflow takes everywhere."""
_FILES = ("config.yaml", "trial.json", "evaluations.jsonl", "events.jsonl", "encoder.safetensors")
_TRIAL, _DIGEST, _STUDY = "engram.trial", "engram.numbers", "engram.study"


def log(material: Material, where: str, report: Path, told: Told = lambda _: None) -> tuple[int, int]:
    """Logs every trial as a run of the experiment named like the study, and the report as a run of its own.

    A trial that is there already, with the same checksum of its rows, is left; another of its name is replaced.

    Args:
        material: The study.
        where: Tracking URI (with `://` or `:///`), or a folder for a SQLite database and the files.
        report: Folder of the report.
        told: Called with what is being done.

    Returns:
        Trials that were logged, and trials that were there.

    Raises:
        ConfigError: MLflow is not installed, or cannot be written to.
    """
    mlflow = _mlflow()
    uri, files = _places(where)
    try:
        client: Any = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        store = _Store(client, mlflow.entities, _experiment(client, material.design.name, files))
        return store.log(material, report, told)
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise ConfigError("mlflow", where, f"could not be written to: {error}") from None


def _mlflow() -> Any:
    try:
        mlflow: Any = import_module("mlflow")
        import_module("mlflow.entities")
        import_module("mlflow.exceptions")
    except ImportError as error:
        raise ConfigError(
            "mlflow", str(error.name or "mlflow"), "is not installed: pip install 'pamiq-engram[mlflow]'"
        ) from None
    return mlflow


def _places(where: str) -> tuple[str, str | None]:
    """Tracking URI, and where files go; None leaves that to the server."""
    if "://" in where or where == "databricks":
        return where, None
    folder = Path(where).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()


def _experiment(client: Any, name: str, files: str | None) -> str:
    found = client.get_experiment_by_name(name)
    return found.experiment_id if found else client.create_experiment(name, artifact_location=files)


class _Store:
    """One experiment.

    Args:
        client: MLflow's client.
        entities: Its module `entities`.
        experiment: Id of the experiment.
    """

    def __init__(self, client: Any, entities: Any, experiment: str) -> None:
        self._client, self._entities, self._experiment = client, entities, experiment

    def log(self, material: Material, report: Path, told: Told) -> tuple[int, int]:
        """Logs what is not there yet; returns how many trials that were, and how many were there."""
        known = {run.data.tags.get(_TRIAL, ""): run for run in self._runs()}
        logged = left = 0
        for one in material.findings:
            for place, trial in enumerate(one.condition.trials):
                earlier = known.get(trial.name)
                if earlier is not None and trial.digest and earlier.data.tags.get(_DIGEST) == trial.digest:
                    left += 1
                    continue
                if earlier is not None:
                    self._client.delete_run(earlier.info.run_id)
                told(f"mlflow {trial.name}")
                self._trial(material.design.name, one, place)
                logged += 1
        if (earlier := known.get("report")) is not None:
            self._client.delete_run(earlier.info.run_id)
        told("mlflow report")
        run = self._begin("report", {_TRIAL: "report", _STUDY: material.design.name})
        self._client.log_artifacts(run.run_id, str(report))
        self._client.set_terminated(run.run_id)
        return logged, left

    def _runs(self) -> Iterator[Any]:
        token: str | None = None
        while True:
            page: Any = self._client.search_runs([self._experiment], max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _begin(self, name: str, tags: dict[str, str]) -> Any:
        return self._client.create_run(self._experiment, tags=tags, run_name=name).info

    def _trial(self, study: str, one: Findings, place: int) -> None:
        trial, versions = one.condition.trials[place], one.versions[place]
        tags = {_TRIAL: trial.name, _DIGEST: trial.digest, _STUDY: study, "engram.code": trial.code}
        run = self._begin(trial.name, tags)
        for some in batched(_parameters(trial).items(), 100):
            params = [self._entities.Param(name, value[:_LONGEST]) for name, value in some]
            self._client.log_batch(run.run_id, params=params)
        metrics = [
            self._entities.Metric(name, value, run.start_time + round(1000 * version["seconds"]), int(version["step"]))
            for version in versions
            for name, value in version.items()
            if name != "step"
        ]
        end = int(versions[-1]["step"])
        metrics += [
            self._entities.Metric(f"end.{name}", value, run.start_time, end) for name, value in _ends(one, place)
        ]
        for some in batched(metrics, 1000):
            self._client.log_batch(run.run_id, metrics=list(some))
        for name in _FILES:
            if (trial.folder / name).is_file():
                self._client.log_artifact(run.run_id, str(trial.folder / name))
        self._client.set_terminated(run.run_id)


def _parameters(trial: Trial) -> dict[str, str]:
    own = {
        "variant": trial.variant,
        "trial.seed": str(trial.seed),
        "trial.iid": str(trial.iid),
        "stream.digest": trial.stream.digest,
        "stream.recording": trial.recording,
    }
    levels: dict[str, Any] = trial.row.get("levels") or {}
    own |= {f"level.{axis}": str(level) for axis, level in levels.items()}
    own |= {f"trial.{name}": f"{value:g}" for name, value in trial.numbers.items() if isfinite(value)}
    return own | {f"config.{name}": value for name, value in config_of(trial).items()}


def _ends(one: Findings, place: int) -> Iterable[tuple[str, float]]:
    results: dict[str, Result] = {key: of[place] for key, of in one.scores.items()}
    for what, whom, clock in times_of(one):
        each = one.each_time(what, whom, clock)
        if each:
            results[f"{what}.{whom}.{clock}"] = each[place]
    return [(name, result.value) for name, result in results.items() if isinstance(result, Score)]
