"""The training step beside the published code and beside the device's matrix products, in turns, in one process."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

from common.config.optim import OptimConfig
from common.ijepa.masks import Masks, mask_sampler
from common.ijepa.model import IJepa
from learner.bench.case import LearnerBench, Line, Outcome
from learner.bench.memory import StepMemory
from learner.bench.official import OfficialStep
from learner.bench.phases import Phase, PhaseClock, watching
from learner.device import Staging, choose_device
from learner.flops import step_flops
from learner.step import TrainingStep


@dataclass(kw_only=True)
class _Contestant:
    """Something that does training steps, each with the masks of a number."""

    name: str
    step: Callable[[int], object]
    memory: int = 0
    wall: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])


def bench(case: LearnerBench) -> Outcome:
    """Measures.

    Raises:
        ConfigError: Something does not fit; the official code is not where it should be.
    """
    device = choose_device(case.device)
    torch.set_num_threads(case.threads)
    with torch.random.fork_rng([]):  # pyright: ignore[reportUnknownMemberType]
        return _bench(case, device)


def _bench(case: LearnerBench, device: torch.device) -> Outcome:
    grid = case.model.grid(case.image_size)
    sampler = mask_sampler(case.masks, grid, 0)
    sets = [_pinned(sampler.sample(case.batch), device) for _ in range(case.steps)]
    gemm, gemm_name = _products(device)
    gemm()
    memory = StepMemory(device)
    model = IJepa(case.model, case.image_size, seed=0)
    step = TrainingStep(
        model,
        OptimConfig(batch_size=case.batch, accumulate=case.accumulate, regulariser=case.regulariser),
        case.masks,
        seed=0,
        device=device,
        compile=case.compile,
        forget_activations=case.checkpoint_activations,
    )
    stage = Staging(device)
    frames = np.random.default_rng(0).integers(0, 256, (case.batch, *case.image_size, 3), np.uint8)
    ours = _Contestant(name="ours", step=lambda number: step(stage(frames), sets[number]))
    _settle(ours, case.steps, memory, list(model.parameters()))
    contestants = [ours]
    if case.official:
        contestants += _official(case, device, sets)
    rates: list[float] = []
    for turn in range(case.rounds):
        rates.append(gemm())
        for one in islice(cycle(contestants), turn, turn + len(contestants)):
            wall, cpu = _timed(lambda one=one: [one.step(number) for number in range(case.steps)], device)
            one.wall.append(wall / case.steps)
            one.cpu.append(cpu / case.steps)
    operations = sum(step_flops(case.model, case.image_size, masks).total for masks in sets) / case.steps
    rate = median(rates)
    clock, seen = PhaseClock(device), list[dict[Phase, float]]()
    with watching(model, clock):
        for masks in islice(cycle(sets), max(3, case.steps)):
            clock.start()
            here = stage(frames)
            clock.mark(Phase.FRAMES)
            sampler.sample(case.batch).to(device)
            clock.mark(Phase.MASKS)
            step(here, masks)
            clock.mark(Phase.AVERAGE)
            seen.append(clock.read())
    return Outcome(
        bench=case,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else f"the CPU, threads: {case.threads}",
        what_memory=memory.what,
        lines=[_line(one, ours, case.batch, operations / rate) for one in contestants],
        gemm=rate,
        gemm_name=gemm_name,
        phases={phase: median(times[phase] for times in seen) for phase in Phase},
        flops=operations,
    )


def _official(case: LearnerBench, device: torch.device, sets: list[Masks]) -> list[_Contestant]:
    """The published code, with and without what its loop reads from the device in each step."""
    memory = StepMemory(device)
    pictures = torch.randn(case.batch, 3, *case.image_size)
    if device.type == "cuda":
        pictures = pictures.pin_memory()
    step = OfficialStep(Path(case.official), case.model, case.image_size, device)
    collated = [step.collate(masks) for masks in sets]
    published = _Contestant(
        name="official, as published", step=lambda number: step(pictures, *collated[number], log=True)
    )
    quiet = _Contestant(
        name="official, without its logs", step=lambda number: step(pictures, *collated[number], log=False)
    )
    _settle(published, case.steps, memory, list(step.parameters()))
    quiet.memory = published.memory
    return [published, quiet]


def _settle(one: _Contestant, steps: int, memory: StepMemory, parameters: Sequence[Tensor]) -> None:
    """Does the first steps, with every shape, and measures the memory of the largest."""
    for number in range(steps):
        one.step(number)
    memory.settled()
    one.memory = max(memory.of(lambda number=number: one.step(number), parameters) for number in range(steps))


def _line(one: _Contestant, ours: _Contestant, batch: int, least: float) -> Line:
    """Sums a contestant up; `least` are the seconds that the operations of a step take at the rate of the products."""
    ratios = sorted(theirs / mine for theirs, mine in zip(one.wall, ours.wall, strict=True))
    return Line(
        name=one.name,
        images_per_second=batch / median(one.wall),
        cpu_seconds=median(one.cpu),
        share=least / median(one.wall),
        memory=one.memory,
        ratios=(ratios[0], median(ratios), ratios[-1]),
        cpu_ratio=median(theirs / mine for theirs, mine in zip(one.cpu, ours.cpu, strict=True)),
    )


def _timed(work: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Seconds by the wall clock and of the processor, all that was launched included."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def _products(device: torch.device) -> tuple[Callable[[], float], str]:
    """Measures the rate of products of large square matrices: bf16 on a GPU, float32 on a CPU."""
    size, count, dtype = (8192, 20, torch.bfloat16) if device.type == "cuda" else (1024, 10, torch.float32)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))

    def rate() -> float:
        (a @ b).sum().item()
        wall, _ = _timed(lambda: [a @ b for _ in range(count)], device)
        return count * 2 * size**3 / wall

    return rate, f"{'bf16' if device.type == 'cuda' else 'fp32'} {size}³"


def _pinned(masks: Masks, device: torch.device) -> Masks:
    if device.type != "cuda":
        return masks
    return Masks(masks.context_BK.cpu().pin_memory(), masks.targets_BTK.cpu().pin_memory())
