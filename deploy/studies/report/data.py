"""The numbers behind the figures, as CSV and Parquet: one row a thing, one file a kind of thing."""

from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from deploy.studies.report.findings import CLOCKS, Findings, Half, Timed, What, Whom
from deploy.studies.report.lines import Line
from deploy.studies.report.material import Material
from deploy.studies.report.ranking import Ranking
from deploy.studies.report.scales import Fit
from deploy.studies.report.trends import Trend, trends
from evaluator.scaling import PowerLaw
from evaluator.scores import NotMeasurable, Result, Score
from evaluator.seeds import Difference
from evaluator.times.study import Clock
from evaluator.times.telling import OUTCOMES

type Rows = list[dict[str, Any]]


def write(folder: Path, material: Material, found: Sequence[Fit], ranking: Ranking) -> list[Path]:
    """Writes all of them into a folder; files with nothing to say are left out."""
    kinds: dict[str, Rows] = {
        "trials": _trials(material),
        "levels": [row for one in material.findings for row in _levels(one)],
        "events": [row for one in material.findings for row in _events(one)],
        "curves": [row for one in material.findings for row in _curves(one)],
        "versions": [row for one in material.findings for row in _versions(one)],
        "trends": [_trend(one) for one in trends(material)],
        "scaling": [_fit(fit) for fit in found],
        "differences": _differences(ranking),
        "absent": [{"trial": one.name, "why": one.why, "reason": one.reason} for one in material.absent],
    }
    return [path for name, rows in kinds.items() if rows for path in save(folder, name, rows)]


def save(folder: Path, name: str, rows: Rows) -> list[Path]:
    """Writes rows as CSV and as Parquet; the columns are those of any row, in the order of their first sight."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    table: Any = cast(Any, pa).table({key: [_plain(row.get(key)) for row in rows] for key in names})
    paths = [folder / f"{name}.csv", folder / f"{name}.parquet"]
    cast(Any, pa_csv).write_csv(table, paths[0])
    cast(Any, pa_parquet).write_table(table, paths[1])
    return paths


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not isfinite(value) else value


def ends(result: Result | None) -> dict[str, Any]:
    """A number with its interval, or the reason why there is none."""
    if isinstance(result, Score):
        return {"value": result.value, "low": result.low, "high": result.high, "n": result.frames, "reason": None}
    because = result.because if isinstance(result, NotMeasurable) else None
    return {"value": None, "low": None, "high": None, "n": 0, "reason": because}


def _of(one: Findings) -> dict[str, Any]:
    return {"level": one.name, "variant": one.condition.variant.name, **{
        f"level.{axis}": level for axis, level in one.condition.variant.levels.items()
    }}  # fmt: skip


def _trials(material: Material) -> Rows:
    rows: Rows = []
    for one in material.findings:
        for place, trial in enumerate(one.condition.trials):
            row: dict[str, Any] = {
                "trial": trial.name, **_of(one), "seed": trial.seed, "stream": trial.stream.digest,
                "salt": trial.stream.salt, "code": trial.code, **trial.numbers,
            }  # fmt: skip
            for key, results in one.scores.items():
                result = results[place]
                row[key] = result.value if isinstance(result, Score) else None
            for what, whom, clock in times_of(one):
                each = one.each_time(what, whom, clock)
                result = each[place] if each else None
                row[f"{what}.{whom}.{clock}"] = result.value if isinstance(result, Score) else None
            rows.append(row)
    return rows


def _levels(one: Findings) -> Iterable[dict[str, Any]]:
    for key in one.scores:
        yield {**_of(one), "number": key, **ends(one.over_seeds(key)), "events": None, "subjects": None}
    for what, whom, clock in times_of(one):
        timed = one.times.get((what, whom)) if isinstance(what, What) else None
        counts = (timed.counts["event"], timed.subjects) if isinstance(timed, Timed) else (None, None)
        yield {**_of(one), "number": f"{what}.{whom}.{clock}", **ends(one.time(what, whom, clock)), "events": counts[0],
               "subjects": counts[1]}  # fmt: skip


def times_of(one: Findings) -> list[tuple[What | Half, Whom, Clock]]:
    """All times that a condition tells of."""
    medians = [(what, whom, clock) for what, whom in one.times for clock in CLOCKS]
    return [*medians, *((half, whom, clock) for half in Half for whom, clock in one.halves)]


def _events(one: Findings) -> Iterable[dict[str, Any]]:
    names = {int(outcome): name for outcome, name in OUTCOMES.items()}
    for (what, whom), timed in one.times.items():
        if not isinstance(timed, Timed):
            continue
        seconds, steps = timed.durations[Clock.SECONDS], timed.durations[Clock.STEPS]
        for n in range(len(seconds.low_N)):
            yield {
                "trial": one.condition.trials[int(seconds.cluster_N[n])].name, **_of(one), "time": str(what),
                "of": str(whom), "outcome": names[int(seconds.outcome_N[n])],
                "low_seconds": float(seconds.low_N[n]), "high_seconds": float(seconds.high_N[n]),
                "followed_seconds": float(seconds.followed_N[n]), "low_steps": float(steps.low_N[n]),
                "high_steps": float(steps.high_N[n]), "followed_steps": float(steps.followed_N[n]),
            }  # fmt: skip


def _curves(one: Findings) -> Iterable[dict[str, Any]]:
    for (what, whom), timed in one.times.items():
        if isinstance(timed, Timed) and timed.curve is not None:
            curve = timed.curve
            yield from _points(one, f"survival.{what}.{whom}", curve.time_T, curve.value_T, curve.low_T, curve.high_T)
    for name, line in {"retention": one.retention, **one.lines}.items():
        if isinstance(line, Line):
            yield from _points(one, name, line.at, line.value, line.low, line.high)


def _points(one: Findings, curve: str, *columns: Any) -> Iterable[dict[str, Any]]:
    for at, value, low, high in zip(*(column.tolist() for column in columns), strict=True):
        yield {**_of(one), "curve": curve, "seconds": at, "value": value, "low": low, "high": high}


def _versions(one: Findings) -> Iterable[dict[str, Any]]:
    for trial, versions in zip(one.condition.trials, one.versions, strict=True):
        for version in versions:
            yield {"trial": trial.name, **_of(one), "seed": trial.seed, **version}


def _fit(fit: Fit) -> dict[str, Any]:
    row: dict[str, Any] = {
        "axis": fit.series.axis.name, "series": fit.series.name, "time": str(fit.what), "of": str(fit.whom),
        "clock": str(fit.clock), "paired": fit.series.paired,
    }  # fmt: skip
    for name, law in (("censored", fit.censored), ("medians", fit.medians)):
        known = isinstance(law, PowerLaw)
        row |= {f"{name}.{key}": value for key, value in ends(law.exponent if known else law).items()}
        row |= {f"{name}.c": law.scale if known else None, f"{name}.events": law.events if known else None}
    return row


def _trend(one: Trend) -> dict[str, Any]:
    return {
        "axis": one.series.axis.name, "series": one.series.name, "number": one.number, "for_each": one.each,
        **ends(one.score), "p": one.p, "p_holm": one.holm,
    }  # fmt: skip


def _differences(ranking: Ranking) -> Rows:
    rows: Rows = []
    for ranked in ranking.rows:
        for key, compared in ranked.against.items():
            found = compared.result
            known = isinstance(found, Difference)
            rows.append({
                "variant": ranked.findings.name, "reference": ranking.reference.name if ranking.reference else None,
                "number": key, **ends(found.score if known else found),
                "p": found.p if known else None, "p_holm": compared.holm,
            })  # fmt: skip
    return rows
