"""`engram sweep`: one recording, many ways to train on it, one table.

    recording ─► OfflineLearner of each (variant, seed) ─► probes, health at fixed points ─► runs/<variant>-<seed>.json
                                                                                                   │
                                                                              deploy.ranking ◄─────┘

Every run is a process of its own and ends with a file that appears whole; a sweep that was stopped goes on with the
runs that have none.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, fields, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml
from numpy.typing import NDArray

from common.config import RunConfig
from common.config.files import with_values
from common.config.presets import preset
from common.errors import ConfigError
from common.exposure import Exposure, ExposureRule
from common.ijepa.network import Network
from common.messages import Datum
from common.process import settle
from common.recording import Recording
from deploy.probe_set import record_probe_set
from evaluator.encoders import Pixels, batch_size, encode
from evaluator.health import measure_health
from evaluator.probes import Probes, Task
from evaluator.probeset import ProbeSet, ProbeSpec
from evaluator.scores import NotMeasurable
from learner.offline import OfflineLearner

SCHEMA = 1
TASKS = (Task.WORLD, Task.PLACE, Task.HEADING, Task.DEPTH)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is compared on one recording.

    Attributes:
        recording: What `engram record` made; relative to the sweep's file.
        preset: Configuration that all variants begin with.
        images: Frames that each run uses in gradient steps; the replay ratio follows from it.
        evaluations: How often each run is measured, evenly spaced, the last time at its end.
        seeds: Seeds of initialisation, masks and sampling; the recording stays the same.
        base: Fields of the configuration that all variants change, by dotted path.
        variants: By name, fields that this one changes. `iid: true` gives it the whole recording before the first step.
    """

    recording: Path
    preset: str = "demo"
    images: int = 11000
    evaluations: int = 6
    seeds: tuple[int, ...] = (0, 1, 2)
    base: Mapping[str, Any]
    variants: Mapping[str, Mapping[str, Any]]

    @classmethod
    def load(cls, path: Path) -> "Sweep":
        """Reads a sweep's YAML file, and builds the configuration of every variant to see that it can be.

        Raises:
            ConfigError: A field is unknown, missing or impossible; named by variant.
        """
        try:
            content: Any = yaml.safe_load(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError("sweep", str(path), f"cannot be read: {str(error).splitlines()[0]}") from None
        known = {item.name for item in fields(cls)}
        if not isinstance(content, dict) or cast(dict[str, Any], content).pop("v", None) != SCHEMA:
            raise ConfigError("sweep", str(path), f"must be a sweep of schema {SCHEMA}: `v: {SCHEMA}`")
        given = cast(dict[str, Any], content)
        if wrong := sorted(given.keys() - known) or sorted({"recording", "variants"} - given.keys()):
            raise ConfigError(f"sweep.{wrong[0]}", given.get(wrong[0]), f"fields are {', '.join(sorted(known))}")
        given["recording"] = path.parent / given["recording"]
        given["seeds"] = tuple(given.get("seeds", (0, 1, 2)))
        given["base"] = given.get("base") or {}
        given["variants"] = {str(name): changes or {} for name, changes in given["variants"].items()}
        sweep = cls(**given)
        for name in sweep.variants:
            sweep.config(name, 0)
        return sweep

    def config(self, variant: str, seed: int) -> RunConfig:
        """Builds the configuration of one run.

        Raises:
            ConfigError: A field is unknown or impossible.
        """
        changes = {**self.base, **self.variants[variant]}
        changes.pop("iid", None)
        try:
            config = replace(with_values(preset(self.preset), changes), seed=seed)
        except ConfigError as error:
            raise ConfigError(f"{variant}: {error.field}", error.value, error.allowed) from None
        if config.learner.ranks > 1:
            raise ConfigError(f"{variant}: learner.ranks", config.learner.ranks, "must be 1: each run trains alone")
        return config

    def is_iid(self, variant: str) -> bool:
        """Whether this variant has the whole recording before its first step."""
        return bool(self.variants[variant].get("iid", False))


def result_path(folder: Path, variant: str, seed: int) -> Path:
    """Says where the result of a run lies."""
    return folder / "runs" / f"{variant}-{seed}.json"


def prepare(sweep: Sweep) -> None:
    """Makes sure that the recording is one, and records the probe sets that are not there yet.

    Raises:
        RecordingError: There is no such recording.
    """
    Recording(sweep.recording)
    for variant in sweep.variants:
        run = sweep.config(variant, 0)
        spec = ProbeSpec.of(run)
        path = spec.cache_path(run.evaluator.cache)
        if not path.exists():
            record_probe_set(spec, path)


def run_sweep(sweep: Sweep, folder: Path, *, jobs: int) -> Iterator[int]:
    """Does all runs that have no result yet, several at a time.

    Args:
        sweep: What to compare.
        folder: Where results go.
        jobs: Runs at a time, each with the threads that `learner.threads` says.

    Yields:
        How many runs are left, at first and after each run that ended.
    """
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    todo = [
        (variant, seed)
        for seed in sweep.seeds
        for variant in sweep.variants
        if not result_path(folder, variant, seed).exists()
    ]
    yield len(todo)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        futures = [pool.submit(_run, sweep, folder, variant, seed) for variant, seed in todo]
        for ended, future in enumerate(as_completed(futures), start=1):
            future.result()
            yield len(todo) - ended


def _run(sweep: Sweep, folder: Path, variant: str, seed: int) -> None:
    """Does one run and writes its result."""
    config = sweep.config(variant, seed)
    settle(part=f"sweep {variant} {seed}", threads=config.learner.threads, nice=config.learner.nice)
    began = time.monotonic()
    # The rule's salt is that of the recording, whatever the seed: all runs train on the same frames.
    data = [datum for datum in Recording(sweep.recording) if _exposed(config, datum)]
    learner = _learner(sweep, config, data, iid=sweep.is_iid(variant))
    examiner = Examiner(config)
    evaluations = list(_train(sweep, learner, examiner, data, iid=sweep.is_iid(variant)))
    result = {
        "v": SCHEMA,
        "variant": variant,
        "seed": seed,
        "iid": sweep.is_iid(variant),
        "frames": len(data),
        "seconds": time.monotonic() - began,
        "evaluations": evaluations,
        "pixels": examiner.pixels(),
    }
    path = result_path(folder, variant, seed)
    state = learner.model.state_dict()
    Network(config=config.learner.model, image_size=config.world.image_size, tensors=state).save(
        path.with_suffix(".safetensors")
    )
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(result), "utf-8")
    part.replace(path)


