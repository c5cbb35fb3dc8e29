"""Everything that is said of a study, and what is said where nothing can be."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from evaluator.calibration.plan import LEVELS, Plan
from evaluator.calibration.simulator import simulate
from evaluator.experience import Kind
from evaluator.scores import NotMeasurable, Score
from evaluator.times.analysis import Analysis
from evaluator.times.retention import Ages, Laws, compare_laws
from evaluator.times.saving import saving
from evaluator.times.study import Clock, Rates, Run, Study
from evaluator.times.summary import Summary, summarise
from evaluator.times.telling import TimeSummary
from tests.evaluator.times.diary import Diary, Page


def simulated(plan: Plan, seed: int = 0) -> Run:
    rates = Rates(frames_per_second=20, batch=32)
    return Run.read(simulate(plan, LEVELS["low"], np.random.default_rng(seed)), rates=rates)


def summary_of(*runs: Run) -> Summary:
    found = summarise(Analysis(study=Study(runs=runs)))
    json.dumps(found.row(), allow_nan=False)
    return found


QUIET = Plan(collapses=0.0)


@pytest.fixture(scope="module")
def summary() -> Summary:
    return summary_of(simulated(QUIET))


def test_a_simulated_run_is_measured_in_every_part(summary: Summary) -> None:
    missing = {name: part.because for name, part in summary.parts.items() if isinstance(part, NotMeasurable)}
    assert missing == {"world": "the version rows hold no scores of whole worlds"}
    assert summary.counts["exposed"] == 14 * 8
    assert summary.counts["visits"] == 14


def test_latencies_add_up_to_about_t_mem(summary: Summary) -> None:
    values = summary.values()
    whole = values["latency_admission"] + values["latency_first_use"] + values["latency_learning"]
    assert whole == pytest.approx(values["t_mem"], rel=0.1)
    assert values["latency_first_use"] == pytest.approx(QUIET.wait * np.log(2), rel=0.5)


def test_clocks_tick_at_the_pace_of_the_run(summary: Summary) -> None:
    part = summary.parts["t_mem"]
    assert isinstance(part, TimeSummary)
    medians = {clock: result.value for clock, result in part.medians.items() if isinstance(result, Score)}
    assert medians[Clock.FRAMES] == pytest.approx(20 * medians[Clock.SECONDS])
    assert medians[Clock.STEPS] == pytest.approx(QUIET.steps * medians[Clock.SECONDS], rel=0.03)
    assert medians[Clock.OTHERS] == pytest.approx(32 * medians[Clock.STEPS], rel=0.05)


def test_the_margin_is_the_level_over_theta(summary: Summary) -> None:
    assert summary.values()["margin"] == pytest.approx(QUIET.bits / summary.values()["theta"], rel=0.15)


def test_the_area_is_that_of_halving(summary: Summary) -> None:
    area = summary.parts["retention_area"]
    assert isinstance(area, Score)
    assert 0.3 < area.value < 0.7
    laws = summary.parts["forgetting_law"]
    assert isinstance(laws, Laws)
    assert laws.better != "power"
    assert laws.exponential.parameters["tau"] == pytest.approx(QUIET.half_life / np.log(2), rel=0.25)


def test_a_power_law_is_told_from_an_exponential() -> None:
    rng = np.random.default_rng(0)
    age = np.tile(np.geomspace(1, 3000, 40), 12)
    level = np.full(len(age), 2.0)
    cluster = np.repeat(np.arange(12), 40)
    noise = rng.normal(0, 0.05, len(age))
    for law, name in (((1 + age / 5) ** -0.5, "power"), (np.exp(-age / 400), "exponential")):
        found = compare_laws(Ages(age=age, left=2 * law + noise, level=level, cluster=cluster))
        assert isinstance(found, Laws)
        assert found.better in ({name} if name == "power" else {name, "neither"})


def test_what_was_planted_on_returns_is_saved() -> None:
    plan = replace(QUIET, never=0.0, spread=0.2, spread_visit=0.0)
    slow, fast = (
        list(simulate(replace(plan, rise=rise), LEVELS["low"], np.random.default_rng(1))) for rise in (90.0, 45.0)
    )
    first = {f"actor-0.1.{visit:04d}" for visit in range(plan.worlds)}
    rows = [a if a.get("visit") in first or a["row"] == "evaluation" else b for a, b in zip(slow, fast, strict=True)]
    found = saving(Analysis(study=Study(runs=[Run.read(rows)])))
    assert isinstance(found, Score)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.5 < found.high
    assert found.low > 0.1


def test_several_runs_are_the_clusters() -> None:
    found = summary_of(*(simulated(QUIET, seed) for seed in range(3)))
    part = found.parts["t_mem"]
    assert isinstance(part, TimeSummary)
    seconds = part.medians[Clock.SECONDS]
    assert isinstance(seconds, Score)
    assert seconds.clusters == 3


def reasons(found: Summary) -> dict[str, str]:
    return {name: part.because for name, part in found.parts.items() if isinstance(part, NotMeasurable)}


def without(run: list[dict[str, Any]], kind: Kind) -> Run:
    return Run.read([row for row in run if row.get("kind") != str(kind)])


def test_bad_input_is_not_measurable_and_says_why() -> None:
    rows = list(simulate(QUIET, LEVELS["low"], np.random.default_rng(0)))
    no_controls = "no visit has both an exposed and a withheld experience: D has no controls"
    assert reasons(summary_of(without(rows, Kind.WITHHELD)))["t_mem"] == no_controls
    few = reasons(summary_of(without(rows, Kind.PLACEBO)))
    assert few["t_forget"].startswith("there are 0 placebos and θ needs the run-maxima of 19")
    assert reasons(summary_of(Run.read([])))["t_mem"] == "there are no experience rows of schema 2"
    assert reasons(summary_of(Run.read([])))["episodic"] == "no version was measured"
    assert reasons(summary_of())["episodic"] == "no version was measured"


def test_a_run_that_ends_too_early_is_all_censored() -> None:
    rows = [row for row in simulate(QUIET, LEVELS["low"], np.random.default_rng(0)) if row["version"] <= 3]
    found = summary_of(Run.read(rows))
    part = found.parts["t_mem"]
    assert isinstance(part, TimeSummary)
    assert part.counts["event"] == 0
    because = f"memory was seen in 0 of {part.counts['censored']} experiences; a median needs 5"
    assert part.medians[Clock.SECONDS] == NotMeasurable(because)
    assert reasons(found)["t_forget"] == "no experience was at risk of it"


def test_a_network_that_is_collapsed_from_the_start_memorises_nothing() -> None:
    rows = list(simulate(QUIET, LEVELS["low"], np.random.default_rng(0)))
    sick = [row | {"health": {"trained": {"rankme": 1.0}}} if row["row"] == "evaluation" else row for row in rows]
    found = summary_of(Run.read(sick))
    assert reasons(found)["t_mem"].startswith("there are 0 placebos")
    with_theta = Analysis(study=Study(runs=[Run.read(sick), Run.read(rows)]))
    assert not isinstance(with_theta.memorised, NotMeasurable)
    assert set(with_theta.memorised[0].outcome_N.tolist()) == {2}


def test_one_world_has_no_return_and_no_world_contrast() -> None:
    pages = [
        Page(name="a/0", kind=Kind.EXPOSED, visit="a", bits=[1.0], exposures=[1], first=12.0, last=13.0),
        Page(name="a/1", kind=Kind.WITHHELD, visit="a", bits=[1.0]),
        *(Page(name=f"p{n:02}", kind=Kind.PLACEBO, visit=f"p{n:02}", world="far", bits=[0.0]) for n in range(20)),
    ]
    worlds = {"home": [1.0], "far": [0.0]}
    run = Diary(times=[15.0], pages=pages, worlds=worlds).run()
    found = reasons(summarise(Analysis(study=Study(runs=[run]), m=1)))
    assert found["saving"] == "no world has a median T_mem both on its first visit and on a return"
    assert found["world"] == "no visited world was measured both before its first visit and now"


def test_placebos_that_learn_with_the_rest_are_no_memories() -> None:
    found = summary_of(simulated(replace(QUIET, never=1.0)))
    part = found.parts["t_mem"]
    assert isinstance(part, TimeSummary)
    assert part.counts["event"] <= 0.15 * 112


def test_what_was_rehearsed_is_told_of_by_itself() -> None:
    rates = Rates(frames_per_second=20, batch=32)
    rows = list(simulate(QUIET, LEVELS["low"], np.random.default_rng(0)))
    chosen = {row["experience"] for row in rows if row.get("kind") == "exposed" and row["experience"].endswith("3")}
    told = summary_of(Run.read(rows, rates=rates, rehearsed=chosen.__contains__))
    for name in ("t_mem", "t_forget"):
        part, whole = told.parts[f"{name}_rehearsed"], told.parts[name]
        assert isinstance(part, TimeSummary)
        assert isinstance(whole, TimeSummary)
        few, all_of_them = sum(part.counts.values()), sum(whole.counts.values())
        assert 0 < few < all_of_them
        assert name != "t_mem" or few == len(chosen)
    assert "t_mem_rehearsed" not in summary_of(Run.read(rows, rates=rates)).parts
