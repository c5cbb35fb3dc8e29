"""What is the same for all trials of a study: the number of optimiser steps, or the time that steps may take.

In real time a large network does fewer steps than a small one. `Match.CLOCK` says so without a stopwatch: a step takes
its operations ÷ the rate of an imagined machine, so that a trial's result does not depend on the real one.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

from common.config import RunConfig
from common.ijepa.masks import mask_sampler
from learner.flops import step_flops

_SETS = 16
"""Batches of masks over which the operations of a step are averaged."""


class Match(StrEnum):
    """What trials have in common."""

    STEPS = "steps"
    """As many steps as the replay ratio asks for, however long they take."""
    CLOCK = "clock"
    """No more steps than there is time for while the stream plays, at a stated rate of operations."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How fast a trial may go.

    Attributes:
        seconds_per_step: Time that a step takes on the imagined machine; 0 where steps are matched.
    """

    seconds_per_step: float = 0.0

    @classmethod
    def of(cls, config: RunConfig, match: Match, rate: float) -> "Pace":
        """The pace of a configuration.

        Args:
            config: Sizes, masks and batch.
            match: What trials have in common.
            rate: Operations a second of the imagined machine, for `Match.CLOCK`.
        """
        return cls(seconds_per_step=mean_step_flops(config) / rate if match is Match.CLOCK else 0.0)

    def steps_in(self, seconds: float) -> float:
        """Steps, and parts of one, for which there is time in so many seconds."""
        return seconds / self.seconds_per_step if self.seconds_per_step else math.inf


def mean_step_flops(config: RunConfig) -> float:
    """Operations of one optimiser step, mean over masks that are drawn as in training."""
    learner = config.learner
    sampler = mask_sampler(learner.masks, learner.model.grid(config.world.image_size), 0, "cpu")
    sets = [sampler.sample(learner.optim.batch_size) for _ in range(_SETS)]
    return fmean(step_flops(learner.model, config.world.image_size, masks).total for masks in sets)
