"""The gate between the learner and everybody who uses its weights, and the last weights that passed it.

    candidate ─► judge ─► publish
                   │ unhealthy:  observe  publish all the same, unless it is not finite
                   │             hold     keep it from actors
                   └             rollback hold; after `patience` in a row back to the last healthy one, lr cut

Knows neither Ray nor Redis.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn

from common.config.learner import GuardMode, GuardrailConfig
from common.findings import Reason
from learner.step import TrainingStep


class Action(StrEnum):
    """What is done with a candidate."""

    PUBLISH = "publish"
    """Healthy: it goes to everybody."""
    OBSERVE = "observe"
    """Unhealthy, and published all the same."""
    HOLD = "hold"
    """Kept from actors; evaluators see it."""
    ROLLBACK = "rollback"
    """Held, and training goes back to the last healthy candidate."""
    STOP = "stop"
    """Held, and no rollback is left."""


HOPELESS = (Reason.NOT_FINITE, Reason.SKIPPED)
"""Nothing that training does can cure these, since it undoes every step: a rollback waits for no more candidates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the guardrail says of one candidate.

    Attributes:
        action: What is to be done.
        reason: Why; None for a healthy candidate.
        value: What was measured; NaN for what is not finite.
        limit: What it was compared with.
    """

    action: Action
    reason: Reason | None = None
    value: float = math.nan
    limit: float = math.nan

    @property
    def published(self) -> bool:
        """Whether actors may have it."""
        return self.action in (Action.PUBLISH, Action.OBSERVE)

    def __str__(self) -> str:
        match self.reason:
            case None:
                return "healthy"
            case Reason.NOT_FINITE:
                return "parameters or features that are not finite"
            case Reason.SKIPPED:
                return "no step since the last candidate had a finite loss and gradient"
            case Reason.RANKME | Reason.FEATURE_STD:
                return f"{self.reason} = {self.value:.3g}, at least {self.limit:g} is asked for"


class Guardrail:
    """Judges candidates.

    Attributes:
        held: Candidates kept from actors, by reason.
        rollbacks: Rollbacks so far, by reason.
        streak: Unhealthy candidates in a row.
    """

    def __init__(self, config: GuardrailConfig) -> None:
        self._config = config
        self.held = Counter[Reason]()
        self.rollbacks = Counter[Reason]()
        self.streak = 0

    def judge(self, health: Mapping[str, float], *, finite: bool, stuck: bool = False) -> Verdict:
        """Decides on the next candidate, and counts it.

        Args:
            health: What was measured of it; what is missing is not judged.
            finite: All parameters are finite.
            stuck: Every step since the last candidate was undone.
        """
        found = self._finding(health, finite=finite, stuck=stuck)
        if found is None:
            self.streak = 0
            return Verdict(action=Action.PUBLISH)
        reason, value, limit = found
        self.streak += 1
        action = self._act(reason)
        if action is not Action.OBSERVE:
            self.held[reason] += 1
        if action is Action.ROLLBACK:
            self.rollbacks[reason] += 1
            self.streak = 0
        return Verdict(action=action, reason=reason, value=value, limit=limit)

    def accepts(self, health: Mapping[str, float]) -> bool:
        """Says whether finite parameters with this health are healthy; counts nothing."""
        return self._finding(health, finite=True, stuck=False) is None

    def state(self) -> dict[str, Any]:
        """Counters as JSON-able values."""
        return {"held": dict(self.held), "rollbacks": dict(self.rollbacks)}

    def restore(self, state: Mapping[str, Mapping[str, int]]) -> None:
        """Goes on from what `state` gave: a restart earns no new rollbacks."""
        self.held = Counter({Reason(name): count for name, count in state.get("held", {}).items()})
        self.rollbacks = Counter({Reason(name): count for name, count in state.get("rollbacks", {}).items()})

    def _finding(self, health: Mapping[str, float], *, finite: bool, stuck: bool) -> tuple[Reason, float, float] | None:
        judged = {reason: health[reason] for reason in (Reason.RANKME, Reason.FEATURE_STD) if reason in health}
        if not finite or not all(map(math.isfinite, judged.values())):
            return Reason.NOT_FINITE, math.nan, math.nan
        if stuck:
            return Reason.SKIPPED, math.nan, math.nan
        for reason, limit in (
            (Reason.RANKME, self._config.min_rankme),
            (Reason.FEATURE_STD, self._config.min_feature_std),
        ):
            if judged.get(reason, math.inf) < limit:
                return reason, judged[reason], limit
        return None

    def _act(self, reason: Reason) -> Action:
        mode = self._config.mode
        if mode is GuardMode.OBSERVE and reason is not Reason.NOT_FINITE:
            return Action.OBSERVE
        if mode is not GuardMode.ROLLBACK or (reason not in HOPELESS and self.streak < self._config.patience):
            return Action.HOLD
        return Action.ROLLBACK if self.rollbacks.total() < self._config.rollbacks else Action.STOP


class LastHealthy:
    """A copy, on the host, of everything that a rollback brings back: parameters, moments, draws of masks, schedules.

    Costs as many bytes as the model and the optimiser together (16 a trained parameter), and one copy a healthy
    candidate, into the same memory each time; pinned beside a GPU.

    Args:
        model: The networks.
        step: The training step that updates them.
    """

    def __init__(self, model: nn.Module, step: TrainingStep) -> None:
        self._model = model
        self._training = step
        self._kept: dict[str, dict[str, Tensor]] = {"model": {}, "step": {}}
        self._numbers: dict[str, Any] = {}
        self.step = 0
        self.keep()

    @torch.no_grad()
    def keep(self) -> None:
        """Copies what is there now."""
        self._copy("model", self._model.state_dict())
        self._copy("step", self._training.tensors())
        if self._training.device.type == "cuda":
            torch.cuda.synchronize(self._training.device)
        self._numbers = dict(self._training.numbers())
        self.step = self._training.step

    def restore(self, lr_cut: float) -> None:
        """Goes back to what was kept, bit for bit, but for a learning rate lower than the present one by `lr_cut`."""
        factor = self._training.lr_factor * lr_cut
        self._model.load_state_dict(self._kept["model"])
        self._training.restore(self._kept["step"], self._numbers)
        self._training.lr_factor = factor

    def _copy(self, part: str, tensors: Mapping[str, Tensor]) -> None:
        kept = self._kept[part]
        for name in kept.keys() - tensors.keys():
            del kept[name]
        pinned = self._training.device.type == "cuda"
        for name, tensor in tensors.items():
            if name not in kept:
                kept[name] = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=pinned)
            kept[name].copy_(tensor, non_blocking=pinned)
