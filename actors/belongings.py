"""What an actor leaves on its host: journals, track, sensor log. In a cluster they go to the run directory and back."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_NAME = re.compile(r"actor-\d+\.(journal|rollouts|track|sensor)")


@dataclass(frozen=True, kw_only=True)
class Belongings:
    """What an actor brings to the host where it is to live.

    Attributes:
        files: Contents by name; those that this host has already stay as they are.
        life: Number of the life that begins, from 1: its earlier ones may have been on other hosts.
    """

    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    life: int = 1


def is_actor(part: str) -> bool:
    """Says whether a part is an actor, by its name."""
    return part.startswith("actor-")


def state_folder() -> Path:
    """Where programs of this user keep what must outlive a restart."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "engram"
    return Path(os.environ.get("XDG_STATE_HOME", Path.home() / ".local/state")) / "engram"


def unpack(folder: Path, files: Mapping[str, bytes]) -> None:
    """Puts files into a folder that may not exist yet, but for those that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if not (folder / check_name(name)).exists():
            (folder / name).write_bytes(content)


def check_name(name: str) -> str:
    """Gives back the name of an actor's file.

    Raises:
        ValueError: It is none: it could name any file of the host.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} belongs to no actor")
    return name


def pack(folder: Path, actor: str) -> dict[str, bytes]:
    """Gives the contents of an actor's files by name; of a folder that does not exist, none."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob(f"{actor}.*")) if _NAME.fullmatch(path.name)}


def remove(folder: Path, actor: str) -> None:
    """Removes an actor's files, and the folder once it is empty."""
    for name in pack(folder, actor):
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
