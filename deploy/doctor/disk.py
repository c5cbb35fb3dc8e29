"""Disks: room for what the run writes and for temporary files, and folders that can be written to."""

import os
import shutil
import tempfile
from pathlib import Path

from common.config import Durability, RunConfig
from deploy.doctor.finding import Case, Check, Verdict, beside, fine, poor, wrong
from deploy.memory import buffer_bytes, checkpoint_bytes, experience_bytes, gib, relay_bytes
from deploy.store import server_limit

_ROWS = 2**20
"""Bytes of rows that a part writes an hour, about (measured: 0.6 MiB)."""
_TEMPORARY = 2**30
"""Bytes of logs and sockets that Ray may need in the temporary folder."""
_LONGEST = 107
"""Longest path of a Unix socket."""
_SOCKETS = "engram-xxxxxxxx/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"


def kept_bytes(run: RunConfig) -> int:
    """What a run comes to keep on disk, its rows aside: checkpoints and one on its way, and the embedded server's."""
    each = checkpoint_bytes(run) + buffer_bytes(run) + experience_bytes(run)
    store = 0
    if not run.redis_url and run.stream.durability is not Durability.MEMORY:
        store = 2 * server_limit(run.stream.budget, relay_bytes(run))  # a file is rewritten beside the old one
    return (run.learner.checkpoints_kept + 1) * each + store


def _look_at_run_directory(case: Case) -> Verdict:
    run = case.run
    folder = _existing(Path(run.run_dir).absolute().parent if run.run_dir else case.runs.absolute())
    if not os.access(folder, os.W_OK):
        return wrong(f"{folder} cannot be written to", "another --run-dir, or the rights to this one")
    each = checkpoint_bytes(run) + buffer_bytes(run) + experience_bytes(run)
    hours = run.duration / 3600 if run.duration else 24.0
    rows = _ROWS * (run.actors.total + run.learner.ranks + 3) * hours
    needed = kept_bytes(run) + round(rows)
    free = shutil.disk_usage(folder).free
    said = f"{gib(free)} free in {folder}; the run keeps {gib(needed)}"
    rate = each / run.learner.checkpoint_every / 2**20
    if free < needed:
        return wrong(said, "free some, another --run-dir, fewer learner.checkpoints_kept or a smaller replay.capacity")
    if free < 2 * needed:
        return poor(said, "free some: less than twice that is there")
    return fine(f"{said} and writes {rate:.1f} MiB a second")


def _look_at_temporary(case: Case) -> Verdict:
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free
    said = f"{gib(free)} free in {folder}"
    if not case.run.cluster and len(str(folder / _SOCKETS)) > _LONGEST:
        return wrong(f"{folder}: too long for Ray's sockets", "a shorter TMPDIR")
    return poor(said, "free some, or set TMPDIR: Ray writes its logs there") if free < _TEMPORARY else fine(said)


def _look_at_cache(case: Case) -> Verdict:
    if not case.run.evaluator.enabled or case.run.cluster:
        return beside("no probe set is kept here")
    from deploy.execution import check_cache
    from evaluator.probeset import ProbeSpec

    check_cache(case.run)
    path = ProbeSpec.of(case.run).cache_path(case.run.evaluator.cache)
    return fine(f"{path.parent}" + ("; the probe set is there" if path.exists() else "; a first run records it"))


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


CHECKS = (
    Check(name="run directory", look=_look_at_run_directory),
    Check(name="temporary files", look=_look_at_temporary),
    Check(name="probe set", look=_look_at_cache),
)
