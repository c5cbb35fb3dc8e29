"""What a run directory holds, read once for the whole page.

Shapes: V versions measured.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.config import RunConfig
from common.config.files import from_yaml
from common.errors import ConfigError
from deploy.evaluate import study_of
from deploy.report.blocks import read_score
from deploy.rundir import read_rows
from evaluator.continual.metrics import Continual, continual
from evaluator.continual.stream import Stream, Visit, visits_of
from evaluator.scores import NotMeasurable, Result, Score
from evaluator.times.analysis import Analysis
from evaluator.times.study import Run
from evaluator.times.summary import Summary, summarise

MOST_SHOWN = 240
"""Most versions that a figure over time shows, evenly spaced: a page must stay small."""

type Row = Mapping[str, Any]

_METRIC = re.compile(r"engram_(?P<name>[a-z_0-9]+)(?:\{(?P<labels>.*)\})?$")
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """A number over time with its interval; NaN where it was not measured.

    Attributes:
        value_V: The number.
        low_V: Lower end of its 95 % interval.
        high_V: Upper end.
    """

    value_V: NDArray[np.float64]
    low_V: NDArray[np.float64]
    high_V: NDArray[np.float64]

    @classmethod
    def of(cls, results: Sequence[Result]) -> "Series":
        """Puts results in a row."""
        scores = [result if isinstance(result, Score) else None for result in results]
        return cls(
            value_V=np.array([score.value if score else math.nan for score in scores], np.float64),
            low_V=np.array([_or_nan(score.low if score else None) for score in scores], np.float64),
            high_V=np.array([_or_nan(score.high if score else None) for score in scores], np.float64),
        )

    @property
    def known(self) -> bool:
        """Whether there is any number."""
        return bool(np.isfinite(self.value_V).any())


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """One run.

    Attributes:
        folder: Its run directory.
        config: What was asked for; None where the file is missing or of another version.
        heads: Row of each version, by system time.
        run: Scores of experiences.
        stream: Accuracies of places, or why there are none.
        continual: Metrics on them.
        visits: Who was where.
        metrics: Last values by part, name and labels.
        events: Rows of `events.jsonl`.
    """

    folder: Path
    config: RunConfig | None
    heads: Sequence[Row]
    run: Run
    stream: Stream | NotMeasurable
    continual: Continual
    visits: Sequence[Visit]
    metrics: Mapping[tuple[str, str, tuple[tuple[str, str], ...]], float]
    events: Sequence[Row]

    @property
    def name(self) -> str:
        """Name of the run on the page."""
        return self.folder.resolve().name

    @property
    def origin(self) -> float:
        """System time of minute 0: the first frame or version that is known, s."""
        known = [visit.start for visit in self.visits] + [float(head["system_time"]) for head in self.heads]
        return min(known, default=0.0)

    @property
    def shown(self) -> Sequence[Row]:
        """The versions that figures over time show, the last one among them."""
        number = len(self.heads)
        return [self.heads[index] for index in sparse(number)] if number > MOST_SHOWN else self.heads

    @property
    def minutes_V(self) -> NDArray[np.float64]:
        """When each of them was made."""
        return (np.array([float(head["system_time"]) for head in self.shown]) - self.origin) / 60

    @property
    def span(self) -> tuple[float, float]:
        """First and last minute that figures over time show."""
        ends = [visit.end for visit in self.visits] + [float(head["system_time"]) for head in self.heads]
        return 0.0, max([(end - self.origin) / 60 for end in ends] + [0.5])

    def series(self, *path: str) -> Series:
        """Follows a score through the rows of the versions shown, by the names that lead to it."""
        return Series.of([read_score(_dig(head, path)) for head in self.shown])

    def last(self, *path: str) -> Result:
        """The same score at the last version."""
        if not self.heads:
            return NotMeasurable("no version was evaluated")
        return read_score(_dig(self.heads[-1], path))

    def of_last(self, *path: str) -> float | None:
        """A plain number of the row of the last version."""
        found = _dig(self.heads[-1], path) if self.heads else None
        return float(found) if isinstance(found, int | float) else None

    def metric(self, part: str, name: str, **labels: str) -> float | None:
        """Sums the last values of a metric over the parts whose names begin with `part` and labels that fit."""
        wanted = set(labels.items())
        found = [
            value
            for (owner, metric, has), value in self.metrics.items()
            if owner.startswith(part) and metric == name and wanted <= set(has)
        ]
        return sum(found) if found else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """All that the page is made of.

    Attributes:
        runs: At least one; figures show the first.
        analysis: The runs as one study.
        summary: What it says.
    """

    runs: Sequence[Material]
    analysis: Analysis
    summary: Summary

    @property
    def first(self) -> Material:
        """The run that figures show."""
        return self.runs[0]


def sparse(number: int) -> list[int]:
    """Picks at most `MOST_SHOWN` of so many things, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, max(number - 1, 0), min(number, MOST_SHOWN)).round().astype(int)).tolist()


def gather(folders: Sequence[Path]) -> Report:
    """Reads run directories.

    Raises:
        ConfigError: A directory holds no evaluations.
        RunError: A row is damaged.
    """
    study = study_of(folders)
    analysis = Analysis(study=study)
    runs = [_material(folder, run) for folder, run in zip(folders, study.runs, strict=True)]
    return Report(runs=runs, analysis=analysis, summary=summarise(analysis))


def _material(folder: Path, run: Run) -> Material:
    rows = list(read_rows(folder / "evaluations.jsonl"))
    heads = {row["version"]: row for row in rows if row.get("row") == "evaluation" and row.get("schema") == 2}
    stream = Stream.read(rows)
    return Material(
        folder=folder,
        config=_config(folder),
        heads=sorted(heads.values(), key=lambda row: (row["system_time"], row["version"])),
        run=run,
        stream=stream,
        continual=continual(stream),
        visits=visits_of(rows),
        metrics=_metrics(folder),
        events=list(read_rows(folder / "events.jsonl")),
    )


def _config(folder: Path) -> RunConfig | None:
    try:
        return from_yaml(folder / "config.yaml")
    except ConfigError:
        return None


def _metrics(folder: Path) -> dict[tuple[str, str, tuple[tuple[str, str], ...]], float]:
    last: dict[str, Row] = {}
    for row in read_rows(folder / "metrics.jsonl"):
        last[str(row.get("part"))] = row
    found: dict[tuple[str, str, tuple[tuple[str, str], ...]], float] = {}
    for part, row in last.items():
        for name, value in row.items():
            match = _METRIC.match(name)
            if match and isinstance(value, int | float):
                labels = tuple((key, text) for key, text in _LABEL.findall(match["labels"] or ""))
                found[part, match["name"], labels] = float(value)
    return found


def _dig(row: Any, path: Sequence[str]) -> Any:
    for name in path:
        row = row.get(name) if isinstance(row, Mapping) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return row  # pyright: ignore[reportUnknownVariableType]


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
