"""What the guardrail between a learner and everybody who uses its weights can find."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a candidate is not healthy, gravest first."""

    NOT_FINITE = "not_finite"
    """A parameter, or a feature made with finite ones, is NaN or infinite."""
    SKIPPED = "skipped"
    """Every step since the last candidate was undone, since its loss or gradient was not finite: nothing is learned."""
    RANKME = "rankme"
    """Fewer effective dimensions than `min_rankme`."""
    FEATURE_STD = "feature_std"
    """Features that vary less than `min_feature_std`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GuardFinding:
    """An unhealthy candidate, and what was done.

    Attributes:
        number: Grows by one at each finding of a learner's process, from 1.
        version: The candidate.
        step: Its optimiser steps.
        reason: Why it is unhealthy.
        action: `observe`, `hold`, `rollback` or `stop`.
        value: What was measured; NaN for what is not finite.
        limit: Least that is asked for; NaN likewise.
        restored_step: Step that a rollback went back to.
        undone_exposures: Uses of frames that it took back in the ledger.
        lr_factor: Factor on the learning rate after it.
    """

    number: int
    version: int
    step: int
    reason: Reason
    action: str
    value: float
    limit: float
    restored_step: int | None = None
    undone_exposures: int | None = None
    lr_factor: float | None = None
