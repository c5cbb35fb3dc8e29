"""One step of a pamiq-core system under `engram.launch`, beside the same system under `pamiq_core.launch`.

What is timed is observe, decide, collect, act, while the trainer trains: once thirty times a second, without the sleep
in between (`tests.launch.programs.paced`), and once without ever sleeping (`busy`). What ours adds is packing what was
collected; what it saves is sharing an interpreter with the trainer.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from tests.bench.measure import Result

ROUNDS = 3
SECONDS = 25


def launch() -> list[Result]:
    """Milliseconds a step, median of each run, in turns."""
    return [_compare("paced", "step of a pamiq-core system, 30 a second"), _compare("busy", "the same, never sleeping")]


def _compare(program: str, what: str) -> Result:
    with tempfile.TemporaryDirectory(prefix="engram-bench-") as name:
        folder = Path(name)
        pairs = [(_step("distributed", program, folder), _step("local", program, folder)) for _ in range(ROUNDS)]
    ours, theirs = (median(values) for values in zip(*pairs, strict=True))
    return Result(
        what=what,
        ours=f"{1e3 * ours:.2f} ms",
        limit=f"{1e3 * theirs:.2f} ms pamiq_core.launch",
        ratio=median(a / b for a, b in pairs),
        most=1.1,
    )


def _step(how: str, program: str, folder: Path) -> float:
    """Runs a system once; returns the median time of a step in its second half, s."""
    notes = folder / f"{how}.jsonl"
    notes.unlink(missing_ok=True)
    subprocess.run(
        [sys.executable, "-m", "tests.launch", how, program, str(folder), "0", "", f"max_uptime={SECONDS}"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=True,
    )
    return float(json.loads(notes.read_text("utf-8").splitlines()[-1])["median"])
