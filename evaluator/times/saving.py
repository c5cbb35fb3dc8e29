"""Relearning saving: how much faster an experience is memorised on a return to its world (Ebbinghaus 1885)."""

import numpy as np

from evaluator.scores import NotMeasurable, Result, Score
from evaluator.times.analysis import Analysis, durations_of
from evaluator.times.contrasts import t_half
from evaluator.times.study import Clock
from evaluator.times.survival import median


def saving(analysis: Analysis, clock: Clock = Clock.SECONDS) -> Result:
    """1 − median T_mem on returns ÷ median T_mem on first visits: 0.3 is 30 % faster, below 0 slower.

    Each world of each run gives one ratio; their geometric mean counts, with a t-interval over runs, or over worlds
    where there is but one run. Only worlds with both medians take part.
    """
    if isinstance(analysis.memorised, NotMeasurable):
        return analysis.memorised
    logs_by_run: list[list[float]] = []
    experiences = 0
    for run, known in zip(analysis.study.runs, analysis.memorised, strict=True):
        logs: list[float] = []
        world_N, again_N = run.world_E[known.experience_N], run.returning_E[known.experience_N]
        for world in np.unique(world_N[again_N]).tolist():
            first, again = (
                median(durations_of([(run, known.pick((world_N == world) & of_N))], clock))
                for of_N in (~again_N, again_N)
            )
            if isinstance(first, Score) and isinstance(again, Score) and first.value > 0 and again.value > 0:
                logs.append(float(np.log(again.value / first.value)))
                experiences += first.frames + again.frames
        if logs:
            logs_by_run.append(logs)
    if not logs_by_run:
        return NotMeasurable("no world has a median T_mem both on its first visit and on a return")
    units = [float(np.mean(logs)) for logs in logs_by_run] if analysis.study.by_run else logs_by_run[0]
    mean = float(np.mean(units))
    if len(units) < 2:
        return Score(value=1 - float(np.exp(mean)), low=None, high=None, frames=experiences, clusters=len(units))
    half = t_half(float(np.std(units, ddof=1) / np.sqrt(len(units))), len(units) - 1)
    low, high = (1 - float(np.exp(mean + sign * half)) for sign in (1, -1))
    return Score(value=1 - float(np.exp(mean)), low=low, high=high, frames=experiences, clusters=len(units))
