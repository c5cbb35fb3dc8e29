"""What each strategy of training costs: time beside the plain step's in the same run, and bytes that it keeps."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import torch

from common.config import Optimizer, PlasticityConfig, Regulariser
from common.config.presets import preset
from common.ijepa.masks import MultiBlockSampler
from common.ijepa.model import IJepa
from learner.step import TrainingStep
from tests.bench.measure import Result

ROUNDS = 9


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One strategy on top of the plain step.

    Attributes:
        optim: Fields of the optimisation that differ.
        plasticity: Treatments, here at every step, so that the whole cost of one is seen.
        options: Arguments of the training step.
    """

    optim: Mapping[str, Any] = field(default_factory=dict[str, Any])
    plasticity: PlasticityConfig = field(default_factory=PlasticityConfig)
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


VARIANTS = {
    "the plain step again": Variant(),
    "vicreg": Variant(optim={"regulariser": Regulariser.VICREG}),
    "sigreg": Variant(optim={"regulariser": Regulariser.SIGREG}),
    "teacher": Variant(optim={"regulariser": Regulariser.TEACHER}),
    "rmsprop": Variant(optim={"optimizer": Optimizer.RMSPROP}),
    "crop": Variant(optim={"crop": 0.3}),
    "orthogonal": Variant(optim={"orthogonal": 0.9}),
    "clip": Variant(optim={"clip": 1.0}),
    "accumulate 4": Variant(optim={"accumulate": 4}),
    "checkpointed": Variant(options={"forget_activations": True}),
    "shrink and perturb, every step": Variant(plasticity=PlasticityConfig(every=1, shrink=0.999, perturb=0.001)),
    "dormant, every step": Variant(plasticity=PlasticityConfig(every=1, dormant=0.01)),
}


def strategies() -> list[Result]:
    """The demo's step with each strategy, on one thread, in turns with the plain one and on the same masks.

    Counts seconds of the processor: on a busy machine those of the clock would drown a few per cent.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = preset("demo")
    batch = run.learner.optim.batch_size
    frames = torch.randint(0, 256, (batch, *run.world.image_size, 3), dtype=torch.uint8)
    steps = {name: _made(variant) for name, variant in ({"": Variant()} | VARIANTS).items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    sampler = MultiBlockSampler(run.learner.masks, steps[""].model.grid, 0)
    for index in range(1 + ROUNDS):
        masks = sampler.sample(batch)
        for name, step in steps.items():
            began = time.process_time()
            step(frames, masks)
            if index:
                seconds[name].append(time.process_time() - began)
    torch.set_num_threads(threads)
    plain, held = seconds[""], _held(steps[""])
    results: list[Result] = []
    for name in VARIANTS:
        ratio = median(ours / theirs for ours, theirs in zip(seconds[name], plain, strict=True))
        more = (_held(steps[name]) - held) / 2**20
        results.append(
            Result(
                what=f"step with {name}",
                ours=f"{median(seconds[name]) * 1e3:.0f} ms, {more:+.2f} MiB",
                limit=f"{median(plain) * 1e3:.0f} ms plain, {held / 2**20:.2f} MiB",
                ratio=ratio,
            )
        )
    return results


def _made(variant: Variant) -> TrainingStep:
    run = preset("demo")
    optim = replace(run.learner.optim, **({"regulariser": Regulariser.NONE} | dict(variant.optim)))
    model = IJepa(run.learner.model, run.world.image_size, seed=0)
    return TrainingStep(model, optim, run.learner.masks, variant.plasticity, seed=0, **variant.options)


def _held(step: TrainingStep) -> int:
    """Bytes of the networks and of all that the step keeps from one time to the next."""
    tensors = [*step.model.state_dict().values(), *step.tensors().values()]
    return sum(value.numel() * value.element_size() for value in tensors)
