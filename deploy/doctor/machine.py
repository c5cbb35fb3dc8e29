"""The machine itself: CPUs, memory, shared memory, open files, its clock."""

import ctypes
import os
import shutil
import sys
from pathlib import Path

from deploy.doctor.finding import Case, Check, Verdict, beside, fine, poor, wrong
from deploy.memory import available_bytes, check_memory, gib, needs, object_store_bytes

_SHARED = Path("/dev/shm")  # nosec B108
_FILES, _FEWEST_FILES = 4096, 1024
"""Open files that a host of many parts is comfortable with, and fewest that one does with."""
_UNSYNCHRONISED = 5
"""What `adjtimex` answers where nothing keeps the clock right (TIME_ERROR)."""


def _look_at_cpus(case: Case) -> Verdict:
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    run = case.run
    asked = run.learner.ranks * run.learner.threads + run.actors.count * run.actors.threads
    asked += run.evaluator.threads if run.evaluator.enabled else 0
    if case.run.cluster:
        return fine(f"{found} on this host")
    said = f"{found} CPUs, {asked} threads asked for"
    if asked > found:
        return poor(said, "fewer actors.count, actors.threads or learner.threads; else parts wait for each other")
    return fine(said)


def _look_at_memory(case: Case) -> Verdict:
    if case.run.cluster:
        return fine(f"{gib(available_bytes())} free on this host")
    check_memory(case.run)
    return fine(f"{gib(sum(need.size for need in needs(case.run)))} may be needed, {gib(available_bytes())} are free")


def _look_at_shared_memory(case: Case) -> Verdict:
    if case.run.cluster or not _SHARED.is_dir():
        return beside("Ray keeps its objects elsewhere" if not case.run.cluster else "each node's own")
    return shared_memory(_SHARED, object_store_bytes(case.run))


def shared_memory(folder: Path, wanted: int) -> Verdict:
    """Compares the room for Ray's objects with what a run takes.

    Args:
        folder: Where shared memory is.
        wanted: Bytes of the object store.
    """
    free = shutil.disk_usage(folder).free
    said = f"{gib(free)} free in {folder}, Ray's objects may take {gib(wanted)}"
    if free < wanted:
        return poor(said, "make it larger (docker run --shm-size, mount -o remount,size=…); Ray takes slow files else")
    return fine(said)


def _look_at_files(_case: Case) -> Verdict:
    if sys.platform == "win32":
        return beside("Windows has no such limit")
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return open_files(soft, hard)


def open_files(soft: int, hard: int) -> Verdict:
    """Says whether a process may open enough files; -1 stands for no limit.

    Args:
        soft: What it may open now.
        hard: What it may raise that to, as Ray does.
    """
    said = f"{soft if soft >= 0 else 'any number'} open files (at most {hard if hard >= 0 else 'any number'})"
    fix = "raise it: ulimit -n 65536, or LimitNOFILE= of the service"
    if 0 <= hard < _FEWEST_FILES:
        return wrong(said, fix)
    return poor(said, fix) if 0 <= hard < _FILES else fine(said)


def _look_at_clock(case: Case) -> Verdict:
    if not (case.run.cluster or case.run.actors.edge or case.run.redis_url):
        return beside("one machine has one clock")
    if sys.platform != "linux":
        return beside("only Linux says whether its clock is kept right")
    timex = ctypes.create_string_buffer(512)  # larger than the kernel's structure; zero asks and changes nothing
    answer = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    if answer < 0:
        return beside(f"the kernel does not say ({os.strerror(ctypes.get_errno())})")
    if answer == _UNSYNCHRONISED:
        return poor("nothing keeps the clock right", "run chrony or systemd-timesyncd: latencies compare hosts' clocks")
    return fine("kept right by a time service")


CHECKS = (
    Check(name="cpu", look=_look_at_cpus, needed=False),
    Check(name="memory", look=_look_at_memory),
    Check(name="shared memory", look=_look_at_shared_memory, needed=False),
    Check(name="open files", look=_look_at_files),
    Check(name="clock", look=_look_at_clock, needed=False),
)
