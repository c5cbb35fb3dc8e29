"""One trial in its folder: begun, gone on with, ended; `trial.json` appears last, and whole.

trials/<variant>-s<seed>/
    config.yaml  events.jsonl  evaluations.jsonl   as in any run directory
    checkpoints/  progress.safetensors             while it goes on
    encoder.safetensors  trial.json                once it has ended
"""

import json
import os
import platform
import resource
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import psutil
import torch

from actors.worlds.kinds import kind_of
from common.config import RunConfig
from common.config.files import from_yaml, to_yaml
from common.config.run import flatten
from common.errors import CheckpointError, ConfigError, RunError
from common.ijepa.network import Network
from common.recording import Recording
from deploy.probe_set import record_probe_set
from deploy.rundir import RunDirectory, read_rows
from deploy.studies.pace import Pace, mean_step_flops
from deploy.studies.plan import Trial
from deploy.studies.training import Rows, Training
from deploy.version import code_version
from evaluator.probeset import ProbeSet, ProbeSpec
from learner import checkpoint as checkpoints
from learner.checkpoint import Checkpoint

SCHEMA = 1
RESULT = "trial.json"
FAILURE = "failed.json"
ENCODER = "encoder.safetensors"
_PROGRESS = "progress.safetensors"
_PATIENCE = 60.0
_OF_MACHINE = {"t", "seconds", "cpu_seconds", "cost", "lives", "skipped", "v"}
"""Fields of rows that tell of the machine, not of what was learned."""


@dataclass(frozen=True, kw_only=True)
class _Begun:
    """Where an earlier process stood.

    Attributes:
        checkpoint: What the learner goes on from.
        state: The evaluator's.
        rows: Bytes of `evaluations.jsonl` then.
    """

    checkpoint: Checkpoint
    state: bytes
    rows: int


def do_trial(trial: Trial, folder: Path) -> Mapping[str, Any]:
    """Does a trial, or the rest of one.

    Args:
        trial: What to do.
        folder: Its folder; made where it is missing.

    Returns:
        What stands in `trial.json`.

    Raises:
        RunError: The folder is another trial's, or its disk is full.
        RecordingError: The recording is missing or damaged.
        CheckpointError: Frames of the recording are of another size.
    """
    directory, begun = _enter(trial, folder)
    meter = _Meter(begun.checkpoint.state["spent"] if begun else (0.0, 0.0))
    try:
        recording = Recording(trial.recording)
        training = Training(
            trial.config,
            pace=Pace.of(trial.config, trial.match, trial.rate),
            probe_set=_probe_set(trial.config),
            data=recording.counted.data,
            iid=trial.variant.iid,
            earlier=(begun.checkpoint, begun.state) if begun else None,
        )
        keeper = _Keeper(directory, training, meter, trial.config.learner.checkpoint_every)
        training.run(recording, keeper.each)
        if trial.digest and training.digest.text() != trial.digest:
            raise RunError(f"{trial.recording} was changed while {trial.name} went through it: remove {folder}")
        return _end(trial, directory, training, meter.spent())
    finally:
        directory.close()


def result_of(folder: Path) -> dict[str, Any] | None:
    """Reads what a trial has found; None where it has not ended.

    Raises:
        RunError: It is damaged.
    """
    path = folder / RESULT
    if not path.exists():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if content["v"] != SCHEMA:
            raise RunError(f"{path}: schema {content['v']!r}; {SCHEMA} is allowed")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged ({type(error).__name__}): remove it, and sweep again") from None
    return content


def check_same(trials: Sequence[Trial], folder: Path) -> None:
    """Makes sure that what trials have left so far is of the same study: results of another must not pass for theirs.

    Args:
        trials: What is going to be done.
        folder: Where theirs are.

    Raises:
        RunError: A folder is of another configuration.
    """
    for trial in trials:
        _check_same(trial, folder / trial.name)


