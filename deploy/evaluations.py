"""The evaluator's rows: fetched while a run goes on, written down, and read again for what they say so far.

    evaluator ── rows ──► evaluations.jsonl ──► times of memory, contrasts, continual metrics ──► StudyStatus

The last step is what `engram evaluate` and `engram report` do after the end, taken in a thread and seldom enough.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray
import ray.exceptions

from common.status import Bounded, StudyStatus
from deploy.evaluate import study_of
from deploy.rundir import RunDirectory, read_rows
from deploy.supervision import Part
from evaluator.continual.metrics import Metric, continual
from evaluator.continual.stream import Stream
from evaluator.scores import NotMeasurable, Score
from evaluator.times.analysis import Analysis
from evaluator.times.study import Clock
from evaluator.times.summary import summarise
from evaluator.times.telling import TimeSummary

DUTY = 0.02
"""Share of the time that reading the rows again may take."""
LARGEST = 2**26
"""Bytes of rows up to which this goes on in a run; what is longer is for `engram evaluate`, which may take its time."""
CONTRASTS = ("episodic", "assigned", "world")

_log = logging.getLogger(__name__)


class Evaluations:
    """Asks, fetches, writes and reads; never waits.

    Args:
        directory: The run directory.
        elapsed: Gives the seconds since the start of the run.
    """

    def __init__(self, directory: RunDirectory, *, elapsed: Callable[[], float]) -> None:
        self._directory, self._elapsed = directory, elapsed
        self.asked: Any = None
        """Rows that were asked for and have not come yet."""
        self._seen = 0
        self._unread = True
        self._due = 0.0
        self._reading: Future[StudyStatus] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="evaluations")
        self.study = StudyStatus()
        """What the rows have said so far."""

    def look(self, evaluator: Part | None) -> None:
        """Does what is due: fetches new rows, asks for more, begins to read or takes what was read."""
        if evaluator is not None:
            self._collect(evaluator)
        if self._reading is not None and self._reading.done():
            done, self._reading = self._reading, None
            try:
                self.study = done.result()
            except Exception as error:  # what is shown of a run must never end it
                _log.warning("the evaluations so far say nothing: %s: %s", type(error).__name__, error)
            self._due = time.monotonic() + self.study.seconds / DUTY
        if self._unread and self._reading is None and time.monotonic() >= self._due:
            self._unread = False
            if 0 < (self._directory.path / "evaluations.jsonl").stat().st_size <= LARGEST:
                self._reading = self._thread.submit(read_study, self._directory.path)

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds rows to the file."""
        for row in rows:
            self._directory.evaluation({**row, "t": time.time(), "elapsed": self._elapsed()})
        self._unread = self._unread or bool(rows)

    def forget(self) -> None:
        """Expects nothing more from an evaluator that has died."""
        self.asked, self._seen = None, 0

    def close(self) -> None:
        """Begins no more; what is being read is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _collect(self, evaluator: Part) -> None:
        if self.asked is not None and ray.wait([self.asked], timeout=0)[0]:
            reference, self.asked = self.asked, None
            try:
                self.write(ray.get(reference))
            except ray.exceptions.RayError as error:
                _log.warning("no rows from the evaluator: %s", error)
        done = evaluator.status.evaluations if evaluator.status else 0
        if self.asked is None and done != self._seen:
            self._seen = done
            self.asked = evaluator.handle.rows.remote()


def read_study(run_dir: Path) -> StudyStatus:
    """Reads what the evaluations of a run say so far.

    Raises:
        EngramError: A row is damaged.
    """
    began = time.monotonic()
    summary = summarise(Analysis(study=study_of([run_dir])))
    scores = continual(Stream.read(read_rows(run_dir / "evaluations.jsonl"))).scores
    times = {name: part for name, part in summary.parts.items() if isinstance(part, TimeSummary)}
    medians = {name: part.medians[Clock.SECONDS] for name, part in times.items()}
    latencies = {name: summary.parts[name] for name in ("latency_admission", "latency_first_use")}
    return StudyStatus(
        measure=summary.measure,
        threshold=None if isinstance(summary.theta, NotMeasurable) else summary.theta.theta,
        times=_measured({**medians, **latencies, "recovery": scores[Metric.RECOVERY]}),
        missing={name: result.because for name, result in medians.items() if isinstance(result, NotMeasurable)},
        outcomes={name: dict(part.counts) for name, part in times.items()},
        contrasts=_measured({name: summary.parts[name] for name in CONTRASTS}),
        ratios=_measured({name: summary.parts[name] for name in ("false_memories", "margin", "saving")}),
        continual=_measured({str(name): result for name, result in scores.items() if name is not Metric.RECOVERY}),
        seconds=time.monotonic() - began,
    )


def _measured(results: Mapping[str, Any]) -> dict[str, Bounded]:
    return {
        name: Bounded(value=result.value, low=result.low, high=result.high)
        for name, result in results.items()
        if isinstance(result, Score)
    }
