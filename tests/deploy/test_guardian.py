"""Nothing of a run outlives it, however the driver ends."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil

from deploy.guardian import Guardian
from tests.runs import wait_until

DRIVER = """
import subprocess, sys, time
from pathlib import Path
from deploy.guardian import Guardian
guardian = Guardian()
guardian.watch(Path(sys.argv[1]))
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", stubborn], start_new_session=True)
sleep = "[sys.executable, '-c', 'import time; time.sleep(600)']"
middle = f"import subprocess, sys; subprocess.Popen({sleep}); sys.stdin.read()"
nested = subprocess.Popen([sys.executable, "-c", middle], stdin=subprocess.PIPE)
print("ready", flush=True)
time.sleep(3)
nested.stdin.close()  # its child is an orphan from here on
nested.wait()
print("orphaned", flush=True)
time.sleep(600)
"""


def test_children_and_orphans_of_a_killed_driver_are_gone_within_ten_seconds(tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "ready\n"
    wait_until(lambda: len(psutil.Process(driver.pid).children(recursive=True)) == 4, 10, "four children")
    family = psutil.Process(driver.pid).children(recursive=True)
    assert driver.stdout.readline() == "orphaned\n"
    assert sum(process.is_running() for process in family) == 3
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    guardian = next(process for process in family if "deploy.guardian" in process.cmdline())
    assert not psutil.wait_procs([process for process in family if process != guardian], timeout=10)[1]
    wait_until(lambda: not folder.exists(), 10, "the folder is gone")
    folder.mkdir()  # by somebody whom the guardian has never seen
    late = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", f"--temp-dir={folder}"])
    guardian.wait(10)
    assert not folder.exists()
    assert late.wait(5) == -signal.SIGKILL


def test_a_dismissed_guardian_ends_what_is_left_and_itself(tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    guardian = Guardian()
    guardian.watch(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    assert guardian.dismiss() >= 1
    assert child.wait(5) == -signal.SIGTERM
    assert bystander.poll() is None, "it was there before the run"
    bystander.kill()
    bystander.wait()
    assert tmp_path.exists(), "folders go only after a crash"
    assert set(psutil.Process().children(recursive=True)) <= before
