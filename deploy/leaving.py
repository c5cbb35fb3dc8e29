"""Ends what a host's Ray leaves behind: `ray down` stops the head alone, and other hosts find out by themselves.

    engram node --address … ─► leaving ─ every two seconds: who belongs to this host's raylet?
                                  └ the raylet has gone (a minute after its head): end who is left, and this process

Only processes that were seen with that raylet are ended: another Ray of the same user goes on.
"""

import argparse
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from common.process import undisturbed

EVERY = 2.0
PATIENCE = 10.0
"""Seconds that they have to end by themselves, and then again after being asked to."""


def raylet_at(port: int) -> psutil.Process | None:
    """Finds the raylet of this host that was given a port for its node manager."""
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error):
            if process.name() == "raylet" and f"--node_manager_port={port}" in process.cmdline():
                return process
    return None


def watch_over(port: int) -> None:
    """Starts the process that cleans up after the raylet of this host.

    Args:
        port: Of its node manager.
    """
    with undisturbed():
        subprocess.Popen(
            [sys.executable, "-m", "deploy.leaving", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def company(raylet: psutil.Process) -> set[psutil.Process]:
    """Who lives by a raylet: its descendants, and what `ray start` began beside it in its session's folder."""
    words = raylet.cmdline()
    session = next((word.partition("=")[2] for word in words if word.startswith("--session_dir=")), "")
    found = set(raylet.children(recursive=True))
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error):
            if session and process != raylet and any(Path(session).name in word for word in process.cmdline()):
                found.add(process)
    return found


def end(processes: set[psutil.Process]) -> None:
    """Ends processes: after a while of their own, by request, and then by force."""
    _, left = psutil.wait_procs(processes, PATIENCE)
    for process in left:
        with suppress(psutil.Error):
            process.terminate()
    _, left = psutil.wait_procs(left, PATIENCE)
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, PATIENCE)


def main() -> None:
    """Waits for the end of a raylet; as `python -m deploy.leaving PORT`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    raylet = raylet_at(parser.parse_args().port)
    seen: set[psutil.Process] = set()
    with suppress(psutil.NoSuchProcess):  # it has gone between two questions
        while raylet is not None and raylet.is_running() and raylet.status() != psutil.STATUS_ZOMBIE:
            seen = {process for process in seen | company(raylet) if process.is_running()}
            time.sleep(EVERY)
    end(seen)


if __name__ == "__main__":
    main()
