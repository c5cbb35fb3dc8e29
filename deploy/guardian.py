"""Sees to it that no process of a run outlives it, however the driver ends.

The guardian is a small process with a pipe to the driver. Once a second it notes all descendants of the driver, so that
it still knows those that lost their parent. When the pipe closes (SIGKILL, crash) or the driver says farewell, it ends
whatever is left of them; after a crash it also removes the run's temporary folders.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

FAREWELL = "farewell"
EVERY = 1.0
GRACE = 2.0
ROUNDS = 3
"""Times that are looked for survivors, and for what they left: what was being started appears a moment later."""


class Family:
    """All descendants that a process ever had, as far as they were seen.

    Args:
        root: Id of the process.
        spare: Ids of processes that do not count.
    """

    def __init__(self, root: int, spare: set[int]) -> None:
        self._root = root
        self._spare = spare
        self._known: set[psutil.Process] = set()

    def look(self) -> set[psutil.Process]:
        """Notes new descendants, also of orphans, and returns those that live."""
        roots = set(self._known)
        with suppress(psutil.NoSuchProcess):
            roots.add(psutil.Process(self._root))
        for process in roots:
            try:
                self._known.update(process.children(recursive=process.pid == self._root))
            except psutil.Error:
                continue
        self._known = {process for process in self._known if process.pid not in self._spare and _lives(process)}
        return self._known

    def end(self) -> int:
        """Ends all that live, first politely, then not; returns how many there were."""
        ended: set[psutil.Process] = set()
        for _ in range(ROUNDS):
            living = self.look()
            ended |= living
            for process in living:
                _send(process, signal.SIGTERM)
            _, stubborn = psutil.wait_procs(living, timeout=GRACE)
            for process in stubborn:
                _send(process, signal.SIGKILL)
            psutil.wait_procs(stubborn, timeout=GRACE)
            if not living:
                break
        return len(ended)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _is_told(process: psutil.Process, folders: list[str]) -> bool:
    """Whether an option of a process names one of the folders, which are of this run alone."""
    try:
        return any(word.startswith("--") and word.endswith(tuple(folders)) for word in process.cmdline())
    except psutil.Error:
        return False


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        return


class Guardian:
    """The driver's handle on its guardian; start it before anything else.

    Children that the driver's process has by then are none of its business.
    """

    def __init__(self) -> None:
        before = [str(child.pid) for child in psutil.Process().children(recursive=True)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "deploy.guardian", str(os.getpid()), *before],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def watch(self, folder: Path) -> None:
        """Has a temporary folder removed if the driver dies."""
        print(folder, file=self._pipe(), flush=True)

    def dismiss(self) -> int:
        """Ends what is left of the run, and the guardian; returns how many processes were left."""
        pipe, answer = self._pipe(), self._process.stdout
        assert answer is not None
        print(FAREWELL, file=pipe, flush=True)
        left = int(answer.readline() or 0)
        pipe.close()
        answer.close()
        self._process.wait()
        return left

    def _pipe(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin


def _remove(folders: list[str]) -> None:
    """Removes folders, again and again for a while, and ends who was told to use them.

    A worker that Ray started within the last second was not noticed yet, and would make its folders anew once it has
    imported what it needs.
    """
    for _ in range(ROUNDS):
        for process in psutil.process_iter():
            if _is_told(process, folders):
                _send(process, signal.SIGKILL)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        time.sleep(EVERY)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Waits for the driver's end; runs as `python -m deploy.guardian DRIVER SPARED…`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    driver, *spared = map(int, sys.argv[1:])
    family = Family(driver, {os.getpid(), *spared})
    heard = b""
    while FAREWELL.encode() not in heard:
        family.look()
        if not select.select([0], [], [], EVERY)[0]:
            continue
        chunk = os.read(0, 65536)
        heard += chunk
        if not chunk:
            family.end()
            _remove(heard.decode().splitlines())
            return
    print(family.end(), flush=True)


if __name__ == "__main__":
    main()
