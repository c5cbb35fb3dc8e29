"""What the evaluator writes is what times are read from."""

import json

import numpy as np
import pytest

from common.ledger import Exposed
from common.messages import VersionInfo
from evaluator.evaluation import EncoderName, Evaluation
from evaluator.experience import Experience, Kind
from evaluator.experiences import ArchiveCounts
from evaluator.health import Health
from evaluator.memory.measures import Halved, Measure, Remembered
from evaluator.memory.meter import Found
from evaluator.schedule import Plan
from evaluator.scores import NotMeasurable
from evaluator.times.study import Run


def test_what_the_evaluator_writes_is_what_is_read() -> None:
    lived = Experience(
        name="a/0", actor="actor-0", visit="a", world="w", kind=Kind.EXPOSED, frames=np.zeros((2, 4, 4, 3), np.uint8),
        numbers=(1, 2), start=3.0, end=12.0, ended_ns=4_000_000_000,
    )  # fmt: skip
    known = {Measure.BITS: Halved(2.0, (1.5, 2.5)), Measure.LOSS: NotMeasurable("no")}
    no = NotMeasurable("nothing there")
    rows = Evaluation(
        info=VersionInfo(version=7, step=40, created_ns=5_000_000_000, system_time=13.0, digest=""),
        seconds=1.0,
        cpu_seconds=0.5,
        probes={},
        gains={},
        knn={},
        health={EncoderName.TRAINED: Health(rankme=1.2, feature_std=0.8, dormant=0.0, frames=480)},
        memory=Found(
            experiences=[Remembered(experience=lived, measures=known, negatives=0)], worlds={"w": known}, beta=1.0
        ),
        means={kind: {Measure.LOSS: no} for kind in Kind},
        counts=ArchiveCounts(followed=1, placebo=0, short=0, thinned=0, refused=0),
        plan=Plan(chapters=(), due=1, postponed=0),
        skipped=0,
        exposed={
            "a/0": Exposed(
                admitted_ns=3_100_000_000, admitted_step=30, frames=9, exposures=5, undone=0, first_step=32,
                first_ns=3_500_000_000, last_step=38, last_ns=4_800_000_000,
            )
        },
    ).rows()  # fmt: skip
    run = Run.read(json.loads(json.dumps(row)) for row in rows)
    assert run.version_V.tolist() == [7]
    assert (run.time_V[0], run.step_V[0], run.wall_V[0]) == (13.0, 40.0, 5.0)
    assert run.healthy_V.tolist() == [False]  # RankMe below 1.5
    assert run.score_EV[0, 0] == 2.0
    assert run.halves_EVH[0, 0].tolist() == [1.5, 2.5]
    assert (run.start_E[0], run.end_E[0], run.exposures_EV[0, 0]) == (3.0, 12.0, 5.0)
    assert (run.admitted_E[0], run.last_step_E[0]) == (30.0, 38.0)
    assert run.worlds["w"].tolist() == [2.0]
    assert np.isnan(Run.read(rows, Measure.LOSS).score_EV).all()
    assert run.last_E[0] == pytest.approx(13.0, abs=0.3)