def _check_same(trial: Trial, folder: Path) -> None:
    path = folder / "config.yaml"
    if not path.exists():
        return
    before, now = flatten(from_yaml(path)), flatten(trial.config)
    for row in read_rows(folder / "events.jsonl"):
        if row["kind"] == "started":
            asked = {name: value for name, value in _asked(trial).items() if value and row.get(name)}
            before |= {name: row[name] for name in asked}
            now |= asked
    if differing := [name for name in now if before.get(name) != now[name]]:
        name = differing[0]
        raise RunError(
            f"{folder} is of another configuration ({name} was {before.get(name)!r} and is {now[name]!r} now): "
            "choose another --out, or remove it"
        )


def _asked(trial: Trial) -> dict[str, str]:
    """What decides a trial besides its configuration; empty where it is not known yet."""
    return {
        "order": "shuffled" if trial.variant.iid else "lived",
        "match": f"{trial.match} {trial.rate:g}",
        "stream": trial.digest,
    }


def measured_digest(folder: Path) -> str:
    """Checksum of everything that was measured, without times of the machine: equal where numbers are."""
    digest = blake2b(digest_size=16)
    for row in read_rows(folder / "evaluations.jsonl"):
        kept = {name: value for name, value in row.items() if name not in _OF_MACHINE}
        digest.update(json.dumps(kept, sort_keys=True).encode())
    return digest.hexdigest()


def _enter(trial: Trial, folder: Path) -> tuple[RunDirectory, _Begun | None]:
    """Opens the folder, and finds where an earlier process stood; one that has no checkpoint yet begins anew."""
    if (folder / "events.jsonl").exists():
        _check_same(trial, folder)
        directory = _opened(folder)
        begun = _begun(directory)
        if begun is not None:
            with (folder / "evaluations.jsonl").open("r+b") as file:
                file.truncate(begun.rows)
            directory.event("resumed", step=begun.checkpoint.step)
            return directory, begun
        directory.close()
    if folder.is_dir():  # nothing that could be gone on with
        shutil.rmtree(folder)
    directory = RunDirectory(folder)
    directory.write_text_atomic("config.yaml", to_yaml(trial.config))
    directory.event("started", trial=trial.name, study=trial.study, **_asked(trial))
    return directory, None


def _opened(folder: Path) -> RunDirectory:
    """Opens a folder that a process may still hold which is about to notice that its sweep was killed.

    Raises:
        ConfigError: It is held for longer than that.
    """
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return RunDirectory.open(folder)
        except ConfigError:
            if time.monotonic() > end:
                raise
        time.sleep(1.0)


def _begun(directory: RunDirectory) -> _Begun | None:
    newest = checkpoints.latest(directory.checkpoints)
    if newest is None:
        return None
    try:
        checkpoint = checkpoints.load(newest)
        state = (directory.path / str(checkpoint.state["progress"])).read_bytes()
        begun = _Begun(checkpoint=checkpoint, state=state, rows=int(checkpoint.state["rows"]))
    except (CheckpointError, OSError, KeyError):  # half of what it needs: from the beginning, then
        return None
    return begun if (directory.path / "evaluations.jsonl").stat().st_size >= begun.rows else None


class _Keeper:
    """Writes rows as they come, and now and then all that another process needs to go on."""

    def __init__(self, directory: RunDirectory, training: Training, meter: "_Meter", every: float) -> None:
        self._directory, self._training, self._meter, self._every = directory, training, meter, every
        self._kept = time.monotonic()

    def each(self, rows: Rows) -> None:
        for row in rows:
            self._directory.evaluation(row)
        if self._directory.lost_rows:
            raise RunError(f"no space left for {self._directory.path}: free some, and sweep again")
        if rows and time.monotonic() - self._kept >= self._every:
            self._keep()
            self._kept = time.monotonic()

    def _keep(self) -> None:
        checkpoint, state = self._training.state()
        path = self._directory.path
        rows = path / "evaluations.jsonl"
        with rows.open("rb") as file:
            os.fsync(file.fileno())
        # A name of its own each time: the pair of before stays whole until the new checkpoint is there.
        name = f"{checkpoint.state['trial']['version']}.{_PROGRESS}"
        before = [file for file in path.glob(f"*.{_PROGRESS}") if file.name != name]
        self._directory.write_atomic(name, state)
        size, spent = rows.stat().st_size, self._meter.spent()
        kept = {**checkpoint.state, "rows": size, "progress": name, "spent": spent}
        checkpoints.save(replace(checkpoint, state=kept), self._directory.checkpoints, keep=1)
        for file in before:
            file.unlink()


