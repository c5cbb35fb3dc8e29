"""Run directories small enough for a test: one measured by the real evaluator, one by the simulator of memories."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from common.config.files import to_yaml
from common.config.learner import LearnerConfig
from common.config.optim import OptimConfig
from common.config.presets import preset
from common.config.run import EvaluatorConfig, RunConfig, WorldConfig
from common.exposure import Exposure
from common.ijepa.model import IJepa
from common.ledger import COLUMNS, LedgerNews
from common.messages import VersionInfo
from deploy.rundir import to_json
from evaluator.calibration.plan import LEVELS, Plan
from evaluator.calibration.simulator import simulate
from evaluator.evaluator import Evaluator
from evaluator.probeset import ProbeSet, ProbeSpec
from learner import checkpoint
from learner.offline import OfflineLearner
from tests.evaluator.lives import Life
from tests.evaluator.test_experiences import MODEL
from tests.evaluator.walks import SIZE, stays, walks

TIMES = (20.0, 70.0, 100.0, 140.0, 200.0, 250.0, 290.0)
"""System times of the versions: visits of 60 s to w0, w1, w2, w0, w1."""


def config(folder: Path) -> RunConfig:
    return RunConfig(
        world=WorldConfig(worlds=("w0", "w1", "w2"), placebo_worlds=("p0",), image_size=SIZE),
        learner=LearnerConfig(model=MODEL, optim=OptimConfig(batch_size=8)),
        evaluator=EvaluatorConfig(experiences=60, share=8.0, trajectories=8, frames=20, cache=str(folder / "cache")),
        seed=3,
    )


def measured(folder: Path) -> Path:
    """A run that the real evaluator has measured, with events, metrics, a checkpoint and its probe set."""
    run, directory = config(folder), folder / "measured"
    directory.mkdir()
    spec = ProbeSpec.of(run)
    probes = ProbeSet.from_walks(spec, walks(spec), stays(spec))
    probes.save(spec.cache_path(run.evaluator.cache))
    evaluator, life = Evaluator(run, probes), Life(fps=2)
    lines, trained = list[str](), dict[str, int]()
    for version, time in enumerate(TIMES, 1):
        for datum, kind in life.live(time - life.steps / life.fps):
            evaluator.observe(datum, kind)
            if kind is Exposure.EXPOSED:
                trained.setdefault(datum.experience, datum.captured_ns)
        created = int((1000 + time) * 1e9)
        evaluator.exposures.take(version, _ledger(trained, 10 * version, created), created)
        info = VersionInfo(
            version=version, step=10 * version, created_ns=created, system_time=time, digest="", health={"loss": 0.3}
        )
        rows = evaluator.evaluate(info, IJepa(MODEL, SIZE, seed=version)).rows()
        lines += [to_json({"v": 1, **row}) + "\n" for row in rows]
    (directory / "evaluations.jsonl").write_text("".join(lines), "utf-8")
    (directory / "config.yaml").write_text(to_yaml(run), "utf-8")
    event = {"v": 1, "t": 1e9, "kind": "restart", "part": "learner", "reason": "<died> & came back"}
    (directory / "events.jsonl").write_text(to_json(event) + "\n", "utf-8")
    metrics = [
        {"v": 1, "t": 1.0, "part": "actor-0", "engram_actor_captured_frames_total": 580.0},
        {"v": 1, "t": 1.0, "part": "learner", 'engram_learner_read_entries_total{actor="a",fate="admitted"}': 411.0},
        {"v": 1, "t": 1.0, "part": "driver", "engram_driver_elapsed_seconds": 290.0},
    ]
    (directory / "metrics.jsonl").write_text("".join(to_json(row) + "\n" for row in metrics), "utf-8")
    checkpoint.save(OfflineLearner(run).snapshot(0), directory / "checkpoints", keep=1)
    return directory


def _ledger(trained: Mapping[str, int], step: int, now_ns: int) -> LedgerNews:
    """Says of each exposed experience that it was used as soon as it was seen, and ever since."""
    values = {"exposures": 5, "admitted_step": 1, "first_step": 1, "last_step": step, "last_ns": now_ns}
    columns = {name: np.full(len(trained), values.get(name, 0), np.int64) for name in COLUMNS}
    columns["first_ns"] = np.array(list(trained.values()), np.int64)
    return LedgerNews(experiences=tuple(trained), columns=columns)


def simulated(folder: Path, seed: int = 0) -> Path:
    """A run whose memories and forgetting are planted: it has no probes, no places and no checkpoint."""
    directory = folder / f"simulated-{seed}"
    directory.mkdir()
    rows = simulate(Plan(collapses=0.0), LEVELS["low"], np.random.default_rng(seed))
    (directory / "evaluations.jsonl").write_text("".join(to_json({"v": 1, **row}) + "\n" for row in rows), "utf-8")
    (directory / "config.yaml").write_text(to_yaml(replace(preset("demo"), seed=seed)), "utf-8")
    return directory
