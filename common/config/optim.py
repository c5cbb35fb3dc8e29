"""How the network is optimised: each technique a flag, independent of the others."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from common.config import checks


class Optimizer(StrEnum):
    """Rule that turns a gradient into an update."""

    ADAMW = "adamw"
    """Loshchilov & Hutter 2019, arXiv:1711.05101; β = 0.9, 0.999."""
    RMSPROP = "rmsprop"
    """No momentum: β = 0, 0.99. Consecutive frames agree, and momentum adds up what they agree on."""


class Schedule(StrEnum):
    """What the learning rate does after its warm-up."""

    CONSTANT = "constant"
    """Stays: a live stream has no end to decay towards."""
    COSINE = "cosine"
    """Falls along half a cosine until `total_steps`, then stays at `final_lr`."""
    WSD = "wsd"
    """Stays, and falls in a straight line over the last `decay_steps` of `total_steps`."""


class EmaSchedule(StrEnum):
    """Momentum of the target encoder over time."""

    CONSTANT = "constant"
    """`ema`, always."""
    LINEAR = "linear"
    """From `ema` to `final_ema` at `total_steps`, as in the I-JEPA paper."""
    STEPS = "steps"
    """0.5^(1 / `ema_half_life`): half of the target is renewed in so many steps."""
    SECONDS = "seconds"
    """0.5^(Δt / `ema_half_life`), Δt the system time since the step before: however fast the learner is."""


class Regulariser(StrEnum):
    """Term added to the I-JEPA loss against collapse or forgetting."""

    NONE = "none"
    VICREG = "vicreg"
    """Variance and covariance of the pooled context features (Bardes et al. 2022, arXiv:2105.04906)."""
    SIGREG = "sigreg"
    """Random projections of the pooled context features made normal (Balestriero & LeCun 2025, arXiv:2511.08544)."""
    TEACHER = "teacher"
    """Context features aligned, through a small predictor, with those of a slow teacher
    (Fini et al. 2022, arXiv:2112.04215)."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How the network is updated.

    Attributes:
        batch_size: Frames an optimiser step.
        accumulate: Parts that a batch is cut into and whose gradients are added up, to save memory; must divide
            `batch_size`. Batch statistics (vicreg, sigreg) are then those of a part.
        optimizer: `adamw`, or `rmsprop` without momentum.
        orthogonal: Decay of the running mean of each parameter's gradient off which its gradients are projected, 0.9
            for example; 0 projects nothing. What consecutive frames repeat is then learned once
            (Han et al. 2025, arXiv:2504.01961).
        lr: Learning rate after warm-up.
        warmup_steps: Steps of linear rise of the learning rate.
        schedule: `constant`, `cosine` or `wsd` (warm-up, stable, decay).
        total_steps: End of `cosine` and `wsd`, of a linear `ema` and of a changing weight decay.
        decay_steps: Length of the fall of `wsd`.
        final_lr: Learning rate at the end of `cosine` and `wsd`, as a share of `lr`.
        weight_decay: Decoupled decay of matrices (not of biases and norms).
        weight_decay_growth: Final weight decay ÷ `weight_decay`, reached along half a cosine at `total_steps`; 1 for a
            constant one, 10 in the I-JEPA paper.
        ema: Momentum of the target encoder: target = ema × target + (1 − ema) × context.
        ema_schedule: `constant`, `linear`, or a half-life in `steps` or `seconds`.
        final_ema: End of a linear schedule.
        ema_half_life: Of the `steps` and `seconds` schedules.
        clip: Largest norm of the gradient; 0 for no clipping.
        crop: Smallest share of a frame's area that a step sees of it, stretched to the whole: 0.3 in the I-JEPA paper's
            code; 1 trains on whole frames.
        regulariser: `none`, `vicreg`, `sigreg` or `teacher`.
        std_weight: vicreg: weight of the hinge that keeps each feature's standard deviation at `std_target`.
        std_target: vicreg: standard deviation of the pooled features that the hinge lifts them to. Patch features leave
            the encoder with 1, so their mean has 1 only if all patches of a frame are alike.
        cov_weight: vicreg: weight of the squared off-diagonal covariance, per dimension.
        sigreg_weight: Weight of the sigreg statistic.
        sigreg_slices: Random directions a step.
        teacher_weight: Weight of 1 − cosine between the features' prediction and the teacher's features.
        teacher_ema: Momentum of the slow teacher.
    """

    GROUP: ClassVar[str] = "learner.optim"

    batch_size: int = 64
    accumulate: int = 1
    optimizer: Optimizer = Optimizer.ADAMW
    orthogonal: float = 0.0
    lr: float = 5e-4
    warmup_steps: int = 50
    schedule: Schedule = Schedule.CONSTANT
    total_steps: int = 0
    decay_steps: int = 0
    final_lr: float = 0.0
    weight_decay: float = 0.04
    weight_decay_growth: float = 1.0
    ema: float = 0.996
    ema_schedule: EmaSchedule = EmaSchedule.CONSTANT
    final_ema: float = 1.0
    ema_half_life: float = 0.0
    clip: float = 0.0
    crop: float = 1.0
    regulariser: Regulariser = Regulariser.VICREG
    std_weight: float = 1.0
    std_target: float = 1.0
    cov_weight: float = 0.04
    sigreg_weight: float = 0.05
    sigreg_slices: int = 256
    teacher_weight: float = 1.0
    teacher_ema: float = 0.9995

    def __post_init__(self) -> None:
        checks.positive(self, "batch_size", "accumulate", "lr", "sigreg_slices", "std_target", "weight_decay_growth")
        checks.not_negative(self, "warmup_steps", "total_steps", "decay_steps", "weight_decay", "clip", "ema_half_life")
        checks.not_negative(self, "std_weight", "cov_weight", "sigreg_weight", "teacher_weight")
        checks.between(self, 0, 1, "ema", "final_ema", "final_lr", "teacher_ema")
        checks.between(self, 0.01, 1, "crop")
        if not 0 <= self.orthogonal < 1:
            raise checks.refuse(self, "orthogonal", "must be from 0 to below 1")
        if self.batch_size % self.accumulate:
            raise checks.refuse(self, "accumulate", f"must divide batch_size = {self.batch_size}")
        if self.regulariser in (Regulariser.VICREG, Regulariser.SIGREG) and self.batch_size < 2 * self.accumulate:
            raise checks.refuse(
                self, "batch_size", f"must be at least 2 × accumulate for the {self.regulariser} regulariser"
            )
        self._check_ends()

    def _check_ends(self) -> None:
        """A schedule with an end needs to know when."""
        ending = {
            "schedule": self.schedule is not Schedule.CONSTANT,
            "ema_schedule": self.ema_schedule is EmaSchedule.LINEAR,
            "weight_decay_growth": self.weight_decay_growth != 1,
        }
        for field, ends in ending.items():
            if ends and self.total_steps <= self.warmup_steps:
                raise checks.refuse(self, field, f"needs total_steps above warmup_steps = {self.warmup_steps}")
        if self.schedule is Schedule.WSD and not 0 < self.decay_steps <= self.total_steps - self.warmup_steps:
            allowed = f"must be above 0 and at most total_steps − warmup_steps = {self.total_steps - self.warmup_steps}"
            raise checks.refuse(self, "decay_steps", allowed)
        if self.ema_schedule in (EmaSchedule.STEPS, EmaSchedule.SECONDS) and not self.ema_half_life:
            raise checks.refuse(self, "ema_half_life", f"must be above 0 for ema_schedule = {self.ema_schedule}")


@dataclass(frozen=True, kw_only=True)
class PlasticityConfig:
    """What keeps a network able to learn that has learned for long.

    Attributes:
        every: Steps between two treatments; 0 for none.
        shrink: Shrink and perturb: parameters are multiplied by this …
        perturb: … and this share of a fresh initialisation is added (Ash & Adams 2020, arXiv:1910.08475). 1 and 0 leave
            them alone.
        dormant: Hidden units of MLPs whose relative activation is at most this are drawn anew, with nothing going out
            of them at first (ReDo, Sokar et al. 2023, arXiv:2302.12902; they use 0.1 and 0.025); 0 for none.
    """

    GROUP: ClassVar[str] = "learner.plasticity"

    every: int = 0
    shrink: float = 1.0
    perturb: float = 0.0
    dormant: float = 0.0

    def __post_init__(self) -> None:
        checks.not_negative(self, "every")
        checks.between(self, 0, 1, "shrink", "perturb", "dormant")
        treats = self.shrink < 1 or self.perturb > 0 or self.dormant > 0
        if bool(self.every) != treats:
            field = "every" if treats else "shrink"
            raise checks.refuse(self, field, "needs both: every above 0, and one of shrink, perturb, dormant")
