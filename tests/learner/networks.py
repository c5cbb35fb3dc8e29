"""Small networks, frames, and training steps of every strategy."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from common.config import MaskConfig, ModelConfig, OptimConfig, Optimizer, PlasticityConfig, Regulariser
from common.config.optim import EmaSchedule, Schedule
from common.ijepa.masks import Masks, MultiBlockSampler
from common.ijepa.model import IJepa
from learner.step import TrainingStep

SMALL = ModelConfig(patch_size=12, dim=32, depth=2, heads=2, predictor_dim=16, predictor_depth=1, predictor_heads=2)
SIZE = (96, 96)
BASIC = OptimConfig(batch_size=8, warmup_steps=4, regulariser=Regulariser.NONE)


@dataclass
class Ticks:
    """A clock whose seconds come from a list, again and again."""

    lengths: tuple[float, ...] = (0.5, 1.5, 0.25)
    now: float = 0.0
    ticks: int = 0

    def __call__(self) -> float:
        self.now += self.lengths[self.ticks % len(self.lengths)]
        self.ticks += 1
        return self.now


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A small training step's settings."""

    optim: OptimConfig = field(default_factory=lambda: BASIC)
    plasticity: PlasticityConfig = field(default_factory=PlasticityConfig)
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def but(self, **fields: Any) -> "Recipe":
        """The same with other fields of `optim`."""
        return replace(self, optim=replace(self.optim, **fields))

    def build(self, seed: int = 0, **options: Any) -> TrainingStep:
        """Makes the step and its network."""
        model = IJepa(SMALL, SIZE, seed=seed)
        given: dict[str, Any] = {"clock": Ticks(), **self.options, **options}
        return TrainingStep(model, self.optim, MaskConfig(), self.plasticity, seed=seed, **given)


PLAIN = Recipe()

STRATEGIES = {
    "plain": PLAIN,
    "vicreg": PLAIN.but(regulariser=Regulariser.VICREG),
    "sigreg": PLAIN.but(regulariser=Regulariser.SIGREG, sigreg_slices=16),
    "teacher": PLAIN.but(regulariser=Regulariser.TEACHER, teacher_ema=0.9),
    "rmsprop": PLAIN.but(optimizer=Optimizer.RMSPROP),
    "crop": PLAIN.but(crop=0.3),
    "orthogonal": PLAIN.but(orthogonal=0.9),
    "clip": PLAIN.but(clip=0.1),
    "accumulate": PLAIN.but(accumulate=2),
    "cosine": PLAIN.but(schedule=Schedule.COSINE, total_steps=10),
    "wsd": PLAIN.but(schedule=Schedule.WSD, total_steps=10, decay_steps=6),
    "growing decay": PLAIN.but(weight_decay_growth=10.0, total_steps=10),
    "linear ema": PLAIN.but(ema_schedule=EmaSchedule.LINEAR, total_steps=10),
    "half-life in steps": PLAIN.but(ema_schedule=EmaSchedule.STEPS, ema_half_life=5.0),
    "half-life in seconds": PLAIN.but(ema_schedule=EmaSchedule.SECONDS, ema_half_life=2.0),
    "shrink and perturb": Recipe(plasticity=PlasticityConfig(every=2, shrink=0.9, perturb=0.1)),
    "dormant": Recipe(plasticity=PlasticityConfig(every=2, dormant=0.5)),
    "checkpointed": Recipe(options={"forget_activations": True}),
}
"""One flag at a time."""

TOGETHER = {
    name: replace(STRATEGIES[name].but(batch_size=16), plasticity=STRATEGIES[name].plasticity)
    for name in (
        "plain",
        "vicreg",
        "sigreg",
        "teacher",
        "orthogonal",
        "clip",
        "half-life in seconds",
        "shrink and perturb",
        "dormant",
        "checkpointed",
    )
}
"""What several ranks must agree on."""


def frames(seed: int = 0, batch: int = 8) -> Tensor:
    """Smooth random pictures (frames_BHWC)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 256, (batch, 3, 6, 6), generator=generator).float()
    fine = torch.nn.functional.interpolate(coarse, SIZE, mode="bilinear")
    return fine.permute(0, 2, 3, 1).to(torch.uint8).contiguous()


def masks_of(seed: int, batch: int = 8) -> Masks:
    """Masks for a batch of `frames`."""
    return MultiBlockSampler(MaskConfig(), (8, 8), seed).sample(batch)


def parameters(step: TrainingStep) -> dict[str, Tensor]:
    """Copies of all parameters."""
    return {name: value.detach().clone() for name, value in step.model.named_parameters()}


def everything(step: TrainingStep) -> dict[str, Tensor]:
    """Copies of all that a checkpoint would hold."""
    return parameters(step) | {f"step.{name}": value.detach().clone() for name, value in step.tensors().items()}


def different(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that are not equal to the bit."""
    assert ours.keys() == theirs.keys()
    return [name for name, value in ours.items() if not torch.equal(value, theirs[name])]


def stored(step: TrainingStep, folder: Path) -> None:
    """Writes all that a checkpoint holds of a step."""
    (folder / "model.safetensors").write_bytes(save(step.model.state_dict()))
    (folder / "step.safetensors").write_bytes(save(step.tensors()))
    (folder / "step.json").write_text(json.dumps(step.numbers()))


def restored(step: TrainingStep, folder: Path) -> TrainingStep:
    """Loads what `stored` wrote."""
    step.model.load_state_dict(load((folder / "model.safetensors").read_bytes()))
    step.restore(load((folder / "step.safetensors").read_bytes()), json.loads((folder / "step.json").read_text()))
    return step