def _end(trial: Trial, directory: RunDirectory, training: Training, spent: Sequence[float]) -> Mapping[str, Any]:
    folder, config = directory.path, trial.config
    network = Network(
        config=config.learner.model,
        image_size=config.world.image_size,
        tensors={name: tensor.cpu() for name, tensor in training.learner.model.state_dict().items()},
    )
    network.save(folder / ENCODER)
    directory.event("ended", step=training.learner.step.step)
    resumed = sum(event["kind"] == "resumed" for event in directory.read_events())
    evaluated = [row for row in directory.read_evaluations() if row.get("row") == "evaluation"]
    seen = [row["system_time"] for row in evaluated]
    model, flops = training.learner.model, mean_step_flops(config)
    result = {
        "v": SCHEMA,
        "study": trial.study,
        "name": trial.name,
        "variant": trial.variant.name,
        "levels": dict(trial.variant.levels),
        "numbers_on_axes": dict(trial.numbers),
        "seed": trial.seed,
        "iid": trial.variant.iid,
        "parameters": {
            "encoder": _count(model.context_encoder),
            "predictor": _count(model.predictor),
            "trained": _count(model.context_encoder) + _count(model.predictor),
        },
        "match": str(trial.match),
        "rate": trial.rate,
        "seconds_per_step": Pace.of(config, trial.match, trial.rate).seconds_per_step,
        "steps": training.learner.step.step,
        "images": training.learner.images,
        "flops": flops * training.learner.step.step,
        "data": dict(training.counts()),
        "stream": {
            "digest": training.digest.text(),
            "salt": config.stream.salt,
            "seconds": max(seen, default=0.0) - min(seen, default=0.0),
            "frames": training.position,
            "fps": config.actors.fps,
            "recording": trial.recording.name,
        },
        "seconds": spent[0],
        "cpu_seconds": spent[1],
        "evaluation_cpu_seconds": sum(row["cpu_seconds"] for row in evaluated),
        "resumed": resumed,
        "machine": machine(config),
        "code": code_version(),
        "weights": _weights_digest(network),
        "numbers": measured_digest(folder),
    }
    directory.write_text_atomic(RESULT, json.dumps(result, indent=1) + "\n")
    shutil.rmtree(directory.checkpoints, ignore_errors=True)
    directory.checkpoints.mkdir()
    for file in (*folder.glob(f"*.{_PROGRESS}"), folder / FAILURE):
        file.unlink(missing_ok=True)
    return result


def machine(config: RunConfig) -> dict[str, Any]:
    """Says what a trial is computed on: numbers are equal to the bit on equal ones."""
    gpu = torch.cuda.is_available() and config.learner.device != "cpu"
    return {
        "cpu": cpu_name(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "threads": config.learner.threads,
        "cores": psutil.cpu_count(),
        "device": config.learner.device,
        "gpu": torch.cuda.get_device_name() if gpu else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def cpu_name() -> str:
    """Names the processor as Linux does, or as Python can elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _probe_set(config: RunConfig) -> ProbeSet | None:
    if not kind_of(config.world).truth:
        return None
    spec = ProbeSpec.of(config)
    path = spec.cache_path(config.evaluator.cache)
    if not path.exists():  # on another host than the one that prepared the study: the same walks, recorded there
        record_probe_set(spec, path)
    return ProbeSet.load(path)


def _count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _weights_digest(network: Network) -> str:
    digest = blake2b(digest_size=16)
    for name, tensor in sorted(network.tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


class _Meter:
    """Seconds that a trial has taken, those of earlier processes included.

    Args:
        before: Wall and CPU seconds of those.
    """

    def __init__(self, before: Sequence[float]) -> None:
        self._before, self._began = before, self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return time.monotonic(), used.ru_utime + used.ru_stime

    def spent(self) -> list[float]:
        """Wall and CPU seconds so far."""
        return [before + now - began for before, now, began in zip(self._before, self._now(), self._began, strict=True)]
