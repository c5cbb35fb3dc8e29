"""Numbers along an axis: by how much they change, seed by seed.

A seed's trials saw the same stream and began alike, so each gives a slope of its own, and the slopes an interval. On a
logarithmic axis it is the change for each factor of ten.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from deploy.studies.report import quantities as q
from deploy.studies.report.material import Material
from deploy.studies.report.quantities import CATALOGUE
from deploy.studies.report.ranking import COMPARED
from deploy.studies.report.scales import Series, series_along
from evaluator.continual.metrics import Metric
from evaluator.scores import NotMeasurable, Result, Score
from evaluator.seeds import Difference, holm, slope

TRENDED = (*COMPARED, q.continual(Metric.BWT), q.RANKME)
"""Numbers whose trends are adjusted for each other."""
_APART = NotMeasurable("levels saw different streams, so no seed has a line of its own")


@dataclass(frozen=True, kw_only=True, eq=False)
class Trend:
    """The slope of one number along one series.

    Attributes:
        series: Along which.
        number: Its key.
        slope: Mean slope over seeds, or why there is none.
        holm: Its p-value, adjusted for all numbers along this series; NaN where there is none.
    """

    series: Series
    number: str
    slope: Difference | NotMeasurable
    holm: float

    @property
    def score(self) -> Result:
        """The slope with its interval, or why there is none."""
        return self.slope.score if isinstance(self.slope, Difference) else self.slope

    @property
    def p(self) -> float:
        """Its p-value, not adjusted; NaN where there is none."""
        return self.slope.p if isinstance(self.slope, Difference) else nan

    @property
    def each(self) -> str:
        """What the change is for."""
        axis = self.series.axis
        return "×10" if axis.log else f"1 {axis.unit}".strip()

    def text(self) -> str:
        """The slope with its interval; empty where there is none."""
        score = self.score
        if isinstance(score, NotMeasurable):
            return ""
        ends = "" if score.low is None or score.high is None else f" [{score.low:.3g}, {score.high:.3g}]"
        return f"{score.value:+.3g}{ends}".replace("-", "−")

    def sentence(self) -> str:
        """What may be said where the adjusted p-value is small; empty otherwise."""
        score = self.score
        if isinstance(score, NotMeasurable) or not self.holm < 0.05:
            return ""
        quantity = CATALOGUE[self.number]
        where = f" ({self.series.name})" if self.series.name else ""
        way = "rises" if score.value > 0 else "falls"
        label = quantity.label[:1].upper() + quantity.label[1:]
        return (
            f"{label}{where} {way} with {self.series.axis.label}: {self.text()} {quantity.unit}".rstrip()
            + f" for each {self.each} (p = {self.holm:.2g}, adjusted over {len(TRENDED)} numbers)."
        )


def trend(series: Series, number: str) -> Difference | NotMeasurable:
    """Finds the slope of one number along one series; a seed counts where all levels have it."""
    if not series.paired:
        return _APART
    x_L = np.log10(series.x) if series.axis.log else series.x
    shared = set(series.findings[0].condition.seeds)
    for one in series.findings:
        shared &= set(one.condition.seeds)
    lines: list[tuple[Sequence[float], Sequence[float]]] = []
    for seed in sorted(shared):
        results = [
            one.scores[number][one.condition.seeds.index(seed)] for one in series.findings if number in one.scores
        ]
        values = [result.value for result in results if isinstance(result, Score)]
        if len(values) == len(series.findings):
            lines.append((x_L.tolist(), values))
    return slope(lines)


def trends(material: Material) -> list[Trend]:
    """Finds the slopes of all numbers along every numeric axis."""
    found: list[Trend] = []
    for axis in material.design.axes:
        for series in series_along(material, axis) if axis.numeric else []:
            if len(series.findings) < 2:
                continue
            slopes = [trend(series, number) for number in TRENDED]
            adjusted = holm([one.p if isinstance(one, Difference) else nan for one in slopes])
            found += [
                Trend(series=series, number=number, slope=one, holm=p)
                for number, one, p in zip(TRENDED, slopes, adjusted, strict=True)
            ]
    return found
