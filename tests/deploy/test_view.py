"""The live view: what it says, that it fits, and that it reads without colour."""

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from common.status import (
    ActorStatus,
    Bounded,
    EvaluatorStatus,
    LearnerStatus,
    ReaderCounts,
    RunStatus,
    StoreStatus,
    StudyStatus,
    WriterCounts,
)
from deploy.view import UNITS, LiveView, dashboard, line
from deploy.wording import clock, count, decimal, size, sparkline

CALM = ActorStatus(
    name="actor-0",
    world="freedoom2:map01",
    frames=2220,
    fps=10.0,
    interval_p99=0.1034,
    late=3,
    counts=WriterCounts(captured=2220, written=2217, spooled=3),
    weights_version=36,
    step_seconds=0.041,
)
TROUBLED = replace(
    CALM,
    name="actor-1",
    world="freedoom1:e2m1",
    late=61,
    counts=WriterCounts(captured=2220, written=2150, dropped={"spool_full": 28}, spooled=42),
    weights_version=32,
)
RUN = RunStatus(
    elapsed=222,
    duration=600,
    run_dir="runs/2026-11-22-demo",
    phase="running",
    actors=(CALM, TROUBLED),
    learner=LearnerStatus(
        step=1234,
        images=39_488,
        images_per_second=26.8,
        loss=0.4123,
        lr=4.8e-4,
        ring=1500,
        capacity=1500,
        replay_ratio=1.98,
        waiting="ratio",
        version=37,
        staleness_versions=1,
        staleness_seconds=4.2,
        experiences=42,
        counts={"actor-0": ReaderCounts(unread=3, withheld=420, guard=150, admitted=1640)},
        health={"grad_norm": 0.43},
    ),
    evaluator=EvaluatorStatus(
        version=35,
        evaluations=12,
        skipped=23,
        seconds=14.2,
        core_share=0.29,
        probes={
            "world": {"trained": 0.655, "random": 0.590, "pixels": 0.515},
            "heading": {"trained": 0.21, "random": 0.24, "pixels": 0.11},
            "place": {"trained": 0.355, "random": 0.297, "pixels": 0.309},
            "depth": {"trained": 0.507, "random": 0.423},
        },
        health={"rankme": 38.2, "feature_std": 0.79},
        losses={"exposed": 0.391, "withheld": 0.402, "placebo": 0.407},
        activity="probes",
    ),
    study=StudyStatus(
        times={"t_mem": Bounded(value=65.0, low=55.0, high=None)},
        outcomes={"t_mem": {"event": 7, "censored": 2}, "t_forget": {"event": 1, "censored": 6}},
    ),
    store=StoreStatus(up=True, entries={"actor-0": 2100, "actor-1": 2100}, memory=182_000_000),
    metrics_url="http://127.0.0.1:9321/sd",
    control_url="http://127.0.0.1:8391",
    messages=tuple(f"message {number}" for number in range(9)),
)


def text(renderable: RenderableType, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, height=30, color_system=None)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("actors", [0, 1, 2, 4, 20, 256])
@pytest.mark.parametrize("width", [80, 100, 160])
def test_it_fits(width: int, actors: int) -> None:
    status = replace(RUN, actors=tuple(replace(CALM, name=f"actor-{number}") for number in range(actors)))
    lines = text(dashboard(status, width=width, height=30), width).splitlines()
    assert len(lines) <= 30
    assert {len(shown) for shown in lines} == {width}
    assert (f"{actors - 2} more actors" in "\n".join(lines)) == (actors > 3)


@pytest.mark.parametrize("width", [80, 100])
def test_nothing_is_cut_off_in_the_middle(width: int) -> None:
    shown = text(dashboard(RUN, losses=[0.5, 0.4, 0.45, 0.41], width=width, height=30), width)
    assert "…" not in shown


def test_it_says_everything_with_units() -> None:
    shown = text(dashboard(RUN, width=100, height=30))
    for said in (
        "engram · running",
        "3:42 of 10:00",
        "37%",
        "runs/2026-11-22-demo",
        "live page http://127.0.0.1:8391",
        "freedoom2:map01",
        "up, 174 MiB",
        "4,200 frames",
        "26.8 images/s",
        "0.412",
        "1.98 × admitted",
        "100% of 1,500",
        "v37",
        "1 version",
        "4.2 s",
        "−3.9% to placebo",
        "never visited",
        "38.2",
        "message 8",
    ):
        assert said in shown


def test_trouble_reads_without_colour() -> None:
    calm, troubled = text(dashboard(RUN, width=100, height=30)).splitlines()[6:8]
    assert "!" not in calm
    assert "! 61" in troubled
    assert "! 28" in troubled
    assert "v32 (−5)" in troubled


