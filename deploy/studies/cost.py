"""What a study is going to take, before it starts: memory, disk, time.

Time comes from trials of the study that have ended, or else from a few optimiser steps of each size on this machine.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from statistics import fmean, median

import torch

from common.config import RunConfig
from common.errors import ConfigError
from common.ijepa.model import IJepa
from common.recording import Recording
from deploy.memory import PROCESS, available_bytes, buffer_bytes, checkpoint_bytes, experience_bytes, gib
from deploy.studies.pace import Pace, mean_step_flops
from deploy.studies.plan import Trial, encoder_parameters
from deploy.studies.recorded import is_whole
from deploy.studies.trial import result_of
from learner.device import choose_device
from learner.step import TrainingStep

_CUDA = 4 * 2**30
"""Bytes of the host that CUDA's libraries and pinned buffers take in a process (measured: 3 to 4 GiB)."""
ROW = 1200
"""Bytes of a row of an experience (measured)."""
_LOSSLESS = 0.4
"""Size of a lossless recording ÷ that of its raw frames (measured on Freedoom: 0.37)."""
_TRIES = 3
_MEASURED_A_STEP = 3.0
"""Time of a training step on a frame ÷ that of an evaluation on one, fits of probes included: 2.9 to 3.5 in 28 trials
of 52 k to 1.6 M parameters."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one trial.

    Attributes:
        trial: Which.
        parameters: Of the encoder.
        memory: Bytes of memory at most.
        disk: Bytes that stay on disk.
        steps: Optimiser steps.
        flops: Operations of all of them.
        seconds: Of `threads` cores or one GPU, training and evaluation; NaN where its device is not here.
        done: It has ended already.
    """

    trial: Trial
    parameters: int
    memory: int
    disk: int
    steps: int
    flops: float
    seconds: float
    done: bool


def costs(trials: Sequence[Trial], folder: Path) -> list[Cost]:
    """Estimates every trial.

    Args:
        trials: All of the study.
        folder: Where theirs are.
    """
    known = {trial.name: result for trial in trials if (result := result_of(folder / trial.name))}
    alike: dict[str, list[float]] = {}
    for trial in trials:
        if trial.name in known:
            alike.setdefault(trial.variant.name, []).append(float(known[trial.name].get("seconds", nan)))
    timed: dict[str, float] = {}
    found: list[Cost] = []
    for trial in trials:
        config, steps = trial.config, _steps(trial)
        flops = mean_step_flops(config)
        if trial.variant.name in alike:
            seconds = median(alike[trial.variant.name])
        else:
            key = repr((config.learner.model, config.learner.optim, config.learner.masks, config.world.image_size))
            if key not in timed:
                timed[key] = step_seconds(config)
            seconds = (steps + _evaluation_steps(trial)) * timed[key]
        found.append(
            Cost(
                trial=trial,
                parameters=encoder_parameters(config),
                memory=memory_bytes(trial),
                disk=_evaluations(trial) * config.evaluator.experiences * ROW // 2 + checkpoint_bytes(config) // 2,
                steps=steps,
                flops=flops * steps,
                seconds=seconds,
                done=trial.name in known,
            )
        )
    return found


def memory_bytes(trial: Trial) -> int:
    """Most memory of the host that a trial takes: buffer, what the evaluator follows, networks, activations."""
    config = trial.config
    frames = buffer_bytes(config)
    if trial.variant.iid:
        frames = _data(trial) * frames // config.learner.replay.capacity
    # Everything once more where it is on its way to disk.
    host = PROCESS + 2 * (frames + experience_bytes(config) + checkpoint_bytes(config))
    return host + (_CUDA if _on_gpu(config) else _activation_bytes(config))


def device_bytes(trial: Trial) -> int:
    """Most memory of a GPU that a trial takes; 0 where it trains on the CPU."""
    if not _on_gpu(trial.config):
        return 0
    return _CUDA // 4 + 2 * checkpoint_bytes(trial.config) + _activation_bytes(trial.config) // 2  # bf16


def _on_gpu(config: RunConfig) -> bool:
    device = config.learner.device
    return device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())


