"""What the evaluator costs the learner: windows of a minute with and without it, in turns, in one live run."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from common.config.presets import preset
from tests.bench.measure import Result
from tests.runs import LiveRun, live, wait_until

WINDOW = 60.0
PAIRS = 3
SHARE = 0.2


def evaluator() -> list[Result]:
    """Images a second of the demo's learner with the evaluator on ÷ off."""
    demo = preset("demo")
    run_dir = Path(tempfile.mkdtemp()) / "run"
    # `every` as short as it goes: while the evaluator is on, it measures without a break.
    config = replace(
        demo, duration=0.0, run_dir=str(run_dir), evaluator=replace(demo.evaluator, every=1.0, share=SHARE), seed=7
    )
    with live(config) as run:
        wait_until(lambda: _evaluations(run) >= 2, 400, "two evaluations")
        pairs: list[tuple[float, float]] = []
        for number in range(PAIRS):
            order = (True, False) if number % 2 == 0 else (False, True)
            speeds = {on: _speed(run, on=on) for on in order}
            pairs.append((speeds[True], speeds[False]))
    on, off = median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)
    ratio = median(a / b for a, b in pairs)
    return [
        Result(
            what=f"learner beside an evaluator with {SHARE:.0%} of a core, {PAIRS} pairs of {WINDOW:.0f} s",
            ours=f"{on:.1f} images/s",
            limit=f"{off:.1f} images/s without",
            ratio=ratio,
            least=0.9,
        )
    ]


def _evaluations(run: LiveRun) -> int:
    status = run.status.evaluator
    return status.evaluations if status else 0


def _speed(run: LiveRun, *, on: bool) -> float:
    run.ask("evaluator", "enable", on)
    if not on:
        wait_until(lambda: run.ask("evaluator", "status").activity == "waiting", 120, "the evaluation's end")
    began, images = time.monotonic(), run.ask("learner", "status").images
    time.sleep(WINDOW)
    return (run.ask("learner", "status").images - images) / (time.monotonic() - began)
