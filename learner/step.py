"""One optimiser step of I-JEPA: masks, forward, backward, update, target encoder.

The host never waits for the device inside a step: what a step measured stays in tensors until somebody
reads them, masks travel from pinned memory, and a step whose loss or gradient is not finite is undone by
the device itself.

Shape suffixes: B pictures, H and W pixels, C colours, K context patches, D width.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from common.config import EmaSchedule, MaskConfig, OptimConfig, Optimizer, PlasticityConfig
from common.errors import CheckpointError
from common.ijepa.masks import Masks, mask_sampler
from common.ijepa.model import IJepa
from learner import schedules
from learner.crops import RandomCrop
from learner.objective import Measured, Objective
from learner.orthogonal import OrthogonalGradient
from learner.plasticity import Plasticity
from learner.ranks import Ranks
from learner.regularisers import REGULARISERS

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_NUMBERS = {"step", "lr_factor", "moment"}

_BETAS = {Optimizer.ADAMW: (0.9, 0.999), Optimizer.RMSPROP: (0.0, 0.99)}
"""AdamW whose first average forgets at once is RMSprop with decoupled decay, at AdamW's price. RMSprop knows no bias
correction; it is gone after some hundred steps."""

_SCALARS = ("loss", "regulariser", "grad_norm", "feature_std", "target_std", "skipped")


@dataclass(frozen=True)
class StepReport:
    """What one step measured: tensors on the training device; `read()` waits for the scalars.

    Attributes:
        loss: Smooth L1 between predictions and targets, without the regulariser; mean over the ranks.
        regulariser: The regulariser's term, weights included; mean over the ranks.
        grad_norm: L2 norm of the whole gradient, before clipping.
        feature_std: Standard deviation over this rank's batch of the context encoder's pooled features, mean over D.
        target_std: The same of the target encoder's; both fall to 0 in a collapse.
        skipped: Steps of this run so far that were undone because loss or gradient was not finite.
        losses_B: Loss of each of this rank's pictures, without the regulariser.
        features_BD: The target encoder's pooled features of the same.
    """

    loss: Tensor
    regulariser: Tensor
    grad_norm: Tensor
    feature_std: Tensor
    target_std: Tensor
    skipped: Tensor
    losses_B: Tensor
    features_BD: Tensor

    def read(self) -> dict[str, float]:
        """Fetches all scalars in one go."""
        values = torch.stack([getattr(self, name).double() for name in _SCALARS]).cpu()
        return {name: float(value) for name, value in zip(_SCALARS, values, strict=True)}


class TrainingStep:
    """Updates an `IJepa` and its averaged target encoder.

    Args:
        model: The network; moved to `device` and updated in place.
        optim: Optimiser, schedules, regulariser.
        masks: Block masks.
        plasticity: Treatments between steps.
        seed: Seed of masks, directions, new initialisations, and what a regulariser adds to the networks.
        device: Where to train.
        ranks: Processes that train together.
        compile: Whether `torch.compile` fuses the blocks of the networks.
        forget_activations: Whether blocks compute their activations again on the way back.
        clock: Seconds of system time, for a target encoder that follows time; what passes between a checkpoint and its
            resumption counts if it counts for the clock.

    Raises:
        ConfigError: The masks do not fit the model's grid.
    """

    def __init__(
        self,
        model: IJepa,
        optim: OptimConfig,
        masks: MaskConfig,
        plasticity: PlasticityConfig | None = None,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        ranks: Ranks | None = None,
        compile: bool = False,
        forget_activations: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model.to(device)
        self.device = next(model.parameters()).device
        self.lr_factor = 1.0
        """Multiplies the learning rate; a guardrail cuts it after a rollback. Part of `numbers()`."""
        self._config = optim
        self._ranks = ranks or Ranks()
        self._clock = clock
        self._crop = RandomCrop(optim.crop, self._ranks.seed(seed))
        self._sampler = mask_sampler(masks, model.grid, self._ranks.seed(seed), self.device)
        self._regulariser = REGULARISERS[optim.regulariser](optim, model, seed, self._ranks).to(self.device)
        self._objective = self._ranks.wrap(Objective(model, self._regulariser))
        self._plasticity = Plasticity(plasticity or PlasticityConfig(), model, seed)
        self._step = 0
        self._moment: float | None = None
        self._skipped = torch.zeros((), dtype=torch.int64, device=self.device)
        named = {**dict(model.named_parameters()), **dict(self._regulariser.named_parameters(prefix="regulariser"))}
        self._trained = {name: value for name, value in named.items() if value.requires_grad}
        self._orthogonal = OrthogonalGradient(self._trained, optim.orthogonal) if optim.orthogonal else None
        self._optimizer = self._adamw()
        for network in (model.context_encoder, model.target_encoder, model.predictor):
            network.forget_activations = forget_activations
            for block in network.blocks if compile else ():
                block.compile()  # pyright: ignore[reportUnknownMemberType]

    of_rank = ("masks",)
    """Tensors of the state that each rank has for itself; all others are the same on all."""

    @property
    def step(self) -> int:
        """Steps done, those included that were skipped."""
        return self._step

    @property
    def skipped(self) -> int:
        """Steps that were undone so far; waits for the device."""
        return int(self._skipped)

    @property
    def lr(self) -> float:
        """Learning rate of the next step."""
        return self.lr_factor * schedules.learning_rate(self._config, self._step)

    def __call__(self, frames_BHWC: Tensor, masks: Masks | None = None) -> StepReport:
        """Does one step.

        Args:
            frames_BHWC: uint8 RGB, on any device; pinned memory spares the host a wait.
            masks: Which patches; drawn if left out.

        Returns:
            What was measured, unread.

        Raises:
            ValueError: The batch cannot be cut into equal parts.
        """
        if len(frames_BHWC) % self._config.accumulate:
            raise ValueError(
                f"{len(frames_BHWC)} frames cannot be cut into accumulate = {self._config.accumulate} parts"
            )
        self.model.train()
        frames_BHWC = self._crop(frames_BHWC.to(self.device, non_blocking=True), self._step)
        masks = (masks or self._sampler.sample(len(frames_BHWC))).to(self.device)
        treated = self._plasticity.due(self._step + 1)
        with self._plasticity.watching() if treated else nullcontext():
            measured = [self._backward(*part, final) for part, final in self._parts(frames_BHWC, masks)]
        whole = Measured(*(_join(values) for values in zip(*measured, strict=True)))
        grad_norm, accept = self._update(whole.total)
        if treated:
            self._plasticity.treat(self._step, self._ranks, self._averages())
        self._follow(accept)
        return StepReport(
            loss=self._ranks.average(whole.losses_B.mean()),
            regulariser=self._ranks.average(whole.regulariser),
            grad_norm=grad_norm,
            feature_std=_spread(whole.context_BD),
            target_std=_spread(whole.target_BD),
            skipped=self._skipped.clone(),
            losses_B=whole.losses_B,
            features_BD=whole.target_BD,
        )

    def _parts(self, frames_BHWC: Tensor, masks: Masks) -> Iterator[tuple[tuple[Tensor, Masks], bool]]:
        """Cuts a batch into parts, and says of each whether it is the last."""
        size = len(frames_BHWC) // self._config.accumulate
        for part in range(self._config.accumulate):
            rows = slice(part * size, (part + 1) * size)
            chosen = Masks(masks.context_BK[rows], masks.targets_BTK[rows])
            yield (frames_BHWC[rows], chosen), part == self._config.accumulate - 1

    def _backward(self, frames_BHWC: Tensor, masks: Masks, final: bool) -> Measured:
        with nullcontext() if final else self._ranks.quiet(self._objective):
            measured: Measured = self._objective(frames_BHWC, masks.context_BK, masks.targets_BTK)
            (measured.total / self._config.accumulate).backward()  # pyright: ignore[reportUnknownMemberType]
        return measured._replace(total=measured.total.detach())

    def _update(self, total: Tensor) -> tuple[Tensor, Tensor]:
        """Applies the gradients, unless something is not finite; returns their norm, and whether it did."""
        gradients = [value.grad for value in self._trained.values() if value.grad is not None]
        grad_norm = nn.utils.get_total_norm(gradients)
        accept = self._ranks.agree(torch.isfinite(total) & torch.isfinite(grad_norm))
        if self._orthogonal is not None:
            self._orthogonal.project(gradients, accept)
        if self._config.clip:
            norm = nn.utils.get_total_norm(gradients) if self._orthogonal else grad_norm
            nn.utils.clip_grads_with_norm_(self._trained.values(), self._config.clip, norm)
        self._skipped += ~accept
        # The fused kernel leaves parameters, moments and count alone where `found_inf` is 1: what torch's own
        # GradScaler uses, and the only way to skip on the device.
        setattr(self._optimizer, "found_inf", (~accept).float())  # noqa: B010
        decayed, _ = self._optimizer.param_groups
        decayed["weight_decay"] = schedules.weight_decay(self._config, self._step)
        for group in self._optimizer.param_groups:
            group["lr"] = self.lr
        self._optimizer.step()  # pyright: ignore[reportUnknownMemberType]
        self._optimizer.zero_grad(set_to_none=True)
        self._step += 1
        return grad_norm, accept

    def _follow(self, accept: Tensor) -> None:
        """Moves everything that averages over steps."""
        now = self._clock()
        elapsed = 0.0 if self._moment is None else max(0.0, now - self._moment)
        self._moment = now
        if self._config.ema_schedule is EmaSchedule.SECONDS:
            elapsed = self._ranks.common(elapsed)
        momentum = schedules.target_momentum(self._config, self._step - 1, elapsed)
        self.model.update_target(momentum, accept)
        self._regulariser.follow(self.model, accept)

    def _adamw(self) -> torch.optim.AdamW:
        """AdamW that decays matrices, and neither biases, norms nor the mask token."""
        parameters = self._trained.values()
        groups = [
            {"params": [value for value in parameters if value.ndim > 1]},
            {"params": [value for value in parameters if value.ndim <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self._config.lr, betas=_BETAS[self._config.optimizer], fused=True)

    def _averages(self) -> Mapping[str, list[Tensor]]:
        """All that remembers the gradients of a parameter, by its name."""
        means = self._orthogonal.means if self._orthogonal else {}
        return {
            name: [value for value in self._optimizer.state[parameter].values() if value.ndim]
            + ([means[name]] if name in means else [])
            for name, parameter in self._trained.items()
        }

    def tensors(self) -> dict[str, Tensor]:
        """State beside the model's own `state_dict()`, for safetensors: live tensors, no copies.

        Optimiser moments as `optimizer.<moment>.<parameter>` (none before the first step), the means of past gradients
        as `orthogonal.<parameter>`, the regulariser's state as `regulariser.<name>`, the state of the mask draws, the
        count of skipped steps.
        """
        state = {"masks": self._sampler.state(), "skipped": self._skipped}
        state |= {f"regulariser.{name}": value for name, value in self._regulariser.state_dict().items()}
        if self._orthogonal is not None:
            state |= {f"orthogonal.{name}": value for name, value in self._orthogonal.means.items()}
        for name, parameter in self._trained.items():
            for moment, value in self._optimizer.state.get(parameter, {}).items():
                state[f"optimizer.{moment}.{name}"] = value
        return state

    def numbers(self) -> dict[str, Any]:
        """State for JSON."""
        return {"step": self._step, "lr_factor": self.lr_factor, "moment": self._moment}

    def restore(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Goes on exactly where a `tensors()` and `numbers()` were taken; the model is loaded apart.

        Raises:
            CheckpointError: Something is missing, left over, or of another shape.
        """
        if missing := _NUMBERS - numbers.keys():
            raise CheckpointError(f"the training step's state lacks {', '.join(sorted(missing))}")
        started = any(name.startswith("optimizer.") for name in tensors)
        self._check_shapes({name: tuple(value.shape) for name, value in tensors.items()}, started)
        self._step, self.lr_factor, self._moment = (numbers[name] for name in ("step", "lr_factor", "moment"))
        self._sampler.restore(tensors["masks"].cpu())
        self._skipped.copy_(tensors["skipped"])
        names = self._regulariser.state_dict()
        self._regulariser.load_state_dict({name: tensors[f"regulariser.{name}"] for name in names})  # pyright: ignore[reportUnknownMemberType]
        for name, mean in self._orthogonal.means.items() if self._orthogonal else ():
            mean.copy_(tensors[f"orthogonal.{name}"])
        self._optimizer.state.clear()
        if started:
            for name, parameter in self._trained.items():
                self._optimizer.state[parameter] = {
                    moment: tensors[f"optimizer.{moment}.{name}"].to(self.device, copy=True) for moment in _MOMENTS
                }

    def _check_shapes(self, found: Mapping[str, tuple[int, ...]], started: bool) -> None:
        expected = {
            name: tuple(value.shape) for name, value in self.tensors().items() if not name.startswith("optimizer.")
        }
        for name, parameter in self._trained.items() if started else ():
            for moment in _MOMENTS:
                expected[f"optimizer.{moment}.{name}"] = () if moment == "step" else tuple(parameter.shape)
        if wrong := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
            name = wrong[0]
            raise CheckpointError(
                f"{len(wrong)} tensors of the training step do not fit; "
                f"{name} has shape {found.get(name)}, expected {expected.get(name)}"
            )


def _join(values: tuple[Tensor, ...]) -> Tensor:
    """Puts the parts of a batch together: means of scalars, rows one below the other."""
    if len(values) == 1:
        return values[0]
    return torch.cat(values) if values[0].ndim else torch.stack(values).mean()


def _spread(pooled_BD: Tensor) -> Tensor:
    return pooled_BD.std(0, correction=0).mean()
