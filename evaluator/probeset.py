"""The frames that every weights version is probed on: built once, kept on disk, never trained on.

Shapes: N frames, T frames a walk, S stays, L frames a stay, H×W pixels, W worlds.
"""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file  # pyright: ignore[reportUnknownVariableType]

from common.config.run import RunConfig
from common.errors import EngramError
from common.messages import Frame, Labels

SCHEMA = 3
"""Version of the file format."""

TEST_EVERY = 4
"""Of each so many walks of a world, the last one is the test set."""

CELL = 256.0
"""Side of a place cell, in the world's own unit (Doom: 8 m)."""

HELD_OUT_SEED = 2**31 + 11
"""Seed of the walks, far from any run's own; one for all runs, so that they share a cache and can be compared."""

type Walk = tuple[str, Sequence[Frame] | NDArray[np.uint8], Sequence[Labels]]
"""One trajectory: its world, T frames uint8 [T, H, W, 3], and the T ground truths."""

type Stay = tuple[str, Sequence[Frame] | NDArray[np.uint8]]
"""One long walk: its world, and L frames uint8 [L, H, W, 3]."""


@dataclass(frozen=True, kw_only=True)
class ProbeSpec:
    """What a probe set is made of; two equal specs give the same frames.

    Attributes:
        worlds: Worlds that the schedule visits.
        placebo: Worlds that no actor ever visits.
        trajectories: Walks a world.
        frames: Frames a walk.
        every: Seconds between frames of a walk.
        lead: Seconds of each walk before its first frame. A world has a few dozen places to start at, so without it
            training and test walks would share their first pictures, and pixels would tell the place best.
        image_size: Height and width, pixels.
        seed: Seed of the walks.
        stays: Long walks through each placebo world, as an actor's visits are.
        stay_frames: Frames of each of them.
        stay_every: Seconds between these.
    """

    worlds: tuple[str, ...]
    placebo: tuple[str, ...]
    trajectories: int
    frames: int
    every: float
    image_size: tuple[int, int]
    seed: int = HELD_OUT_SEED
    lead: float = 10.0
    stays: int = 2
    stay_frames: int = 240
    stay_every: float = 0.5

    @classmethod
    def of(cls, run: RunConfig, *, every: float = 1.0) -> "ProbeSpec":
        """Gives the spec of a run: all worlds of its schedule and its placebo worlds."""
        return cls(
            worlds=run.world.worlds,
            placebo=run.world.placebo_worlds,
            trajectories=run.evaluator.trajectories,
            frames=run.evaluator.frames,
            every=every,
            image_size=run.world.image_size,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All worlds, the placebo worlds last; a world's number is its place here."""
        return self.worlds + self.placebo

    def digest(self) -> str:
        """Names the spec by a hash of its content and of the file format: 16 hexadecimal digits."""
        text = json.dumps({"schema": SCHEMA, **asdict(self)}, sort_keys=True)
        return blake2b(text.encode(), digest_size=8).hexdigest()

    def cache_path(self, folder: str = "") -> Path:
        """Says where the probe set of this spec is kept; an empty folder stands for the user's cache."""
        base = Path(folder) if folder else user_cache() / "pamiq-engram"
        return base / f"probes-{self.digest()}.safetensors"


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeSet:
    """Labelled frames of walks that training never sees.

    Attributes:
        spec: What it was made of.
        frames: uint8 [N, H, W, 3], walk after walk, in order of time.
        world: Number of the world in `spec.names`, int64 [N].
        walk: Number of the walk, unique over all worlds, int64 [N].
        is_test: Whether the walk is a test walk (every fourth of each world), bool [N].
        x: East-west position in the world's unit, float32 [N].
        y: North-south position in the world's unit, float32 [N].
        heading: Radians in [-pi, pi), counter-clockwise from east, float32 [N].
        depth: Median distance in a 3×3 grid, the renderer's 0–255 scale, float32 [N, 3, 3].
        stays: Frames of the stays, uint8 [S, L, H, W, 3], placebo world after placebo world. What is compared within a
            visit that was lived, is compared within one of these, where nothing can be remembered.
    """

    spec: ProbeSpec
    frames: NDArray[np.uint8]
    world: NDArray[np.int64]
    walk: NDArray[np.int64]
    is_test: NDArray[np.bool_]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    heading: NDArray[np.float32]
    depth: NDArray[np.float32]
    stays: NDArray[np.uint8]

    @classmethod
    def from_walks(cls, spec: ProbeSpec, walks: Iterable[Walk], stays: Iterable[Stay]) -> "ProbeSet":
        """Puts walks together, `spec.trajectories` a world, and `spec.stays` stays a placebo world, in any order.

        Raises:
            ValueError: A walk or stay is of no such world, or its shape or number is not the spec's.
        """
        by_world: dict[str, list[Walk]] = {name: [] for name in spec.names}
        shape = (spec.frames, *spec.image_size, 3)
        for name, frames, labels in walks:
            if name not in by_world:
                raise ValueError(f"walk in {name!r}: the spec has {', '.join(spec.names)}")
            stacked = np.stack(list(frames)) if len(frames) else np.empty(0, np.uint8)
            if stacked.shape != shape or stacked.dtype != np.uint8 or len(labels) != spec.frames:
                raise ValueError(
                    f"walk in {name!r}: frames {stacked.dtype} {stacked.shape} and {len(labels)} labels, "
                    f"expected uint8 {shape} and {spec.frames}"
                )
            by_world[name].append((name, stacked, labels))
        for name, found in by_world.items():
            if len(found) != spec.trajectories:
                raise ValueError(f"{len(found)} walks in {name!r}, expected {spec.trajectories}")
        ordered = [walk for found in by_world.values() for walk in found]
        labels = [label for _, _, of_walk in ordered for label in of_walk]
        number = np.arange(len(ordered))
        is_test = number % spec.trajectories % TEST_EVERY == TEST_EVERY - 1
        return cls(
            spec=spec,
            frames=np.concatenate([np.asarray(frames) for _, frames, _ in ordered]),
            world=np.repeat(number // spec.trajectories, spec.frames),
            walk=np.repeat(number, spec.frames),
            is_test=np.repeat(is_test, spec.frames),
            x=np.array([label.x for label in labels], np.float32),
            y=np.array([label.y for label in labels], np.float32),
            heading=np.array([label.heading for label in labels], np.float32),
            depth=np.stack([np.asarray(label.depth, np.float32) for label in labels]),
            stays=_stacked(spec, stays),
        )

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def placebo(self) -> tuple[bool, ...]:
        """Whether a world is a placebo, by its number."""
        return (False,) * len(self.spec.worlds) + (True,) * len(self.spec.placebo)

    @property
    def cell(self) -> NDArray[np.int64]:
        """Place cell of each frame, int64 [N]: numbers over all worlds, one for each 256-unit square that is seen."""
        square_N2 = np.floor(np.stack([self.x, self.y], axis=1) / CELL).astype(np.int64)
        key_N3 = np.concatenate([self.world[:, None], square_N2], axis=1)
        return np.unique(key_N3, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)

    def save(self, path: Path) -> None:
        """Writes the set as safetensors; a reader sees the whole file or none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
        try:
            save_file(arrays, part, metadata={"schema": str(SCHEMA), "spec": json.dumps(asdict(self.spec))})
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> "ProbeSet":
        """Reads a set that `save` wrote.

        Raises:
            EngramError: The file is no probe set, or of another schema.
            FileNotFoundError: There is no such file.
        """
        try:
            with cast(Any, safe_open(path, framework="numpy")) as file:
                metadata: dict[str, str] = file.metadata() or {}
                if (schema := metadata.get("schema")) != str(SCHEMA):
                    raise EngramError(f"{path}: a probe set of schema {schema}, this version reads {SCHEMA}")
                spec: dict[str, Any] = json.loads(metadata["spec"])
                arrays: dict[str, Any] = {name: file.get_tensor(name) for name in _ARRAYS}
        except (SafetensorError, KeyError, ValueError) as error:
            raise EngramError(f"{path}: not a whole probe set ({error}); delete it and it is built anew") from error
        for name in ("worlds", "placebo", "image_size"):
            spec[name] = tuple(spec[name])
        return cls(spec=ProbeSpec(**spec), **arrays)


def _stacked(spec: ProbeSpec, stays: Iterable[Stay]) -> NDArray[np.uint8]:
    by_world: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in spec.placebo}
    shape = (spec.stay_frames, *spec.image_size, 3)
    for name, frames in stays:
        if name not in by_world:
            raise ValueError(f"stay in {name!r}: the spec's placebo worlds are {', '.join(spec.placebo) or 'none'}")
        stacked = np.stack(list(frames)) if len(frames) else np.empty(0, np.uint8)
        if stacked.shape != shape or stacked.dtype != np.uint8:
            raise ValueError(f"stay in {name!r}: frames {stacked.dtype} {stacked.shape}, expected uint8 {shape}")
        by_world[name].append(stacked)
    for name, found in by_world.items():
        if len(found) != spec.stays:
            raise ValueError(f"{len(found)} stays in {name!r}, expected {spec.stays}")
    ordered = [stay for found in by_world.values() for stay in found]
    return np.stack(ordered) if ordered else np.empty((0, *shape), np.uint8)


_ARRAYS = tuple(item.name for item in fields(ProbeSet) if item.name != "spec")


def user_cache() -> Path:
    """Says where this user keeps what can be made again."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
