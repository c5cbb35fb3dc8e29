"""Whether times of memory and forgetting are found again, over 2000 simulated studies at each noise level.

The goals are of docs/measures.md: medians within 10 %, 95 % intervals that hold what was planted in 92 to
98 % of the studies, with 30 % censored, and false memories of placebos in at most 5 % of whole runs.
"""

from evaluator.calibration.check import Calibration, Time, agreement, trials
from evaluator.calibration.plan import LEVELS, Plan
from tests.bench.measure import Result

STUDIES = 2000


def calibration() -> list[Result]:
    """One line for each time and noise level, and one for false memories."""
    results: list[Result] = []
    for name, noise in LEVELS.items():
        found = agreement(list(trials(Plan(), noise, 1, range(STUDIES))), 1)
        results += [_line(name, found, time) for time in Time]
        results.append(
            Result(
                what=f"placebos called memorised in a whole run, noise {name}",
                ours=f"{found.false_placebos:.2%} of {found.judged[0]}",
                limit=f"{found.false_memories:.2%} of {found.judged[1]} that nothing was learned of",
                value=found.false_placebos,
                most=0.05,
            )
        )
    return results


def _line(name: str, found: Calibration, time: Time) -> Result:
    agreed = found.times[time]
    return Result(
        what=f"{time}, noise {name}, {agreed.censored:.0%} censored",
        ours=f"{agreed.coverage:.1%} covered, median × {agreed.ratio:.3f}",
        limit=f"{agreed.coverage_percentile:.1%} by the percentile bootstrap",
        value=agreed.coverage,
        least=0.92,
        also=agreed.coverage <= 0.98 and abs(agreed.ratio - 1) <= 0.1,
    )
