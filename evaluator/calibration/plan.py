"""What is planted in a simulated run, and the noise on top of it.

An experience is first used in a gradient at `first`. Until its last use, at `last`, what is remembered of it rises as
A (1 − exp(−((t − first) / τ)³)) bits; from then on it halves every `half_life` seconds. So, without noise, D reaches θ
at first + τ (−ln(1 − θ/A))^⅓ and half of its level `half_life` seconds after the last use. Both have logarithms that
vary normally between experiences, visits and runs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluator.experience import Kind
from evaluator.times.study import Numbers, Run

type Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """Deviations of a score, in bits. The halves of the frames are `full ± difference / 2`.

    Attributes:
        offset: Between experiences, the same at all versions: how hard a block is.
        wobble: From version to version.
        offset_half: Of half the difference of the halves, between experiences.
        wobble_half: The same from version to version.
    """

    offset: float
    wobble: float
    offset_half: float
    wobble_half: float

    @classmethod
    def of(cls, run: Run) -> "Noise":
        """Measures the noise of a run's placebos, of which nothing can be remembered, within their stays.

        What all blocks of a stay share is in no contrast: D is taken within one.

        Raises:
            ValueError: Fewer than three placebos were measured at fewer than three healthy versions.
        """
        chosen, healthy_V = run.of(Kind.PLACEBO), run.healthy_V
        full_PV = run.score_EV[chosen][:, healthy_V]
        difference_PV = (run.halves_EVH[chosen, :, 0] - run.halves_EVH[chosen, :, 1])[:, healthy_V] / 2
        measured = np.isfinite(full_PV).all(axis=0)
        if len(chosen) < 3 or measured.sum() < 3:
            found = f"{len(chosen)} at {int(measured.sum())}"
            raise ValueError(f"noise needs three placebos measured at three healthy versions; there are {found}")
        stay_P = np.unique(run.visit_E[chosen], return_inverse=True)[1]
        if stay_P.max() + 1 == len(chosen):
            stay_P = np.zeros_like(stay_P)  # one block a stay: they can only be told from each other
        offset, wobble = _components(full_PV[:, measured], stay_P)
        offset_half, wobble_half = _components(difference_PV[:, measured], stay_P)
        return cls(offset=offset, wobble=wobble, offset_half=offset_half, wobble_half=wobble_half)


LEVELS = {
    "low": Noise(offset=0.1, wobble=0.05, offset_half=0.1, wobble_half=0.05),
    "middle": Noise(offset=0.2, wobble=0.1, offset_half=0.2, wobble_half=0.1),
    "high": Noise(offset=0.3, wobble=0.15, offset_half=0.3, wobble_half=0.15),
}
"""Noise levels that are tried: blocks differ by 5, 10 and 15 % of what is remembered, and half of that from version to
version; the halves of the frames as much again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A simulated run.

    Attributes:
        visits: Visits one after another.
        blocks: Experiences of each; two of them are withheld.
        worlds: Worlds visited in turn.
        placebos: Placebo experiences, each from a walk of its own, in two worlds.
        block: Seconds of an experience.
        every: Seconds between evaluations.
        tail: Seconds that the run goes on after the last of these visits.
        steps: Optimiser steps a second.
        kept: Seconds for which frames stay in the buffer, and so are trained on; ± a tenth.
        wait: Mean seconds from admission to the first use.
        bits: Median of what is remembered at most, A.
        rise: Median of τ, s.
        half_life: Median, s.
        never: Share of exposed experiences of which nothing is ever learned.
        spread: Deviation of the logarithms of τ and half-life between experiences.
        spread_visit: The same between visits.
        spread_run: The same between runs; 0 for studies of one run, whose own median is what is sought.
        collapses: Share of runs that collapse in their last two fifths.
    """

    visits: int = 14
    blocks: int = 10
    worlds: int = 7
    placebos: int = 24
    block: float = 10.0
    every: float = 30.0
    tail: float = 350.0
    steps: float = 2.0
    kept: float = 300.0
    wait: float = 3.0
    bits: float = 2.0
    rise: float = 80.0
    half_life: float = 300.0
    never: float = 0.3
    spread: float = 0.35
    spread_visit: float = 0.1
    spread_run: float = 0.0
    collapses: float = 0.2

    @property
    def duration(self) -> float:
        """Seconds of the run."""
        return self.visits * self.blocks * self.block + self.tail


@dataclass(frozen=True, kw_only=True, eq=False)
class Planted:
    """What is planted in some exposed experiences.

    Attributes:
        admitted: Seconds from capture of the first frame to its admission.
        first: Seconds from there to the first use.
        last: Seconds from there to the last use.
        bits: Remembered at most.
        rise: τ, s.
        half_life: Seconds.
    """

    admitted: Floats
    first: Floats
    last: Floats
    bits: Floats
    rise: Floats
    half_life: Floats

    @classmethod
    def draw(cls, plan: Plan, effects: tuple[Floats, Floats], rng: np.random.Generator) -> "Planted":
        """Draws experiences.

        Args:
            plan: The plan.
            effects: What visit and run add to the logarithms of τ and half-life.
            rng: Source of the draws.
        """
        count = len(effects[0])
        admitted = rng.uniform(0.0, 1.0, count)
        return cls(
            admitted=admitted,
            first=admitted + rng.exponential(plan.wait, count),
            last=plan.kept * rng.uniform(0.9, 1.1, count),
            bits=plan.bits * np.exp(rng.normal(0.0, 0.2, count)) * (rng.random(count) >= plan.never),
            rise=plan.rise * np.exp(effects[0] + rng.normal(0.0, plan.spread, count)),
            half_life=plan.half_life * np.exp(effects[1] + rng.normal(0.0, plan.spread, count)),
        )

    def remembered(self, since_EV: Floats) -> Floats:
        """Bits remembered of each experience, by seconds since its capture."""
        first, last, rise = self.first[:, None], self.last[:, None], self.rise[:, None]
        trained = np.maximum(np.minimum(since_EV, last) - first, 0.0)
        risen = self.bits[:, None] * -np.expm1(-((trained / rise) ** 3))
        return risen * np.exp2(-np.maximum(since_EV - last, 0.0) / self.half_life[:, None])

    def reaches(self, theta: float) -> Floats:
        """Seconds from capture until D is θ without noise; infinite where it never is."""
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = self.first + self.rise * np.cbrt(-np.log1p(-theta / self.bits))
        return np.where((self.bits > theta) & (crossing <= self.last), crossing, np.inf)


def truth(plan: Plan, theta: float, draws: int = 20001) -> tuple[float, float]:
    """Medians of T_mem at this θ and of T_forget over many experiences, visits and runs, without noise."""
    rng = np.random.default_rng(0)
    between = np.hypot(plan.spread_visit, plan.spread_run)
    effects = rng.normal(0.0, between, draws), rng.normal(0.0, between, draws)
    planted = Planted.draw(plan, effects, rng)
    return float(np.median(planted.reaches(theta))), plan.half_life


def _components(score_PV: Floats, group_P: Numbers) -> tuple[float, float]:
    """Deviations between and within rows, without what all of a group share at a version.

    That within is taken from successive differences (von Neumann 1941), so that slow drift is no noise.
    """
    of_group_GP = np.arange(group_P.max() + 1)[:, None] == group_P
    mean_GV = of_group_GP @ score_PV / of_group_GP.sum(axis=1, keepdims=True)
    centred = score_PV - mean_GV[group_P]
    free, columns = len(group_P) - len(mean_GV), score_PV.shape[1]
    within = (np.diff(centred, axis=1) ** 2).sum() / (2 * free * (columns - 1))
    between = max(float((centred.mean(axis=1) ** 2).sum()) / free - within / columns, 0.0)
    return float(np.sqrt(between)), float(np.sqrt(within))
