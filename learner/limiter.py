"""Keeps sampling in proportion to what is admitted."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from common.config import ReplayConfig


@dataclass(slots=True)
class SampleToInsertLimiter:
    """Holds sampling to a ratio, within a band.

        difference = ratio × (inserted − min_fill) − sampled − forfeited
        −ahead ≤ difference − n     n samples may be drawn
        difference ≤ behind         after every insert: what exceeds it is forfeited, and counted

    Reverb's SampleToInsertRatio (Cassirer et al. 2021, arXiv:2102.04736, section 3.4), with one change: it would hold
    back an insert beyond the greatest difference, but writers on a live stream wait for nobody. So the credit goes
    instead: the learner was too slow for its ratio, and shall not make up for it on frames long replaced.

    Attributes:
        ratio: Samples earned by each frame admitted.
        min_fill: Frames that must be admitted before the first sample; they earn no credit.
        ahead: Samples the learner may be ahead of the ratio: Reverb's least difference, negated.
        behind: Samples the learner may be behind it and still catch up: Reverb's greatest difference; inf for any.
        inserted: Frames admitted so far.
        sampled: Frames sampled so far.
        forfeited: Samples earned and not taken in time.
    """

    ratio: float
    min_fill: int
    ahead: float
    behind: float = math.inf
    inserted: int = 0
    sampled: int = 0
    forfeited: float = 0.0

    @classmethod
    def from_config(cls, replay: ReplayConfig, batch: int) -> "SampleToInsertLimiter":
        """Builds the limiter of a replay configuration."""
        return cls(
            ratio=replay.replay_ratio,
            min_fill=replay.min_fill,
            ahead=replay.slack * batch,
            behind=replay.max_behind * batch or math.inf,
        )

    @property
    def difference(self) -> float:
        """Samples earned and still to be taken; negative when the learner is ahead."""
        return self.ratio * (self.inserted - self.min_fill) - self.sampled - self.forfeited

    @property
    def achieved(self) -> float:
        """Frames sampled ÷ frames admitted; 0 before the first."""
        return self.sampled / self.inserted if self.inserted else 0.0

    def allows(self, samples: int) -> bool:
        """Says whether `samples` frames may be drawn now."""
        return self.inserted >= self.min_fill and self.difference - samples >= -self.ahead

    def insert(self, frames: int = 1) -> None:
        """Notes admitted frames."""
        self.inserted += frames
        self.forfeited += max(0.0, self.difference - self.behind)

    def sample(self, samples: int) -> None:
        """Notes drawn frames."""
        self.sampled += samples

    def state(self) -> dict[str, float]:
        """Counters as JSON-able values."""
        return {"inserted": self.inserted, "sampled": self.sampled, "forfeited": self.forfeited}

    def restore(self, state: Mapping[str, float]) -> None:
        """Goes on from what `state` gave; older checkpoints know of nothing forfeited."""
        self.inserted, self.sampled = int(state["inserted"]), int(state["sampled"])
        self.forfeited = float(state.get("forfeited", 0.0))
