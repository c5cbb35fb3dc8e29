"""How a process behaves towards its neighbours, seen from outside it."""

import subprocess
import sys
from pathlib import Path

import pytest

ENABLED = Path("/proc/sys/kernel/sched_autogroup_enabled")
PROGRAM = """
import os
os.setpgid(0, 0)
from common.process import settle
settle(part="x", threads=1, nice=7, apart={apart})
print(os.nice(0), os.getsid(0) == os.getpid(), open("/proc/self/autogroup").read().split()[-1])
"""


def told(*, apart: bool) -> list[str]:
    """Niceness, whether it has a session of its own, and how nice that is; of a process that leads a group."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(apart=apart)], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.split()


@pytest.mark.skipif(
    not ENABLED.exists() or ENABLED.read_text("ascii").strip() != "1", reason="this kernel has no sessions' shares"
)
def test_a_process_that_stands_apart_has_a_session_as_nice_as_itself() -> None:
    assert told(apart=True) == ["7", "True", "7"]
    nice, own, _ = told(apart=False)
    assert (nice, own) == ("7", "False")
