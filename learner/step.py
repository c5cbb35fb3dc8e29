"""One optimiser step of I-JEPA: masks, forward, backward, update, target encoder.

The host never waits for the device inside a step: what a step measured stays in tensors until somebody
reads them, masks travel from pinned memory, and a step whose loss or gradient is not finite is undone by
the device itself.

Shape suffixes: B pictures, H and W pixels, C colours, K context patches, D width.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from common.config import MaskConfig, OptimConfig, Regulariser
from common.errors import CheckpointError
from common.ijepa.masks import mask_sampler
from common.ijepa.model import IJepa, gather_targets, prediction_loss

type RegulariserTerm = Callable[[Tensor, OptimConfig], Tensor]
"""From pooled_BD (float32) and the weights to a scalar that is added to the loss."""

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def _no_regulariser(pooled_BD: Tensor, _config: OptimConfig) -> Tensor:
    return pooled_BD.new_zeros(())


def vicreg(pooled_BD: Tensor, config: OptimConfig) -> Tensor:
    """Variance and covariance terms of VICReg (Bardes et al. 2022, arXiv:2105.04906, section 4.1).

        std_weight · mean_d max(0, 1 − √(Var_d + 1e-4))  +  cov_weight · Σ_{d≠e} Cov_de² / D

    Args:
        pooled_BD: One feature vector a picture, float32; B ≥ 2.
        config: The two weights.
    """
    batch, dim = pooled_BD.shape
    centred_BD = pooled_BD - pooled_BD.mean(0)
    covariance_DD = centred_BD.T @ centred_BD / (batch - 1)
    variance_D = covariance_DD.diagonal()
    hinge = functional.relu(1 - (variance_D + 1e-4).sqrt()).mean()
    off_diagonal = (covariance_DD - variance_D.diag()).square().sum() / dim
    return config.std_weight * hinge + config.cov_weight * off_diagonal


REGULARISERS: dict[Regulariser, RegulariserTerm] = {
    Regulariser.NONE: _no_regulariser,
    Regulariser.VICREG: vicreg,
}
"""Terms against collapse, by the name that the config gives them."""


@dataclass(frozen=True)
class StepReport:
    """What one step measured: scalars on the training device; `read()` waits for them.

    Attributes:
        loss: Smooth L1 between predictions and targets, without the regulariser.
        regulariser: The regulariser's term, weights included.
        grad_norm: L2 norm of the whole gradient, before clipping.
        feature_std: Standard deviation over the batch of the context encoder's pooled features, mean over D.
        target_std: The same of the target encoder's; both fall to 0 in a collapse.
        skipped: Steps of this run so far that were undone because loss or gradient was not finite.
    """

    loss: Tensor
    regulariser: Tensor
    grad_norm: Tensor
    feature_std: Tensor
    target_std: Tensor
    skipped: Tensor

    def read(self) -> dict[str, float]:
        """Fetches all values in one go."""
        names = [field.name for field in fields(self)]
        values = torch.stack([getattr(self, name).double() for name in names]).cpu()
        return {name: float(value) for name, value in zip(names, values, strict=True)}


class TrainingStep:
    """Updates an `IJepa` with AdamW, a linear warm-up to a constant rate, and an averaged target encoder.

    On a GPU forward and loss run under bf16 autocast. On a CPU they run in float32: bf16 there is many
    times slower where the processor lacks units for it.

    Args:
        model: The network; moved to `device` and updated in place.
        optim: Rates, decay, momentum, regulariser.
        masks: Block masks.
        seed: Seed of the masks.
        device: Where to train.

    Raises:
        ConfigError: The masks do not fit the model's grid.
    """

    def __init__(
        self, model: IJepa, optim: OptimConfig, masks: MaskConfig, *, seed: int, device: torch.device | str = "cpu"
    ) -> None:
        self.model = model.to(device)
        self.device = next(model.parameters()).device
        self.lr_factor = 1.0
        """Multiplies the learning rate; a guardrail cuts it after a rollback. Part of `numbers()`."""
        self._config = optim
        self._regularise = REGULARISERS[optim.regulariser]
        self._sampler = mask_sampler(masks, model.grid, seed, self.device)
        self._step = 0
        self._skipped = torch.zeros((), dtype=torch.int64, device=self.device)
        self._trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self._optimizer = _adamw(self._trained.values(), optim)

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
        warmup = self._config.warmup_steps
        rise = min(1.0, (self._step + 1) / warmup) if warmup else 1.0
        return self._config.lr * self.lr_factor * rise

    def __call__(self, frames_BHWC: Tensor) -> StepReport:
        """Does one step.

        Args:
            frames_BHWC: uint8 RGB, on any device; pinned memory spares the host a wait.

        Returns:
            What was measured, unread.
        """
        self.model.train()
        frames_BHWC = frames_BHWC.to(self.device, non_blocking=True)
        masks = self._sampler.sample(frames_BHWC.shape[0])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            with torch.no_grad():
                target_BND = self.model.target_encoder(frames_BHWC)
            predictions_BTKD, context_BKD = self.model.predict(frames_BHWC, masks)
        loss = prediction_loss(predictions_BTKD, gather_targets(target_BND, masks))
        pooled_BD = context_BKD.float().mean(1)
        regulariser = self._regularise(pooled_BD, self._config)
        (loss + regulariser).backward()  # pyright: ignore[reportUnknownMemberType]
        grad_norm = self._update(loss + regulariser)
        return StepReport(
            loss=loss.detach(),
            regulariser=regulariser.detach(),
            grad_norm=grad_norm,
            feature_std=_spread(pooled_BD.detach()),
            target_std=_spread(target_BND.float().mean(1)),
            skipped=self._skipped.clone(),
        )

    def _update(self, total: Tensor) -> Tensor:
        """Applies the gradients, unless something is not finite; returns their norm."""
        gradients = [value.grad for value in self._trained.values() if value.grad is not None]
        grad_norm = nn.utils.get_total_norm(gradients)
        if self._config.clip:
            nn.utils.clip_grads_with_norm_(self._trained.values(), self._config.clip, grad_norm)
        accept = torch.isfinite(total.detach()) & torch.isfinite(grad_norm)
        self._skipped += ~accept
        # The fused kernel leaves parameters, moments and count alone where `found_inf` is 1: what torch's own
        # GradScaler uses, and the only way to skip on the device.
        setattr(self._optimizer, "found_inf", (~accept).float())  # noqa: B010
        for group in self._optimizer.param_groups:
            group["lr"] = self.lr
        self._optimizer.step()  # pyright: ignore[reportUnknownMemberType]
        self._optimizer.zero_grad(set_to_none=True)
        self.model.update_target(self._config.ema, accept)
        self._step += 1
        return grad_norm

    def tensors(self) -> dict[str, Tensor]:
        """State beside the model's own `state_dict()`, for safetensors: live tensors, no copies.

        Optimiser moments as `optimizer.<moment>.<parameter>` (none before the first step), the state of the
        mask draws, the count of skipped steps.
        """
        state = {"masks": self._sampler.state(), "skipped": self._skipped}
        for name, parameter in self._trained.items():
            for moment, value in self._optimizer.state.get(parameter, {}).items():
                state[f"optimizer.{moment}.{name}"] = value
        return state

    def numbers(self) -> dict[str, Any]:
        """State for JSON."""
        return {"step": self._step, "lr_factor": self.lr_factor}

    def restore(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Goes on exactly where a `tensors()` and `numbers()` were taken; the model is loaded apart.

        Raises:
            CheckpointError: Something is missing, left over, or of another shape.
        """
        if missing := {"step", "lr_factor"} - numbers.keys():
            raise CheckpointError(f"the training step's state lacks {', '.join(sorted(missing))}")
        expected = {"masks": tuple(self._sampler.state().shape), "skipped": ()}
        started = any(name.startswith("optimizer.") for name in tensors)
        if started:
            for name, parameter in self._trained.items():
                for moment in _MOMENTS:
                    expected[f"optimizer.{moment}.{name}"] = () if moment == "step" else tuple(parameter.shape)
        found = {name: tuple(value.shape) for name, value in tensors.items()}
        if wrong := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
            name = wrong[0]
            raise CheckpointError(
                f"{len(wrong)} tensors of the training step do not fit; "
                f"{name} has shape {found.get(name)}, expected {expected.get(name)}"
            )
        self._step, self.lr_factor = int(numbers["step"]), float(numbers["lr_factor"])
        self._sampler.restore(tensors["masks"].cpu())
        self._skipped.copy_(tensors["skipped"])
        self._optimizer.state.clear()
        if started:
            for name, parameter in self._trained.items():
                self._optimizer.state[parameter] = {
                    moment: tensors[f"optimizer.{moment}.{name}"].to(self.device, copy=True) for moment in _MOMENTS
                }


def _adamw(parameters: Iterable[nn.Parameter], config: OptimConfig) -> torch.optim.AdamW:
    """AdamW that decays matrices, and neither biases, norms nor the mask token."""
    parameters = list(parameters)
    groups = [
        {"params": [value for value in parameters if value.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [value for value in parameters if value.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def _spread(pooled_BD: Tensor) -> Tensor:
    return pooled_BD.std(0, correction=0).mean()
