"""The end of a run: sums, differences, and a sentence that follows from the intervals."""

import io
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from common.messages import VersionInfo
from common.status import ActorStatus, LearnerStatus, ReaderCounts, RunStatus, WriterCounts
from deploy.rundir import to_json
from deploy.summary import Estimate, Evaluated, Lived, compare, read_evaluations, sentence, summary
from evaluator.evaluation import EncoderName, Evaluation
from evaluator.experience import Experience, Kind
from evaluator.experiences import ArchiveCounts
from evaluator.health import Health
from evaluator.memory.measures import Halved, Measure, Remembered
from evaluator.memory.meter import Found
from evaluator.probes import Task
from evaluator.schedule import Plan
from evaluator.scores import NotMeasurable, Score

STATUS = RunStatus(
    elapsed=600.0,
    phase="stopping",
    actors=(
        ActorStatus(
            name="actor-0",
            world="w0",
            visit="a-0",
            late=3,
            mean_fps=10.0,
            interval_p99=0.1,
            counts=WriterCounts(captured=6000, written=6000),
        ),
        ActorStatus(
            name="actor-1",
            world="w1",
            visit="b-0",
            mean_fps=8.25,
            interval_p99=0.2,
            counts=WriterCounts(captured=5000, written=4970, dropped={"spool_full": 28, "died": 0}, spooled=2),
        ),
    ),
    learner=LearnerStatus(
        step=100,
        images=3200,
        loss=0.4,
        version=1,
        counts={
            "actor-0": ReaderCounts(admitted=4500, withheld=1000, guard=500),
            "actor-1": ReaderCounts(admitted=4000, withheld=700, guard=260, missed=7),
        },
    ),
    restarts={"actor-1": 1},
)


def estimate(value: float, half: float = 0.01) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half)


def evaluated(**probes: tuple[float, float, float]) -> Evaluated:
    return Evaluated(
        version=7,
        system_time=0.0,
        probes={
            name: dict(zip(("trained", "random", "pixels"), map(estimate, scores), strict=True))
            for name, scores in probes.items()
        },
        losses={"exposed": estimate(0.39), "withheld": None, "placebo": estimate(0.41)},
        rankme={"trained": 30.0, "random": 39.0},
    )


def shown(
    status: RunStatus, *evaluations: Evaluated, width: int = 80, events: tuple[Mapping[str, Any], ...] = ()
) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(summary(status, evaluations, events, directory=Path("runs/one"), picture=Path("runs/one/p.png")))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def cells(text: str, name: str, nth: int = 0) -> list[str]:
    found = [row for row in text.splitlines() if row.strip().startswith(name)]
    return found[nth].strip().removeprefix(name).split("  ")[-1:] and found[nth].strip().removeprefix(name).split()


def test_sums_that_hold_get_a_tick_and_others_their_difference() -> None:
    text = shown(STATUS)
    assert cells(text, "captured") == ["6,000", "5,000", "11,000"]
    assert cells(text, "+ dropped: spool full") == ["0", "28", "28"]
    assert "died" not in text
    assert cells(text, "adds up", 0) == ["✓", "✓", "✓"]
    assert cells(text, "adds up", 1) == ["✓", "✗", "+3", "✗", "+3"]
    assert cells(text, "frames/s, mean") == ["10.00", "8.25", "18.25"]
    assert cells(text, "interval p99 of the last minute, ms") == ["100", "200", "200"]


def test_of_many_actors_the_first_and_the_sum_are_shown() -> None:
    many = replace(STATUS, actors=tuple(replace(STATUS.actors[0], name=f"actor-{n}") for n in range(40)))
    assert cells(shown(many, width=120), "captured") == ["6,000"] * 5 + ["240,000"]


def test_what_was_seen_comes_from_statuses_events_and_experiences() -> None:
    event = {"kind": "visit", "world": "w2", "visit": "a-1"}
    assert "11,000 frames by 2 actors on 3 visits to 3 worlds · 1 restart (actor-1 ×1)" in shown(
        STATUS, events=(event, event, {"kind": "started"}), width=120
    )


def test_everything_fits_into_80_columns() -> None:
    text = shown(STATUS, evaluated(world=(0.7, 0.6, 0.5), place=(0.3, 0.3, 0.3), heading=(0.1, 0.2, 0.0)))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "0.700" in text
    assert "[0.690, 0.710]" in text
    assert "30.0 (random-init 39.0)" in text
    assert "runs/one/p.png" in text


@pytest.mark.parametrize(
    ("scores", "outcome"),
    [
        ((0.70, 0.60, 0.50), "above both"),
        ((0.70, 0.69, 0.50), "not apart"),
        ((0.50, 0.50, 0.50), "not apart"),
        ((0.70, 0.60, 0.75), "below one"),
    ],
)
def test_only_intervals_apart_are_a_difference(scores: tuple[float, float, float], outcome: str) -> None:
    assert compare(evaluated(world=scores), "world") == outcome


