"""How a process behaves towards its neighbours on a shared machine, and what it logs."""

import logging
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from common.printable import LineFormatter

_AUTOGROUP = Path("/proc/self/autogroup")
_ENABLED = Path("/proc/sys/kernel/sched_autogroup_enabled")
_NICEST = 13
"""Niceness of a session beyond which busy neighbours would leave it so little that it counts as hung."""


@contextmanager
def undisturbed() -> Generator[None]:
    """Keeps SIGINT and SIGTERM, which terminals and service managers send to all, from processes that start in here.

    Whoever starts them ends them, by a request of theirs or by SIGKILL.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def settle(*, part: str, threads: int, nice: int = 0, apart: bool = False) -> None:
    """Gives this process its share of threads, its priority and its log format.

    Two torch processes with default threads on the same cores slow each other ten times: every process states its own.

    Args:
        part: Name of the part that runs here.
        threads: CPU threads of torch, and of the linear algebra behind NumPy.
        nice: Unix niceness, from 0 to 19; never raised in priority.
        apart: Give it a session of its own, so that its niceness counts against other sessions too.
    """
    torch.set_num_threads(threads)
    threadpool_limits(threads)
    if hasattr(os, "nice"):
        os.nice(max(0, nice - os.nice(0)))
    if apart:
        _stand_apart(nice)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(f"%(asctime)s {part} %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _stand_apart(nice: int) -> None:
    """Makes niceness count against all neighbours where the kernel divides CPUs among sessions first (autogroup).

    On most desktops it does: niceness then counts within a session alone, and what several learners take of their
    session's share is missing to its actors as soon as other sessions want the rest. So each gets a session of its own,
    about as nice as it is.
    """
    try:
        if _AUTOGROUP.exists() and _ENABLED.read_text("ascii").strip() == "1":
            os.setpgid(0, os.getpgid(os.getppid()))  # Ray has made it the leader of a group, who may not leave
            os.setsid()
            _AUTOGROUP.write_text(str(min(nice, _NICEST)), "ascii")
    except OSError:  # it has a session of its own already, or may not
        return
