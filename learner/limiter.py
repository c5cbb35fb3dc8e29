"""Keeps sampling in proportion to what is admitted."""

from dataclasses import dataclass

from common.config import ReplayConfig


@dataclass(slots=True)
class SampleToInsertLimiter:
    """Lets the learner sample while sampled + n ≤ ratio × (inserted − min_fill) + slack × batch.

    The formula is Reverb's SampleToInsertRatio (Cassirer et al. 2021, arXiv:2102.04736, section 3.4) with its upper
    bound only: on a live stream the learner may wait for the writers, the writers never for the learner.

    Attributes:
        ratio: Samples allowed for each frame admitted.
        min_fill: Frames that must be admitted before the first sample; they earn no credit.
        ahead: Samples the learner may be ahead of the ratio.
        inserted: Frames admitted so far.
        sampled: Frames sampled so far.
    """

    ratio: float
    min_fill: int
    ahead: float
    inserted: int = 0
    sampled: int = 0

    @classmethod
    def from_config(cls, replay: ReplayConfig, batch: int) -> "SampleToInsertLimiter":
        """Builds the limiter of a replay configuration."""
        return cls(ratio=replay.replay_ratio, min_fill=replay.min_fill, ahead=replay.slack * batch)

    def allows(self, samples: int) -> bool:
        """Says whether `samples` frames may be drawn now."""
        if self.inserted < self.min_fill:
            return False
        return self.sampled + samples <= self.ratio * (self.inserted - self.min_fill) + self.ahead

    @property
    def achieved(self) -> float:
        """Frames sampled ÷ frames admitted; 0 before the first."""
        return self.sampled / self.inserted if self.inserted else 0.0
