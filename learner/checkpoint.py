"""Checkpoints on disk: safetensors and JSON, complete or not there at all.

checkpoints/step-000001234/
    model.safetensors       the three networks, float32
    optimiser.safetensors   moments, mask generator
    replay.safetensors      the replay buffer: an empty one would fake forgetting
    ledger.json             what was trained on: the rows in memory
    retired-….parquet       the rows that have left it
    rank-1/ …               what each further rank has for itself: mask generator, replay buffer, ledger, state
    expired                 in place of replay.safetensors once its pictures were to go (`retention`)
    state.json              schema, step, version, limiter, stream positions and counters; written last
"""

import errno
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from common.errors import CheckpointError, RunError
from learner import archive
from learner.ledger import joined

SCHEMA = 2

_ARRAYS = ("model", "optimiser", "replay")
_EXPIRED = "expired"

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
        state: The rest, JSON-able; `number` is the checkpoint's own, `extends` that of the one before; `healthy` says
            whether the guardrail would go on from here, or is None where it rolls nothing back.
        others: Where several ranks train together, what those after the first have for themselves: model empty, of the
            optimiser only what is not the same on all.
    """

    step: int
    model: Arrays
    optimiser: Arrays
    replay: Arrays
    ledger: Mapping[str, list[Any]]
    state: Mapping[str, Any]
    retired: Mapping[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    others: tuple["Checkpoint", ...] = ()

    def of_rank(self, rank: int, ranks: int) -> "Checkpoint":
        """What one of so many ranks goes on from.

        Raises:
            CheckpointError: It was made by another number of ranks, or its replay buffer has expired.
        """
        if any(one.state.get(_EXPIRED) for one in (self, *self.others)):
            raise CheckpointError(
                "the pictures in the run's replay buffers have expired (retention): an empty buffer would fake "
                "forgetting, so the run cannot be resumed; its weights can still be probed, drawn and converted"
            )
        if (made_by := 1 + len(self.others)) != ranks:
            raise CheckpointError(
                f"the checkpoint is of {made_by} ranks, each with its own replay buffer and share of the stream, and "
                f"learner.ranks = {ranks}: resume with {made_by}"
            )
        if rank == 0:
            return replace(self, others=())
        own = self.others[rank - 1]
        return replace(own, model=self.model, optimiser={**self.optimiser, **own.optimiser})

    def whole_ledger(self) -> Mapping[str, list[Any]]:
        """The rows in memory of all ranks, joined."""
        return joined([self.ledger, *(other.ledger for other in self.others)])


def gather(taken: Sequence[Checkpoint]) -> Checkpoint:
    """Makes one of what all ranks have taken at the same moment, in their order.

    Raises:
        CheckpointError: They were not taken at the same moment.
    """
    first, *others = taken
    if len(moments := {(one.step, one.state["number"]) for one in taken}) > 1:
        raise CheckpointError(f"ranks have taken their checkpoints at different moments: {sorted(moments)}")
    return replace(first, others=tuple(others), retired=joined([one.retired for one in taken]))


def save(checkpoint: Checkpoint, folder: Path, *, keep: int) -> Path:
    """Writes a checkpoint below `folder` and removes all but the newest `keep`, and the one that `latest` finds.

    Checkpoints of later steps go too: steps only ever go back by a rollback, and they hold what it undid.

    Raises:
        RunError: The disk is full or refuses, or the checkpoint that this one extends is gone; what was begun is
            removed.
    """
    target = _target(folder, checkpoint.step)
    partial = folder / f".partial-{checkpoint.step:09d}"
    for torn in folder.glob(".partial-*"):  # left by a process that was killed while it wrote
        shutil.rmtree(torn, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        for rank, other in enumerate(checkpoint.others, 1):
            _write_parts(partial / _rank_folder(rank), other)
        archive.extend(_extended(checkpoint, folder), partial, checkpoint.retired)
        _write_parts(partial, checkpoint)
        partial.rename(target)
        _sync_folder(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise RunError(f"cannot write the checkpoint {target}: {error.strerror}; free some space and resume") from error
    undone = [path for path in complete(folder) if path > target]
    for old in undone:
        shutil.rmtree(old, ignore_errors=True)
    kept = {*complete(folder)[-keep:], latest(folder)}
    for old in (path for path in complete(folder) if path not in kept):
        shutil.rmtree(old, ignore_errors=True)
    return target


def _target(folder: Path, step: int) -> Path:
    """Names a new checkpoint; those of one step, as in a pause, are numbered: the next may still extend any of them."""
    first = folder / f"step-{step:09d}"
    before = sorted(path.name for path in folder.glob(f"{first.name}*"))
    if not before:
        return first
    return folder / f"{first.name}-{int(before[-1].removeprefix(first.name).lstrip('-') or 1) + 1:04d}"


def _extended(checkpoint: Checkpoint, folder: Path) -> Path | None:
    """Finds the checkpoint that has the rows retired before."""
    number = checkpoint.state.get("extends", 0)
    if not number:
        return None
    for path in reversed(complete(folder)):
        if _state(path).get("number") == number:
            return path
    raise FileNotFoundError(errno.ENOENT, f"the checkpoint {number}, which it extends, is not in {folder}")


def latest(folder: Path) -> Path | None:
    """Finds the newest complete checkpoint below `folder` that is not known to be unhealthy; else the newest of all."""
    found = complete(folder)
    return max([path for path in found if not _is_unhealthy(path)] or found, default=None)


def _is_unhealthy(path: Path) -> bool:
    try:
        return _state(path).get("healthy") is False
    except (OSError, ValueError):  # `load` will say what is wrong with it
        return False


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint, with what all ranks have in it.

    Raises:
        CheckpointError: It is missing, damaged or of another schema.
    """
    try:
        first = _read_parts(path)
        others = (_read_parts(path / _rank_folder(rank)) for rank in range(1, int(first.state.get("ranks", 1))))
        return replace(first, others=tuple(others))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({type(error).__name__}: {error})") from error


