"""A run on what pretends to be another machine, and how far it comes out: `python -m tests.learner.elsewhere`."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]

from common.config import LearnerConfig, ModelConfig, OptimConfig, ReplayConfig, RunConfig, WorldConfig
from common.exposure import ExposureRule
from common.messages import Datum
from learner.offline import OfflineLearner

SMALL = RunConfig(
    world=WorldConfig(image_size=(24, 24)),
    learner=LearnerConfig(
        model=ModelConfig(
            patch_size=4, dim=24, depth=2, heads=2, predictor_dim=12, predictor_depth=1, predictor_heads=2
        ),
        optim=OptimConfig(batch_size=8, lr=1e-3, warmup_steps=10, ema=0.99),
        replay=ReplayConfig(capacity=96, min_fill=32, replay_ratio=4.0),
    ),
)
MACHINES: Mapping[str, Mapping[str, str]] = {
    "as it is": {},
    "2 threads": {"OMP_NUM_THREADS": "2", "MKL_DYNAMIC": "FALSE"},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "SSE4": {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "MKL for others": {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "AVX2"},
}
"""What makes torch, MKL and oneDNN choose other kernels, as they would on other CPUs."""


def stream(run: RunConfig, frames: int) -> list[Datum]:
    """A visit of smooth frames that drift, ten a second."""
    generator, rule, visit = np.random.default_rng(1), ExposureRule.of(run), "actor-0.1.0000"
    height, width = run.world.image_size
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    waves = generator.uniform(1, 12, (3, 2)), generator.uniform(0, 6, 3), generator.uniform(0.02, 0.2, 3)
    data: list[Datum] = []
    for number in range(frames):
        moment = number / 10
        colours = [
            np.sin(row * rows + column * columns + start + speed * number)
            for (row, column), start, speed in zip(*waves, strict=True)
        ]
        frame = np.stack(colours, -1) * 90 + 128 + generator.normal(0, 8, (height, width, 3))
        data.append(
            Datum(
                buffer="frames",
                actor="actor-0",
                seq=number + 1,
                visit=visit,
                world="waves",
                experience=rule.experience(visit, moment),
                captured_ns=number * 10**8,
                system_time=moment,
                visit_time=moment,
                weights_version=0,
                action=np.zeros(0, np.float32),
                labels=None,
                data=frame.clip(0, 255).astype(np.uint8),
            )
        )
    return data


def train(run: RunConfig, steps: int) -> dict[str, torch.Tensor]:
    """Trains for some steps: `losses`, and all parameters."""
    learner = OfflineLearner(run)
    losses: list[float] = []
    for datum in stream(run, 100 * steps):
        learner.take(datum)
        learner.train(steps - len(losses), each=lambda report: losses.append(float(report.loss)))
        if len(losses) == steps:
            break
    return {"losses": torch.tensor(losses)} | {
        name: value.clone() for name, value in learner.model.state_dict().items()
    }


def difference(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """How far two runs are apart.

    Returns:
        `losses`: greatest relative difference of a step's loss; `weights`: ‖a − b‖ ÷ ‖a‖ over all parameters together.
    """
    losses = ((one["losses"] - other["losses"]).abs() / one["losses"]).max()
    names = [name for name in one if name != "losses"]
    apart = sum((one[name] - other[name]).double().square().sum() for name in names)
    return {
        "losses": float(losses),
        "weights": float(torch.as_tensor(apart / sum(one[name].double().square().sum() for name in names)).sqrt()),
    }


def run_on(machine: str, file: Path, steps: int) -> "subprocess.Popen[bytes]":
    """Starts a run on one of `MACHINES`."""
    environment: dict[str, str] = {**os.environ, "OMP_NUM_THREADS": "1", **MACHINES[machine]}
    return subprocess.Popen([sys.executable, "-m", "tests.learner.elsewhere", str(file), str(steps)], env=environment)


def measure(steps: int) -> None:
    """Prints how far every machine is from this one."""
    with tempfile.TemporaryDirectory() as folder:
        files = {machine: Path(folder) / f"{number}.safetensors" for number, machine in enumerate(MACHINES)}
        for machine, file in files.items():
            assert run_on(machine, file, steps).wait() == 0
            apart = difference(load_file(files["as it is"]), load_file(file))
            print(f"{steps} steps, {machine}: losses {apart['losses']:.1e}, weights {apart['weights']:.1e}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        save_file(train(SMALL, int(sys.argv[2])), sys.argv[1])
    else:
        for few in (10, 100, 300):
            measure(few)