def test_the_arrow_needs_both_baselines() -> None:
    shown = text(dashboard(RUN, width=100, height=30)).splitlines()
    row = {name: next(found for found in shown if f"│ {name} {unit}" in found) for name, unit in UNITS.items()}
    assert "▲ 0.655" in row["world"]
    assert "▼ 0.210" in row["heading"]
    assert "0.507" in row["depth"]
    assert "–" in row["depth"]
    assert "▲" not in row["depth"]


def test_a_run_that_has_only_begun() -> None:
    status = RunStatus(run_dir="runs/x", evaluator=EvaluatorStatus(activity="building the probe set"))
    shown = text(dashboard(status, width=100, height=30))
    assert "engram · starting" in shown
    assert "until it is stopped" in shown
    assert "! not answering" in shown
    assert "nan" not in shown
    assert "probes" not in text(dashboard(RunStatus(), width=100, height=30))


def test_text_of_others_is_no_markup() -> None:
    status = replace(
        RUN, run_dir="runs/[bold]", messages=("[red]x[/] [/nothing]",), actors=(replace(CALM, world="[b]w"),)
    )
    shown = text(dashboard(status, width=100, height=30))
    assert "runs/[bold]" in shown
    assert "[red]x[/] [/nothing]" in shown
    assert "[b]w" in shown


def test_restarts_stand_in_the_title() -> None:
    shown = text(dashboard(replace(RUN, restarts={"actor-1": 2, "learner": 0}), width=100, height=30))
    assert "restarts: actor-1 ×2 " in shown.splitlines()[0]


def test_without_a_terminal_it_is_a_line_every_ten_seconds_and_each_message_once() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    now = 0.0
    with LiveView(console, now=lambda: now) as view:
        for half_second in range(50):
            now = half_second / 2
            view.update(replace(RUN, elapsed=now, messages=("one", "two")[: 1 + half_second // 30]))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert [shown.split(" ")[0] for shown in lines if "| learner step" in shown] == ["0:00", "0:10", "0:20"]
    assert [shown for shown in lines if "|" not in shown] == ["0:00 one", f"live page: {RUN.control_url}", "0:15 two"]
    assert all(
        said in next(shown for shown in lines if "| learner step" in shown)
        for said in ("2 actors 20.0 frames/s", "64 late, 28 dropped", "probe world: trained 0.655, random-init 0.590")
    )


def test_a_new_phase_is_said_at_once() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    view = LiveView(console, now=lambda: 0.0)
    for phase in ("starting", "running", "running", "paused"):
        view.update(replace(RUN, phase=phase, messages=(), control_url=""))
    assert isinstance(console.file, io.StringIO)
    assert [shown.split(" | ")[0].split()[-1] for shown in console.file.getvalue().splitlines()] == [
        "starting", "running", "paused",
    ]  # fmt: skip


def test_in_a_terminal_it_draws_and_leaves_the_screen_as_it_was() -> None:
    console = Console(file=io.StringIO(), width=100, height=30, force_terminal=True)
    with LiveView(console) as view:
        view.update(RUN)
        view.update(replace(RUN, learner=replace(RUN.learner, step=1235, loss=0.3)))
    assert isinstance(console.file, io.StringIO)
    written = console.file.getvalue()
    assert written.index("\x1b[?1049h") < written.index("freedoom2:map01") < written.index("\x1b[?1049l")
    assert "█▁" in written


def test_numbers_and_times() -> None:
    assert [count(number) for number in (0, 12_345, 9_999_999, 12_345_678)] == ["0", "12,345", "9,999,999", "12.3 M"]
    assert [clock(seconds) for seconds in (0, 59.9, 222, 43_423)] == ["0:00", "0:59", "3:42", "12:03:43"]
    assert [size(number) for number in (0, 2**20, 2**34)] == ["0 MiB", "1 MiB", "16.0 GiB"]
    assert [decimal(number) for number in (None, math.nan, math.inf, 0.12345)] == ["–", "–", "–", "0.123"]
    assert sparkline([math.nan, 1.0], 8) == ""
    assert sparkline([9, 0.0, 1.0, math.nan, 2.0], 3) == "▁▅█"
    assert sparkline([1.0, 1.0], 8) == "▁▁"


def test_the_line_of_a_run_without_evaluator_and_store() -> None:
    said = line(RunStatus(phase="starting"))
    assert "Redis not answering" in said
    assert "loss –" in said
    assert "probe" not in said


def test_times_of_memory_have_an_interval_and_say_of_how_many() -> None:
    shown = text(dashboard(RUN, width=100, height=30), 100)
    assert "65 s [55, –]  7 of 9" in shown
    assert "–  1 of 7" in shown, "no median, but one was forgotten"
