"""Nothing of a run outlives it, however the driver ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deploy.guardian import TOKEN, Guardian, relatives

DRIVER = """
import os, subprocess, sys, time
from pathlib import Path
token, folder = sys.argv[1:]
os.environ["ENGRAM_RUN_TOKEN"] = token
from deploy.guardian import Guardian
guardian = Guardian(token)
guardian.watch(Path(folder))
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", stubborn], start_new_session=True)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("ready", flush=True)
time.sleep(600)
"""


def until(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def test_children_of_a_killed_driver_are_gone_within_ten_seconds(tmp_path: Path) -> None:
    token = f"test-{os.getpid()}-{time.time_ns()}"
    folder = tmp_path / "temporary"
    folder.mkdir()
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, token, str(folder)], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "ready\n"
    until(lambda: len(relatives(token)) >= 3)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    until(lambda: not relatives(token))
    assert not folder.exists()


def test_a_dismissed_guardian_ends_what_is_left_and_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    token = f"test-{os.getpid()}-{time.time_ns()}"
    monkeypatch.setenv(TOKEN, token)
    guardian = Guardian(token)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    until(lambda: len(relatives(token)) >= 2)
    assert guardian.dismiss() == 1
    child.wait(5)
    assert not [process for process in psutil.Process().children() if process.is_running()]
