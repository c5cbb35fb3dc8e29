"""Checkpoints on disk: safetensors and JSON, complete or not there at all.

checkpoints/step-000001234/
    model.safetensors       the three networks, float32
    optimiser.safetensors   moments, mask generator
    replay.safetensors      the replay buffer: an empty one would fake forgetting
    ledger.json             what was trained on: the rows in memory
    retired-….parquet       the rows that have left it
    state.json              schema, step, version, limiter, stream positions and counters; written last
"""

import errno
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from common.errors import CheckpointError, RunError
from learner import archive

SCHEMA = 2

type Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """Everything a learner needs to go on.

    Attributes:
        step: Optimiser steps done.
        model: Parameters and buffers by name, float32.
        optimiser: The training step's tensors by name.
        replay: The replay buffer's arrays.
        ledger: The ledger's rows in memory.
        retired: Rows that are to be kept and have been retired since the checkpoint `state["extends"]`; `load` leaves
            them on disk.
        state: The rest, JSON-able; `number` is the checkpoint's own, `extends` that of the one before.
    """

    step: int
    model: Arrays
    optimiser: Arrays
    replay: Arrays
    ledger: Mapping[str, list[Any]]
    state: Mapping[str, Any]
    retired: Mapping[str, list[Any]] = field(default_factory=dict[str, list[Any]])


def save(checkpoint: Checkpoint, folder: Path, *, keep: int) -> Path:
    """Writes a checkpoint below `folder` and removes all but the newest `keep`.

    Checkpoints of later steps go too: steps only ever go back by a rollback, and they hold what it undid.

    Raises:
        RunError: The disk is full or refuses, or the checkpoint that this one extends is gone; what was begun is
            removed.
    """
    target = folder / f"step-{checkpoint.step:09d}"
    partial = folder / f".partial-{checkpoint.step:09d}"
    for torn in folder.glob(".partial-*"):  # left by a process that was killed while it wrote
        shutil.rmtree(torn, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        for name in ("model", "optimiser", "replay"):
            arrays = {key: np.require(array, requirements="C") for key, array in getattr(checkpoint, name).items()}
            _write(partial / f"{name}.safetensors", safetensors.numpy.save(arrays))
        _write(partial / "ledger.json", json.dumps(checkpoint.ledger).encode())
        archive.extend(_extended(checkpoint, folder), partial, checkpoint.retired)
        state = {"v": SCHEMA, "step": checkpoint.step, **checkpoint.state}
        _write(partial / "state.json", json.dumps(state).encode())
        if target.exists():  # of the same step; no moment may see it half removed
            target.rename(partial.with_name(f"{partial.name}.old"))
        partial.rename(target)
        _sync_folder(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise RunError(f"cannot write the checkpoint {target}: {error.strerror}; free some space and resume") from error
    complete = _complete(folder)
    undone = [path for path in complete if path > target]
    for old in (*folder.glob(".partial-*.old"), *undone, *complete[: -keep - len(undone)]):
        shutil.rmtree(old, ignore_errors=True)
    return target


def _extended(checkpoint: Checkpoint, folder: Path) -> Path | None:
    """Finds the checkpoint that has the rows retired before."""
    number = checkpoint.state.get("extends", 0)
    if not number:
        return None
    for path in reversed(_complete(folder)):
        if json.loads((path / "state.json").read_text("utf-8")).get("number") == number:
            return path
    raise FileNotFoundError(errno.ENOENT, f"the checkpoint {number}, which it extends, is not in {folder}")


def latest(folder: Path) -> Path | None:
    """Finds the newest complete checkpoint below `folder`."""
    found = _complete(folder)
    return found[-1] if found else None


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint.

    Raises:
        CheckpointError: It is missing, damaged or of another schema.
    """
    try:
        state = json.loads((path / "state.json").read_text("utf-8"))
        if state.get("v") != SCHEMA:
            raise CheckpointError(f"{path}: schema {state.get('v')!r} is unknown; {SCHEMA} is allowed")
        arrays = {
            name: safetensors.numpy.load_file(path / f"{name}.safetensors")  # pyright: ignore[reportUnknownMemberType]
            for name in ("model", "optimiser", "replay")
        }
        ledger = json.loads((path / "ledger.json").read_text("utf-8"))
        return Checkpoint(
            step=int(state["step"]),
            model=arrays["model"],
            optimiser=arrays["optimiser"],
            replay=arrays["replay"],
            ledger=ledger,
            state=state,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({type(error).__name__}: {error})") from error


def _complete(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if (path / "state.json").exists())


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