def replay_files(path: Path) -> list[Path]:
    """Finds the replay buffers of all ranks in a checkpoint, as far as they are still there."""
    return sorted(path.rglob("replay.safetensors"))


def drop_replay(path: Path) -> None:
    """Removes the replay buffers from a checkpoint, whose weights, ledger and state stay."""
    files = replay_files(path)
    for file in files:  # all before the first is gone: a half-expired one must not load as a whole one
        _write(file.with_name(_EXPIRED), b"")
    for file in files:
        file.unlink()
    _sync_folder(path)


def _rank_folder(rank: int) -> str:
    return f"rank-{rank}"


def _write_parts(folder: Path, checkpoint: Checkpoint) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in _ARRAYS:
        arrays = {key: np.require(array, requirements="C") for key, array in getattr(checkpoint, name).items()}
        _write(folder / f"{name}.safetensors", safetensors.numpy.save(arrays))
    _write(folder / "ledger.json", json.dumps(checkpoint.ledger).encode())
    state = {"v": SCHEMA, "step": checkpoint.step, **checkpoint.state}
    _write(folder / "state.json", json.dumps(state).encode())


def _read_parts(folder: Path) -> Checkpoint:
    state = json.loads((folder / "state.json").read_text("utf-8"))
    if state.get("v") != SCHEMA:
        raise CheckpointError(f"{folder}: schema {state.get('v')!r} is unknown; {SCHEMA} is allowed")
    expired = (folder / _EXPIRED).exists()
    arrays = {
        name: safetensors.numpy.load_file(folder / f"{name}.safetensors")  # pyright: ignore[reportUnknownMemberType]
        for name in _ARRAYS
        if not (expired and name == "replay")
    }
    return Checkpoint(
        step=int(state["step"]),
        model=arrays["model"],
        optimiser=arrays["optimiser"],
        replay=arrays.get("replay", {}),
        ledger=json.loads((folder / "ledger.json").read_text("utf-8")),
        state={**state, _EXPIRED: True} if expired else state,
    )


def complete(folder: Path) -> list[Path]:
    """Finds all complete checkpoints below `folder`, oldest first."""
    return sorted(path for path in folder.glob("step-*") if (path / "state.json").exists())


def _state(path: Path) -> dict[str, Any]:
    return json.loads((path / "state.json").read_text("utf-8"))


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