def _activation_bytes(config: RunConfig) -> int:
    """What a step keeps for its way back, in float32."""
    model, batch = config.learner.model, config.learner.optim.batch_size
    rows, columns = model.grid(config.world.image_size)
    tokens = rows * columns * (2 + 4)  # target and context encoder, predictor once for each of four target blocks
    return 4 * batch * tokens * model.dim * model.depth * (4 + 2 * round(model.mlp_ratio))


def check_memory(trials: Sequence[Trial], available: int | None = None) -> int:
    """Makes sure that each trial fits, and says how many of the largest do at once.

    Args:
        trials: What is going to be done.
        available: Bytes that may be taken; by default what this machine has now.

    Raises:
        ConfigError: One alone does not fit; its condition is named.
    """
    free = available_bytes() if available is None else available
    need = _largest(trials, memory_bytes, free, "memory")
    if torch.cuda.is_available():
        _largest(trials, device_bytes, min(map(_gpu_bytes, range(torch.cuda.device_count()))), "memory of the GPU")
    return max(1, free // need)


def _largest(trials: Sequence[Trial], bytes_of: Callable[[Trial], int], free: int, what: str) -> int:
    largest = max(trials, key=bytes_of)
    need = bytes_of(largest)
    if need > free:
        model = largest.config.learner.model
        allowed = f"needs about {gib(need)} of {what}, and {gib(free)} are free: leave it out, or lower its batch"
        raise ConfigError(f"{largest.variant.name}: learner.model", f"{model.dim} wide, {model.depth} deep", allowed)
    return need


def _gpu_bytes(number: int) -> int:
    return torch.cuda.mem_get_info(number)[1]


def recording_bytes(trial: Trial) -> int:
    """Size of its stream's recording."""
    height, width = trial.config.world.image_size
    return round(_LOSSLESS * _data(trial) * height * width * 3)


def step_seconds(config: RunConfig) -> float:
    """Times an optimiser step on this machine, as a trial does it; NaN where its device is not here."""
    learner, size = config.learner, config.world.image_size
    try:
        device = choose_device(learner.device)
    except ConfigError:
        return nan
    torch.set_num_threads(learner.threads)
    with torch.random.fork_rng([]):  # pyright: ignore[reportUnknownMemberType]
        model = IJepa(learner.model, size, seed=0)
        step = TrainingStep(model, learner.optim, learner.masks, learner.plasticity, seed=0, device=device)
        frames = torch.randint(0, 256, (learner.optim.batch_size, *size, 3), dtype=torch.uint8)
        step(frames).read()
        seconds: list[float] = []
        for _ in range(_TRIES):
            began = time.perf_counter()
            step(frames).read()
            seconds.append(time.perf_counter() - began)
    return fmean(seconds)


def _data(trial: Trial) -> int:
    """Data of its stream: counted where it is recorded, else what its configuration asks for."""
    if is_whole(trial.recording):
        return Recording(trial.recording).counted.data
    config = trial.config
    return round(config.duration * config.actors.fps * config.actors.count)


def _seconds(trial: Trial) -> float:
    return _data(trial) / (trial.config.actors.fps * trial.config.actors.count)


def _steps(trial: Trial) -> int:
    config = trial.config
    exposed = 0.75 if config.stream.withhold else 1.0  # a fifth is withheld, the rest lies in guard bands
    earned = config.learner.replay.replay_ratio * max(0.0, exposed * _data(trial) - config.learner.replay.min_fill)
    pace = Pace.of(config, trial.match, trial.rate)
    return int(min(earned / config.learner.optim.batch_size, pace.steps_in(_seconds(trial))))


def _evaluations(trial: Trial) -> int:
    return int(_seconds(trial) / trial.config.evaluator.every) + 2


def _evaluation_steps(trial: Trial) -> float:
    """Evaluations as optimiser steps that take as long: probe frames encoded, experiences passed three times."""
    config, evaluator = trial.config, trial.config.evaluator
    worlds = len(config.world.worlds) + len(config.world.placebo_worlds)
    probes = worlds * evaluator.trajectories * evaluator.frames
    frames = probes + 3 * evaluator.experiences * evaluator.frames_per_experience // 2
    return _evaluations(trial) * frames / (_MEASURED_A_STEP * config.learner.optim.batch_size)
