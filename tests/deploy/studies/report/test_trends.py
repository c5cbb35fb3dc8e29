"""Planted trends are found, and none where the levels cannot be compared."""

from dataclasses import replace
from math import log10
from pathlib import Path

import pytest

from deploy.studies.report import quantities as q
from deploy.studies.report.cautions import shown
from deploy.studies.report.material import gather
from deploy.studies.report.trends import TRENDED, trends
from evaluator.probes import Task
from evaluator.scores import NotMeasurable, Score
from tests.deploy.studies.report.made import sizes, study

pytestmark = pytest.mark.timeout(200)
PLANTED = 0.05 / log10(4)
"""What `made.sizes` gives every fourfold size more of gain, for each factor of ten."""


def test_a_planted_gain_is_found_and_said(tmp_path: Path) -> None:
    axes, variants = sizes()
    material = gather(study(tmp_path, axes, variants, rehearsal=False), 10.0)
    found = {one.number: one for one in trends(material)}
    assert tuple(found) == TRENDED
    for task in (Task.WORLD, Task.PLACE):
        score = found[q.gain(task)].score
        assert isinstance(score, Score)
        assert score.value == pytest.approx(PLANTED, abs=0.02)
        assert found[q.gain(task)].each == "×10"
        assert found[q.gain(task)].p < 0.05
        assert found[q.gain(task)].holm >= found[q.gain(task)].p
    said = [text for text in shown(material, []) if "for each ×10" in text]
    assert len(said) == sum(one.holm < 0.05 for one in found.values())


def test_levels_of_different_streams_have_no_trend(tmp_path: Path) -> None:
    axes, variants = sizes((1e4, 4e4))
    apart = [replace(one, salt=f"seed-{number}") for number, one in enumerate(variants)]
    material = gather(study(tmp_path, axes, apart, rehearsal=False), 10.0)
    found = trends(material)
    assert found
    assert all(isinstance(one.score, NotMeasurable) and not one.text() and not one.sentence() for one in found)