def _exposed(config: RunConfig, datum: Datum) -> bool:
    rule = ExposureRule.of(replace(config, seed=0))
    return rule.classify(datum.visit, datum.visit_time) is Exposure.EXPOSED


def _learner(sweep: Sweep, config: RunConfig, data: Sequence[Datum], *, iid: bool) -> OfflineLearner:
    """Makes a learner whose replay ratio spreads the images over the data."""
    replay = config.learner.replay
    earned = max(1, len(data) - replay.min_fill)
    replay = replace(replay, replay_ratio=sweep.images / earned, capacity=len(data) if iid else replay.capacity)
    exposed = replace(config, stream=replace(config.stream, withhold=False))  # chosen above, by the recording's salt
    return OfflineLearner(replace(exposed, learner=replace(config.learner, replay=replay)))


def _train(
    sweep: Sweep, learner: OfflineLearner, examiner: "Examiner", data: Sequence[Datum], *, iid: bool
) -> Iterator[dict[str, Any]]:
    """Trains, and measures at evenly spaced numbers of images; first of all before the first step."""
    batch = learner.batch
    yield {"images": 0, **examiner.examine(learner)}
    for datum in data if iid else ():
        learner.take(datum)
    points = [sweep.images * (number + 1) // sweep.evaluations for number in range(sweep.evaluations)]
    stream = iter(()) if iid else iter(data)
    while points:
        learner.train(max(1, (points[0] - learner.images) // batch))
        if learner.images + batch > points[0]:
            points.pop(0)
            yield {"images": learner.images, **examiner.examine(learner)}
            continue
        datum = next(stream, None)
        if datum is None:
            yield {"images": learner.images, **examiner.examine(learner)}
            return
        learner.take(datum)


class Examiner:
    """Measures an encoder on the probe set of a configuration.

    Args:
        run: The configuration; its probe set must have been recorded.
    """

    def __init__(self, run: RunConfig) -> None:
        self._set = ProbeSet.load(ProbeSpec.of(run).cache_path(run.evaluator.cache))
        self._probes = Probes(self._set)

    def examine(self, learner: OfflineLearner) -> dict[str, Any]:
        """Gives scores, the sums over walks behind them, and health, as JSON-able values."""
        encoder = learner.model.target_encoder
        batch = batch_size(encoder, encoder.grid[0] * encoder.grid[1])
        features_ND = encode(encoder, self._set.frames, pause=lambda: None, batch=batch)
        return self._measure(features_ND)

    def pixels(self) -> dict[str, Any]:
        """Measures the pixel baseline."""
        return self._measure(encode(Pixels(), self._set.frames, pause=lambda: None))

    def _measure(self, features_ND: NDArray[np.float32]) -> dict[str, Any]:
        scores = self._probes.run(features_ND, lambda: None)
        health = measure_health(features_ND)
        sums = {
            str(task): sample.sums_CS.tolist()
            for task in TASKS
            if not isinstance(sample := scores.samples[task], NotMeasurable)
        }
        return {
            "probes": {str(task): scores.linear[task].row() for task in TASKS},
            "sums": sums,
            "health": health.row(),
        }
