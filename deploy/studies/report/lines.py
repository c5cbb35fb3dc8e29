"""Numbers along a way, of the trials of a condition: D over the stream, and what is left of it by age.

Shapes: V versions, B bins of age.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deploy.studies.report import quantities as q
from evaluator.scores import NotMeasurable, Result, Score
from evaluator.seeds import over_seeds
from evaluator.times.analysis import Analysis
from evaluator.times.contrasts import mean_at, world_contrast, world_differences
from evaluator.times.retention import LEAST_IN_BIN, ages
from evaluator.times.study import Floats, Run
from evaluator.times.survival import leave_one_out, t_interval

BINS = 8
"""Most bins of age, with as many measurements in each."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """A number along a way: over time or over age.

    Attributes:
        at: Seconds.
        value: The number.
        low: Lower end of its 95 % interval over trials; NaN where there is none; likewise the next.
        high: Upper end.
    """

    at: Floats
    value: Floats
    low: Floats
    high: Floats


def contrasts(analysis: Analysis) -> tuple[dict[str, Line | NotMeasurable], list[dict[str, Result]]]:
    """D over the stream: lines over trials, and the mean over versions and the end of each trial."""
    names = {"episodic": (q.EPISODIC, q.EPISODIC_LAST), "world": (q.WORLD, q.WORLD_LAST)}
    each: dict[str, list[dict[int, Result]]] = {name: [] for name in names}
    moments: list[dict[int, float]] = []
    for run, contrast in zip(analysis.study.runs, analysis.contrasts, strict=True):
        columns = range(len(run.version_V))
        each["episodic"].append({int(run.version_V[v]): mean_at(contrast, run, v) for v in columns})
        each["world"].append(_worlds(run))
        moments.append({int(run.version_V[v]): float(run.time_V[v] - run.time_V[0]) for v in columns})
    scores: list[dict[str, Result]] = [{} for _ in moments]
    for name, (over, last) in names.items():
        for of_trial, results in zip(scores, each[name], strict=True):
            ended = list(results.values())
            of_trial[over] = _without_interval(over_seeds(ended))
            of_trial[last] = _without_interval(ended[-1]) if ended else NotMeasurable("no version was measured")
    return {name: _line(each[name], moments) for name in names}, scores


def _worlds(run: Run) -> dict[int, Result]:
    """World contrast at each version, without its interval over worlds."""
    found = list(world_differences(run).values())
    versions = run.version_V.tolist()
    if not found:
        return dict.fromkeys(versions, world_contrast(run)) if versions else {}
    known_WV = np.stack(found)
    results: dict[int, Result] = {}
    for column, version in enumerate(versions):
        of_V = known_WV[:, column][np.isfinite(known_WV[:, column])]
        results[version] = (
            Score(value=float(of_V.mean()), low=None, high=None, frames=len(of_V), clusters=len(of_V))
            if len(of_V)
            else NotMeasurable("no visited world was measured both before its first visit and now")
        )
    return results


def _without_interval(result: Result) -> Result:
    if isinstance(result, NotMeasurable):
        return result
    return Score(value=result.value, low=None, high=None, frames=result.frames, clusters=1)


def _line(each: Sequence[Mapping[int, Result]], moments: Sequence[Mapping[int, float]]) -> Line | NotMeasurable:
    """Mean over trials at every version that most of them were measured at."""
    rows: list[tuple[float, float, float, float]] = []
    for version in sorted({version for results in each for version in results}):
        results = [results[version] for results in each if version in results]
        known = [result for result in results if isinstance(result, Score)]
        if 2 * len(known) <= len(each):
            continue
        mean = over_seeds(known)
        assert isinstance(mean, Score)
        time = float(np.mean([of[version] for of in moments if version in of]))
        rows.append((time, mean.value, _or_nan(mean.low), _or_nan(mean.high)))
    if not rows:
        reasons = [result for results in each for result in results.values() if isinstance(result, NotMeasurable)]
        return reasons[-1] if reasons else NotMeasurable("no version was measured")
    table = np.array(rows, np.float64)
    return Line(at=table[:, 0], value=table[:, 1], low=table[:, 2], high=table[:, 3])


def retention(analysis: Analysis) -> Line | NotMeasurable:
    """Ratio of sums D ÷ level in bins of age, with a jackknife-t interval over trials."""
    gone = analysis.gone
    if isinstance(gone, NotMeasurable):
        return gone
    parts = [
        ages(run, one, np.full(len(one.level_N), number, np.int64))
        for number, (run, one) in enumerate(zip(analysis.study.runs, gone, strict=True))
    ]
    age, left, level, cluster = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("age", "left", "level", "cluster")
    )
    if len(age) < LEAST_IN_BIN:
        return NotMeasurable("fewer than five measurements follow the last exposure of something memorised")
    edges = np.unique(np.quantile(age, np.linspace(0, 1, min(BINS, len(age) // LEAST_IN_BIN) + 1)))
    bin_M = np.clip(np.searchsorted(edges, age, side="right") - 1, 0, max(len(edges) - 2, 0))
    rows: list[tuple[float, float, float, float]] = []
    for number in np.unique(bin_M):
        use = bin_M == number
        weight_RN = leave_one_out(cluster[use])
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio_R = (weight_RN @ left[use]) / (weight_RN @ level[use])
        low, high = t_interval(ratio_R, len(weight_RN) - 1)
        rows.append((float(age[use].mean()), float(ratio_R[0]), _or_nan(low), _or_nan(high)))
    table = np.array(rows, np.float64)
    return Line(at=table[:, 0], value=table[:, 1], low=table[:, 2], high=table[:, 3])


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
