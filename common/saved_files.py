"""What a pamiq-core object saves, as bytes by path: states are saved in one process and kept by another.

pamiq-core's objects save themselves below a path, or beside it under the same name with an ending (`time.pkl`).
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import msgpack

from common.errors import RunError

type SavedFiles = Mapping[str, bytes]
"""Content by path below the folder that holds them, with slashes: `models/encoder.pt`. An empty folder ends in one."""


def save(save_state: Callable[[Path], object], name: str) -> SavedFiles:
    """Lets something save itself under a name, in a folder of its own, and gives what it wrote."""
    with tempfile.TemporaryDirectory(prefix="engram-state-") as folder:
        save_state(Path(folder) / name)
        return read(Path(folder) / name)


def load(load_state: Callable[[Path], object], name: str, files: SavedFiles) -> None:
    """Lets something load itself from what it wrote under a name."""
    with tempfile.TemporaryDirectory(prefix="engram-state-") as folder:
        write(Path(folder), files)
        load_state(Path(folder) / name)


def pack(files: SavedFiles) -> bytes:
    """Makes one value of them."""
    return cast(bytes, cast(Any, msgpack).packb(dict(files)))


def unpack(packed: bytes) -> SavedFiles:
    """Undoes `pack`.

    Raises:
        RunError: It holds no files.
    """
    try:
        files: Any = cast(Any, msgpack).unpackb(packed)
    except Exception as error:  # msgpack raises whatever its input makes it raise
        raise RunError(f"a saved state cannot be read: {type(error).__name__}: {error}") from None
    if not isinstance(files, dict):
        raise RunError("a saved state holds no files")
    return cast(SavedFiles, files)


def read(path: Path) -> SavedFiles:
    """Reads what was saved under a path: its files or folders, and those of its name with an ending."""
    files: dict[str, bytes] = {}
    for found in sorted({path, *path.parent.glob(f"{path.name}.*")}):
        for entry in sorted([found, *found.rglob("*")]) if found.exists() else []:
            inside = entry.relative_to(path.parent).as_posix()
            if entry.is_file():
                files[inside] = entry.read_bytes()
            elif not any(entry.iterdir()):
                files[f"{inside}/"] = b""
    return files


def write(folder: Path, files: SavedFiles) -> None:
    """Writes files below a folder.

    Raises:
        RunError: A path leads out of it.
    """
    root = folder.resolve()
    for inside, content in files.items():
        target = (root / inside).resolve()
        if not target.is_relative_to(root) or target == root:
            raise RunError(f"a saved state names {inside!r}, which is not below its folder")
        if inside.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