@pytest.mark.parametrize(
    ("gain", "outcome"),
    [(estimate(0.05), "above both"), (estimate(0.005), "not apart"), (estimate(-0.05), "below one")],
)
def test_the_paired_gain_decides_against_random_init(gain: Estimate, outcome: str) -> None:
    noisy = {"trained": estimate(0.65, 0.1), "random": estimate(0.6, 0.1), "pixels": estimate(0.3, 0.1)}
    evaluation = replace(evaluated(), probes={"world": noisy})
    assert compare(evaluation, "world") == "not apart"
    assert compare(replace(evaluation, gains={"world": gain}), "world") == outcome


def test_without_an_interval_there_is_no_comparison() -> None:
    scores = evaluated(world=(0.7, 0.6, 0.5)).probe("world")
    for encoder in ("trained", "random", "pixels"):
        for missing in (None, Estimate(value=0.9)):
            assert compare(replace(evaluated(), probes={"world": {**scores, encoder: missing}}), "world") == ""


def test_the_sentence_is_as_good_or_bad_as_the_run() -> None:
    assert sentence(None) == "Nothing was evaluated, so nothing can be said about what was learnt."
    assert "nothing can be said" in sentence(evaluated())
    good = sentence(evaluated(world=(0.7, 0.6, 0.5), place=(0.7, 0.6, 0.5), depth=(0.7, 0.6, 0.5)))
    assert good.startswith(
        "At v7 the trained encoder is above random-init and pixels on world, place and depth (by 95 %"
    )
    mixed = sentence(evaluated(world=(0.7, 0.6, 0.5), place=(0.6, 0.6, 0.5), depth=(0.4, 0.6, 0.5)))
    assert (
        "above random-init and pixels on world; not distinguishable from the better baseline on place; below" in mixed
    )
    assert "below a baseline on depth" in mixed
    assert "above" not in sentence(evaluated(world=(0.4, 0.6, 0.5)))


def test_what_the_evaluator_writes_is_what_is_read() -> None:
    score = Score(value=0.6, low=0.5, high=0.7, frames=480, clusters=16)
    experience = Experience(
        name="a/0", actor="actor-0", visit="a", world="w", kind=Kind.EXPOSED, frames=np.zeros((2, 4, 4, 3), np.uint8),
        numbers=(1, 2), start=3.0, end=12.0, ended_ns=4_000_000_000,
    )  # fmt: skip
    placebo = replace(experience, name="p/0", kind=Kind.PLACEBO)
    no = NotMeasurable("nothing there")

    def rows(version: int, loss: float | None) -> list[dict[str, Any]]:
        measured = NotMeasurable("not finite") if loss is None else Halved(loss, (loss, loss))
        measures = {Measure.LOSS: measured, Measure.BITS: no}
        return Evaluation(
            info=VersionInfo(version=version, step=1, created_ns=5_000_000_000, system_time=13.0, digest=""),
            seconds=1.0,
            cpu_seconds=0.5,
            probes={Task.WORLD: {EncoderName.TRAINED: score, EncoderName.RANDOM: no}},
            gains={Task.WORLD: score, Task.DEPTH: no},
            knn={},
            health={
                EncoderName.TRAINED: Health(rankme=30.0, feature_std=0.8, dormant=0.0, frames=480),
                EncoderName.RANDOM: no,
            },
            memory=Found(
                experiences=[
                    Remembered(experience=one, measures=measures, negatives=0) for one in (experience, placebo)
                ]
            ),
            means={Kind.EXPOSED: {Measure.LOSS: score}, Kind.PLACEBO: {Measure.LOSS: no}},
            counts=ArchiveCounts(followed=1, placebo=1, short=0, thinned=0, refused=0),
            plan=Plan(chapters=(), due=2, postponed=0),
            skipped=0,
        ).rows()

    written = [*rows(1, 0.3), *rows(2, None), {"row": "gap"}, *rows(1, 0.4)]
    second, first = read_evaluations(json.loads(to_json({"v": 1, **row})) for row in written)
    assert (first.version, first.system_time) == (1, 13.0)
    found = Estimate(value=0.6, low=0.5, high=0.7)
    assert first.probe("world") == {"trained": found, "random": None, "pixels": None}
    assert first.probe("place") == {"trained": None, "random": None, "pixels": None}
    assert first.gains == {"world": found, "depth": None}
    assert first.losses == {"exposed": found, "placebo": None}
    assert first.rankme["trained"] == 30.0
    assert math.isnan(first.rankme["random"])
    assert first.lived[0] == Lived(
        name="a/0", kind="exposed", world="w", visit="a", start=3.0, end=12.0, age=1.0, loss=0.4
    )
    assert math.isnan(first.lived[1].start)
    assert math.isnan(second.lived[0].loss)
