"""Holds a finished run against what its sensors noted by themselves: `python -m tests.audit RUN_DIR`.

The sensor of each actor appends the time of every capture to a file of its own, before anything else sees the frame.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actors.worlds.sensor_log import read_sensor_log
from deploy.rundir import read_rows

READ = ("missed", "quarantined", "gated", "guard", "withheld", "admitted")
DROPPED = "engram_actor_dropped_frames_total"
GAP = 1.0
"""Captures further apart than this, in seconds, belong to two lives of an actor."""


@dataclass(frozen=True, kw_only=True)
class ActorAudit:
    """What one actor's sensor says, beside what was counted.

    Attributes:
        seen: Captures in the sensor's log.
        captured: Frames captured, as the actor counted.
        written: Frames written.
        dropped: Frames dropped, all causes.
        spooled: Frames still waiting at the end.
        read: Entries that the learner accounts for, unread ones included.
        fps: Captures a second over the run.
        p99: 99th percentile of the time between captures, milliseconds.
        longest: Longest time between captures, milliseconds.
    """

    seen: int
    captured: int
    written: int
    dropped: int
    spooled: int
    read: int
    fps: float
    p99: float
    longest: float

    @property
    def adds_up(self) -> bool:
        """Both identities hold, and nothing was captured that the sensor did not see."""
        return self.seen == self.captured == self.written + self.dropped + self.spooled and self.read == self.written


def audit(run_dir: Path) -> dict[str, ActorAudit]:
    """Audits every actor of a run by its last rows of metrics."""
    last: dict[str, Mapping[str, Any]] = {row["part"]: row for row in read_rows(run_dir / "metrics.jsonl")}
    learner = last["learner"]
    audits: dict[str, ActorAudit] = {}
    for name in sorted(part for part in last if part.startswith("actor-")):
        row = last[name]
        captures = np.array(read_sensor_log(run_dir / "actors" / f"{name}.sensor"), np.int64)
        intervals = np.diff(captures) / 1e9
        living = intervals[intervals < GAP]
        fates = [f'engram_learner_read_entries_total{{actor="{name}",fate="{fate}"}}' for fate in READ]
        unread = learner[f'engram_learner_unread_entries{{actor="{name}"}}']
        audits[name] = ActorAudit(
            seen=len(captures),
            captured=int(row["engram_actor_captured_frames_total"]),
            written=int(row["engram_actor_written_frames_total"]),
            dropped=int(sum(value for key, value in row.items() if key.startswith(DROPPED))),
            spooled=int(row["engram_actor_spooled_frames"]),
            read=int(sum(learner[fate] for fate in fates) + unread),
            fps=len(living) / float(living.sum()),
            p99=float(np.percentile(living, 99)) * 1e3,
            longest=float(living.max()) * 1e3,
        )
    return audits


if __name__ == "__main__":
    for actor, found in audit(Path(sys.argv[1])).items():
        print(
            f"{actor}: {found.seen} seen, {found.captured} captured = {found.written} written "
            f"+ {found.dropped} dropped + {found.spooled} spooled, {found.read} accounted for by the learner: "
            f"{'adds up' if found.adds_up else 'DOES NOT ADD UP'}; "
            f"{found.fps:.3f} frames/s, p99 {found.p99:.1f} ms, longest {found.longest:.1f} ms"
        )
