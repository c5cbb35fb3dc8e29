"""Sees to it that no process of a run outlives it, however the driver ends.

Every process of a run inherits an environment variable with the run's token. The guardian is a small process with a
pipe to the driver: when the pipe closes without a farewell (SIGKILL, crash), it ends everything that carries the token
and removes the run's temporary folders.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import psutil

TOKEN = "ENGRAM_RUN_TOKEN"
FAREWELL = "farewell"
GRACE = 3.0


def relatives(token: str) -> list[psutil.Process]:
    """Finds all processes of the run with this token, this one left out."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(TOKEN) == token:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def end_all(token: str, spare: tuple[int, ...] = ()) -> int:
    """Ends all processes of a run, first politely, then not.

    Args:
        token: The run's token.
        spare: Process ids to leave alone.

    Returns:
        How many there were.
    """
    processes = [process for process in relatives(token) if process.pid not in spare]
    for process in processes:
        _send(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, timeout=GRACE)
    for process in alive:
        _send(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=GRACE)
    return len(processes)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        return


class Guardian:
    """The driver's handle on its guardian.

    Args:
        token: The run's token; must be in the environment of all that is to be guarded.
    """

    def __init__(self, token: str) -> None:
        self._token = token
        self._process = subprocess.Popen(
            [sys.executable, "-m", "deploy.guardian", token], stdin=subprocess.PIPE, text=True, start_new_session=True
        )

    def watch(self, folder: Path) -> None:
        """Has a temporary folder removed if the driver dies."""
        pipe = self._pipe()
        pipe.write(f"{folder}\n")
        pipe.flush()

    def dismiss(self) -> int:
        """Ends what is left of the run, and the guardian; returns how many processes were left."""
        left = end_all(self._token, spare=(self._process.pid,))
        pipe = self._pipe()
        pipe.write(f"{FAREWELL}\n")
        pipe.close()
        self._process.wait(GRACE)
        return left

    def _pipe(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin


def main() -> None:
    """Waits for the driver's end; runs as `python -m deploy.guardian TOKEN`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    token = sys.argv[1]
    folders: list[str] = []
    for line in sys.stdin:
        if line.strip() == FAREWELL:
            return
        folders.append(line.strip())
    # The driver's own death may still be under way: what it was starting appears a moment later.
    for _ in range(3):
        end_all(token)
        time.sleep(0.5)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
