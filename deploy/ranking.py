"""What a sweep found: one row a variant, with intervals over seeds, baselines and the bound beside them.

Shapes: S seeds, E evaluations, W worlds, C walks.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluator.probes import Task

TASKS = (Task.WORLD, Task.PLACE, Task.DEPTH)
"""What variants are ranked by."""

_T975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306}
"""97.5 % quantile of Student's t, by degrees of freedom."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over seeds, with its 95 % t-interval (None below two seeds)."""

    value: float
    half: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Interval":
        """Takes the mean of one number a seed."""
        if len(values) < 2:
            return cls(values[0] if values else nan, None)
        error = float(np.std(values, ddof=1)) / sqrt(len(values))
        return cls(fmean(values), _T975.get(len(values) - 1, 1.96) * error)

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.half is not None and self.value > self.half

    def text(self, digits: int = 3) -> str:
        """Writes the mean, and after ± half the interval; a dash where there is none."""
        if isnan(self.value):
            return "–"
        half = "" if self.half is None or isnan(self.half) else f" ± {self.half:.{digits}f}"
        return f"{self.value:.{digits}f}{half}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One variant.

    Attributes:
        variant: Its name.
        seeds: Which seeds have ended.
        scores: Last score of each task.
        gains: Last score − score before the first step (the same network, random-init), paired by seed.
        ratios: Gain ÷ gain of the i.i.d. bound of the same seed; only where the bound's interval lies above 0.
        forgetting: Chaudhry's, over the places of each world: mean over worlds of best earlier − last accuracy.
        rankme: Of the pooled features at the end.
    """

    variant: str
    seeds: tuple[int, ...]
    scores: Mapping[Task, Interval]
    gains: Mapping[Task, Interval]
    ratios: Mapping[Task, Interval]
    forgetting: Interval
    rankme: Interval


def rank(folder: Path) -> tuple[list[Row], str | None]:
    """Reads all results below `folder`.

    Returns:
        The rows, best mean gain first, and the name of the i.i.d. variant that bounds the others: the best of those.
    """
    by_variant: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for path in sorted((folder / "runs").glob("*.json")):
        result = json.loads(path.read_text("utf-8"))
        by_variant[result["variant"]][result["seed"]] = result
    gains = {
        variant: {task: {seed: _gain(result, task) for seed, result in results.items()} for task in TASKS}
        for variant, results in by_variant.items()
    }
    merit = {
        variant: fmean(Interval.of(list(of.values())).value for of in tasks.values())
        for variant, tasks in gains.items()
    }
    bounds = [variant for variant, results in by_variant.items() if all(one["iid"] for one in results.values())]
    bound = max(bounds, key=lambda variant: merit[variant], default=None)
    rows = [
        Row(
            variant=variant,
            seeds=tuple(results),
            scores={
                task: Interval.of([_score(one["evaluations"][-1], task) for one in results.values()]) for task in TASKS
            },
            gains={task: Interval.of(list(gains[variant][task].values())) for task in TASKS},
            ratios=_ratios(gains[variant], gains[bound]) if bound else {},
            forgetting=Interval.of([_forgetting(one["evaluations"]) for one in results.values()]),
            rankme=Interval.of([one["evaluations"][-1]["health"].get("rankme", nan) for one in results.values()]),
        )
        for variant, results in by_variant.items()
    ]
    return sorted(rows, key=lambda row: -merit[row.variant]), bound


def baselines(folder: Path) -> dict[str, dict[Task, Interval]]:
    """Scores that nothing was learned for: by the networks before their first step, one a seed, and by the pixels."""
    seeds: dict[int, dict[str, Any]] = {}
    for path in sorted((folder / "runs").glob("*.json")):
        result = json.loads(path.read_text("utf-8"))
        seeds[result["seed"]] = result
    found = list(seeds.values())
    return {
        "random-init": {task: Interval.of([_score(one["evaluations"][0], task) for one in found]) for task in TASKS},
        "8×8 pixels": {task: Interval.of([_score(found[0]["pixels"], task)]) for task in TASKS},
    }


def table(folder: Path) -> str:
    """Writes the ranking as a Markdown table, the baselines below."""
    rows, bound = rank(folder)
    heads = ["variant", "seeds", *(f"{task} (gain)" for task in TASKS), *(f"{task} ratio" for task in TASKS)]
    lines = [[*heads, "forgetting", "RankMe"], ["---"] * (len(heads) + 2)]
    for row in rows:
        name = f"**{row.variant}** (bound)" if row.variant == bound else row.variant
        scores = [f"{row.scores[task].value:.3f} ({row.gains[task].text()})" for task in TASKS]
        ratios = [row.ratios[task].text(2) if task in row.ratios else "–" for task in TASKS]
        lines.append([name, str(len(row.seeds)), *scores, *ratios, row.forgetting.text(), row.rankme.text(0)])
    for name, scores in baselines(folder).items():
        lines.append([name, "", *(scores[task].text() for task in TASKS), *[""] * (len(TASKS) + 2)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _score(evaluation: Mapping[str, Any], task: Task) -> float:
    return float(evaluation["probes"][task].get("value", nan))


def _gain(result: Mapping[str, Any], task: Task) -> float:
    return _score(result["evaluations"][-1], task) - _score(result["evaluations"][0], task)


def _ratios(
    gains: Mapping[Task, Mapping[int, float]], bound: Mapping[Task, Mapping[int, float]]
) -> dict[Task, Interval]:
    ratios: dict[Task, Interval] = {}
    for task in TASKS:
        if Interval.of(list(bound[task].values())).above_zero:
            shared = gains[task].keys() & bound[task].keys()
            ratios[task] = Interval.of([gains[task][seed] / bound[task][seed] for seed in sorted(shared)])
    return ratios


def _forgetting(evaluations: Sequence[Mapping[str, Any]]) -> float:
    """Mean over worlds of (best earlier − last) accuracy (Chaudhry et al. 2018, arXiv:1801.10112, section 3.2)."""
    if any(Task.PLACE not in one["sums"] for one in evaluations):
        return nan
    accuracy_EW = np.stack([_by_world(one["sums"][Task.PLACE]) for one in evaluations[1:]])
    if len(accuracy_EW) < 2:
        return nan
    best_W: NDArray[np.float64] = accuracy_EW[:-1].max(axis=0)
    drop_W = best_W - accuracy_EW[-1]
    return float(drop_W[np.isfinite(drop_W)].mean())


def _by_world(sums: Any) -> NDArray[np.float64]:
    """Accuracy of the place probe in each world, from the sums over walks: how many right, then how many, by world."""
    totals: NDArray[np.float64] = np.sum(sums, axis=0, dtype=np.float64)
    right_W, all_W = np.split(totals, 2)
    return np.divide(right_W, all_W, out=np.full_like(right_W, nan), where=all_W > 0)
