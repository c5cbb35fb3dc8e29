"""One study taken through the whole chain, each link computed once: what the summary and the calibration read.

Shapes: N experiences of all runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evaluator.scores import NotMeasurable
from evaluator.times.contrasts import Contrast, episodic
from evaluator.times.events import (
    CONSECUTIVE,
    Events,
    Forgetting,
    Outcome,
    forgotten,
    half_of_peak,
    memorised,
    rememorised,
)
from evaluator.times.study import Clock, Floats, Numbers, Run, Study
from evaluator.times.survival import Durations
from evaluator.times.threshold import Threshold, calibrate

type Found = Sequence[Events]
"""Events of each run."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Analysis:
    """A study with its threshold and its events.

    Attributes:
        study: The study.
        m: Measurements in a row of which a statement must hold.
    """

    study: Study
    m: int = CONSECUTIVE

    @cached_property
    def contrasts(self) -> list[Contrast]:
        """Episodic contrast of each run, trained as the ledger says."""
        return [episodic(run) for run in self.study.runs]

    @cached_property
    def assigned(self) -> list[Contrast]:
        """Intention-to-treat contrast of each run."""
        return [episodic(run, assigned=True) for run in self.study.runs]

    @cached_property
    def threshold(self) -> Threshold | NotMeasurable:
        """θ of all runs, or why there is none; without contrasts it would be of no use."""
        if not any(run.names for run in self.study.runs):
            return NotMeasurable("there are no experience rows of schema 2")
        if not any(len(contrast.experience_N) for contrast in self.contrasts):
            return NotMeasurable("no visit has both an exposed and a withheld experience: D has no controls")
        return calibrate(self.study, self.m)

    @cached_property
    def memorised(self) -> Found | NotMeasurable:
        """T_mem."""
        return self._by_run(self.contrasts, memorised)

    @cached_property
    def memorised_assigned(self) -> Found | NotMeasurable:
        """T_mem of everything that learners were allowed to train on."""
        return self._by_run(self.assigned, memorised)

    @cached_property
    def half_peak(self) -> Found | NotMeasurable:
        """Time to half of the peak."""
        return self._by_run(self.contrasts, half_of_peak)

    @cached_property
    def gone(self) -> Sequence[Forgetting] | NotMeasurable:
        """T_forget, and what it was found in."""
        if isinstance(self.memorised, NotMeasurable):
            return self.memorised
        parts = zip(self.study.runs, self.contrasts, self.memorised, strict=True)
        return [forgotten(run, contrast, known, self.m) for run, contrast, known in parts]

    @cached_property
    def forgotten(self) -> Found | NotMeasurable:
        """T_forget."""
        return self.gone if isinstance(self.gone, NotMeasurable) else [one.events for one in self.gone]

    @cached_property
    def rememorised(self) -> Found | NotMeasurable:
        """From being forgotten to being a memory again."""
        if isinstance(self.threshold, NotMeasurable):
            return self.threshold
        if isinstance(self.gone, NotMeasurable):
            return self.gone
        theta = self.threshold.theta
        return [rememorised(run, one, theta, self.m) for run, one in zip(self.study.runs, self.gone, strict=True)]

    def rehearsed(self, found: Found | NotMeasurable) -> Found | NotMeasurable:
        """Keeps the experiences that the learner rehearsed on purpose."""
        if isinstance(found, NotMeasurable):
            return found
        pairs = zip(self.study.runs, found, strict=True)
        return [events.pick(run.rehearsed_E[events.experience_N]) for run, events in pairs]

    @cached_property
    def learning(self) -> Found | NotMeasurable:
        """Learning latency: T_mem counted from the first use in a gradient instead of capture."""
        if isinstance(self.memorised, NotMeasurable):
            return self.memorised
        return [_since_first_use(run, known) for run, known in zip(self.study.runs, self.memorised, strict=True)]

    def durations(self, found: Found, clock: Clock = Clock.SECONDS) -> Durations:
        """Puts the events of all runs on one clock."""
        return durations_of(list(zip(self.study.runs, found, strict=True)), clock, by_run=self.study.by_run)

    def clusters(self, found: Found) -> list[Numbers]:
        """Cluster of each experience by run: its run, or its visit where there is but one run."""
        pairs = zip(self.study.runs, found, strict=True)
        return [_cluster(run, events, number, by_run=self.study.by_run) for number, (run, events) in enumerate(pairs)]

    def _by_run(
        self, contrasts: Sequence[Contrast], find: Callable[[Run, Contrast, float, int], Events]
    ) -> Found | NotMeasurable:
        if isinstance(self.threshold, NotMeasurable):
            return self.threshold
        theta = self.threshold.theta
        return [find(run, one, theta, self.m) for run, one in zip(self.study.runs, contrasts, strict=True)]


def _since_first_use(run: Run, known: Events) -> Events:
    """Moves the clock's start to the first use; what was never used waits with no start and is left out."""
    used = known.pick(np.isfinite(run.first_E[known.experience_N]))
    origin_N = np.minimum(run.first_E[used.experience_N], np.where(np.isfinite(used.high_N), used.high_N, np.inf))
    return Events(
        experience_N=used.experience_N,
        origin_N=origin_N,
        low_N=np.maximum(used.low_N, origin_N),
        high_N=used.high_N,
        outcome_N=np.where(
            (used.outcome_N == Outcome.COLLAPSE) & (used.high_N <= origin_N), Outcome.CENSORED, used.outcome_N
        ).astype(np.int64),
        place_N=used.place_N,
        followed_N=np.maximum(used.followed_N, origin_N),
    )


def durations_of(
    found: Sequence[tuple[Run, Events]], clock: Clock = Clock.SECONDS, *, by_run: bool = False
) -> Durations:
    """Puts events on one clock.

    Args:
        found: Events of some runs.
        clock: In what to count.
        by_run: Whether runs are the clusters; visits otherwise, which takes a single run.
    """
    low, high, followed = (
        _joined([run.elapsed(clock, of.origin_N, getattr(of, end), of.experience_N) for run, of in found])
        for end in ("low_N", "high_N", "followed_N")
    )
    return Durations(
        low_N=low,
        high_N=high,
        followed_N=followed,
        outcome_N=_joined([of.outcome_N for _, of in found]).astype(np.int64),
        cluster_N=_joined([_cluster(run, of, number, by_run=by_run) for number, (run, of) in enumerate(found)]).astype(
            np.int64
        ),
    )


def _cluster(run: Run, events: Events, number: int, *, by_run: bool) -> Numbers:
    return np.full(len(events.experience_N), number, np.int64) if by_run else run.visit_E[events.experience_N]


def _joined(parts: Sequence[Floats] | Sequence[Numbers]) -> Floats:
    return np.concatenate([np.zeros(0), *parts]).astype(np.float64)
