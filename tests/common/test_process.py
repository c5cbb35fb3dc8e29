"""How a process behaves towards its neighbours, seen from outside it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ATTEMPT = "open('/proc/self/autogroup', 'w').write('7')"
PROGRAM = """
import os
os.setpgid(0, 0)
from common.process import settle
settle(part="x", threads=1, nice=7, apart={apart})
print(os.nice(0), os.getsid(0) == os.getpid(), open("/proc/self/autogroup").read().split()[-1])
"""


def sessions_have_shares() -> bool:
    """Whether this kernel divides CPUs among sessions, and lets this process say how."""
    enabled = Path("/proc/sys/kernel/sched_autogroup_enabled")
    if not enabled.exists() or enabled.read_text("ascii").strip() != "1":
        return False
    attempt = subprocess.run(
        [sys.executable, "-c", ATTEMPT], capture_output=True, timeout=60, check=False, start_new_session=True
    )
    return not attempt.returncode


def told(*, apart: bool) -> list[str]:
    """Niceness, whether it has a session of its own, and how nice that is; of a process that leads a group.

    Its parent has a session that this namespace of processes knows: where a container begins, that may not be so.
    """
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$1"; exit $?', sys.executable, PROGRAM.format(apart=apart)],
        capture_output=True, text=True, timeout=60, check=True, start_new_session=True,
    )  # fmt: skip
    return done.stdout.split()


@pytest.mark.skipif(not sessions_have_shares(), reason="sessions have no shares here, or none that can be set")
def test_a_process_that_stands_apart_has_a_session_as_nice_as_itself() -> None:
    expected = str(max(7, os.nice(0)))
    assert told(apart=True) == [expected, "True", "7"]
    nice, own, _ = told(apart=False)
    assert (nice, own) == (expected, "False")
