"""Ten minutes of the demo as a user starts it: pace, accounting, staleness, memory, nothing left."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# SciPy is untyped in parts.

import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, cast

import psutil
import pytest
from scipy.stats import theilslopes

from deploy.rundir import read_rows
from tests.audit import audit

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]

WARM_UP = 240.0
"""Seconds before memory counts: buffers and caches fill."""


def test_the_demo(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    memory: dict[str, list[tuple[float, float]]] = {}
    with (tmp_path / "log").open("w") as log:
        process = psutil.Popen(
            [sys.executable, "-m", "engram", "run", "--run-dir", str(run_dir)], stdout=log, stderr=log
        )
    family: set[psutil.Process] = set()
    began = time.monotonic()
    while process.poll() is None:
        family |= set(process.children(recursive=True))
        for member in family:
            try:
                name, used = member.name(), member.memory_full_info().uss / 2**20
            except psutil.Error:
                continue
            if name.startswith("ray::") and time.monotonic() - began > WARM_UP:
                memory.setdefault(f"{name} {member.pid}", []).append((time.monotonic() - began, used))
        time.sleep(5.0)
    assert process.returncode == 0, (tmp_path / "log").read_text("utf-8")
    assert not psutil.wait_procs(family, timeout=5)[1]
    for name, found in audit(run_dir).items():
        assert found.adds_up, (name, found)
        assert abs(found.fps - 10.0) <= 0.1, (name, found)
        assert found.p99 <= 120.0, (name, found)
    staleness = [
        row["engram_learner_staleness_median_versions"]
        for row in read_rows(run_dir / "metrics.jsonl")
        if row["part"] == "learner"
    ]
    assert median(staleness) <= 2
    for name, points in memory.items():
        if len(points) >= 30:
            seconds, used = zip(*points, strict=True)
            high = float(cast(Any, theilslopes)(used, seconds)[3])
            print(f"{name}: at most {high * 60:.2f} MiB a minute")
            # The learner's ring fills for the whole ten minutes; everything else has its size by then.
            assert high * 60 < (60 if "Learner" in name else 6), name
