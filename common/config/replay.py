"""Which frames are kept, which are drawn, and how often."""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar

from common.config import checks
from common.config.units import Seconds

EULER_GAMMA = 0.5772156649015329


class Keep(StrEnum):
    """Which frames a full buffer keeps."""

    FIFO = "fifo"
    """The newest."""
    RESERVOIR = "reservoir"
    """A uniform sample of all the past (Vitter 1985, algorithm R)."""
    RANDOM_REPLACEMENT = "random_replacement"
    """pamiq-core's: a new frame is kept with a fixed chance, in the place of a random one: ages fall off
    exponentially."""
    TWO_TIER = "two_tier"
    """A short FIFO, and a reservoir of all that has left it."""
    MINRED = "minred"
    """The least redundant: the frame whose nearest neighbour in features is nearest goes (Purushwalkam et al. 2022,
    arXiv:2203.12710)."""
    LOG_AGE = "log_age"
    """As many of each age on a logarithmic scale: of each octave of ages as many."""


class Draw(StrEnum):
    """Which of the kept frames are trained on."""

    UNIFORM = "uniform"
    LOSS_PRIORITISED = "loss_prioritised"
    """In proportion to a power of their last loss (Schaul et al. 2016, arXiv:1511.05952)."""
    NEWEST_MIX = "newest_mix"
    """A fixed share of each batch from the newest frames, the rest from all others."""
    REHEARSAL = "rehearsal"
    """The positive control of memory: some experiences are drawn far more often for a while, and then never again."""


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """Which frames are kept, which are drawn, and how often.

    Attributes:
        capacity: Frames in the buffer.
        keep: Which of them stay when it is full: `fifo`, `reservoir`, `random_replacement`, `two_tier`, `minred` or
            `log_age`.
        survival: `random_replacement`: frames after which all of the buffer is expected to be replaced, as
            pamiq-core's `expected_survival_length`; 0 keeps every new frame. The mean life of a frame is shorter by
            ln capacity + 0.58.
        draw: Which are trained on: `uniform`, `loss_prioritised`, `newest_mix` or `rehearsal`.
        newest: Share of the capacity that counts as new: the FIFO of `two_tier`, the newest of `newest_mix`.
        newest_share: `newest_mix`: share of new frames in a batch. 64 new and 448 old are 0.125.
        priority_exponent: `loss_prioritised`: power of the loss; 0 draws uniformly.
        rehearsed: `rehearsal`: share of the experiences that is chosen, by a hash of their names.
        rehearsal_times: `rehearsal`: how often a frame of theirs is drawn for each time that another is.
        rehearsal_frames: `rehearsal`: frames admitted since, after which they are never drawn again.
        min_fill: Frames in the buffer before the first step.
        replay_ratio: Frames sampled ÷ frames admitted that the limiter allows; the learner waits when it is ahead.
        slack: Batches the learner may be ahead of the ratio (Reverb's least difference); at least 1, so that the first
            step is due as soon as `min_fill` is reached.
        max_behind: Batches the learner may be behind the ratio and still catch up (Reverb's greatest difference); what
            it earns beyond is forfeited and counted, 0 for no bound. By default what a buffer of 8192 frames earns at
            ratio 8 and batches of 64: a learner that keeps its ratio never comes near, and one further behind would
            train on the frames of now for the sake of those that the buffer has replaced.
        min_new: Frames that must be admitted between two slices of training; 0 for none.
        max_staleness: Time for which newer weights may have been there when a frame was captured; frames of actors that
            were further behind are left out. 0 for any time. Frames seen before the first version pass.
        staleness_half_life: Age of those weights that halves a frame's chance to be sampled; 0 samples uniformly.
    """

    GROUP: ClassVar[str] = "learner.replay"

    capacity: int = 8192
    keep: Keep = Keep.FIFO
    survival: int = 0
    draw: Draw = Draw.UNIFORM
    newest: float = 0.125
    newest_share: float = 0.125
    priority_exponent: float = 0.6
    rehearsed: float = 0.1
    rehearsal_times: float = 50.0
    rehearsal_frames: int = 600
    min_fill: int = 256
    replay_ratio: float = 8.0
    slack: float = 2.0
    max_behind: float = 1024.0
    min_new: int = 0
    max_staleness: Seconds = 0.0
    staleness_half_life: Seconds = 0.0

    def __post_init__(self) -> None:
        checks.positive(self, "capacity", "min_fill", "replay_ratio", "rehearsal_times", "rehearsal_frames")
        checks.between(self, 1, 1e6, "slack")
        checks.not_negative(self, "survival")
        checks.between(self, 0, 1, "newest", "newest_share", "rehearsed")
        checks.between(self, 0, 4, "priority_exponent")
        if not 1 <= self.newest_frames < self.capacity and self._counts_newest:
            raise checks.refuse(self, "newest", f"must be at least one frame and less than all {self.capacity}")
        least = self._least_survival
        if self.keep is Keep.RANDOM_REPLACEMENT and 0 < self.survival < least:
            raise checks.refuse(self, "survival", f"must be 0 or at least {least}, even if every new frame is kept")
        if self.keep is Keep.LOG_AGE and self.capacity < 2:
            raise checks.refuse(self, "capacity", f"must be at least 2 with keep = {self.keep}")
        checks.not_negative(self, "max_behind", "min_new", "max_staleness", "staleness_half_life")
        if self.min_fill > self.capacity:
            raise checks.refuse(self, "min_fill", f"can never be reached with capacity = {self.capacity}")

    def share(self, ranks: int) -> "ReplayConfig":
        """What one of so many ranks keeps: of every `ranks` frames of the stream it is offered one.

        Raises:
            ConfigError: It would be too little.
        """
        if ranks == 1:
            return self
        return replace(
            self,
            capacity=self.capacity // ranks,
            survival=-(-self.survival // ranks),
            min_fill=-(-self.min_fill // ranks),
            min_new=-(-self.min_new // ranks),
            rehearsal_frames=-(-self.rehearsal_frames // ranks),
        )

    @property
    def newest_frames(self) -> int:
        """Frames that count as new."""
        return int(self.newest * self.capacity)

    @property
    def _least_survival(self) -> int:
        """Frames that it takes to replace all of the buffer when each new one replaces a random one."""
        return math.ceil(self.capacity * (math.log(self.capacity) + EULER_GAMMA))

    @property
    def _counts_newest(self) -> bool:
        return self.keep is Keep.TWO_TIER or self.draw is Draw.NEWEST_MIX
