"""The run directory: one folder that holds all that a run leaves behind.

    config.yaml        what was asked for
    events.jsonl       what happened, one line each
    metrics.jsonl      what every part said of itself, one line a part and moment
    evaluations.jsonl  what the evaluator measured: docs/measures.md
    evaluator.safetensors  which experiences it follows, for one that is started anew
    checkpoints/  actors/  report/

Only the driver writes here, so each row is one `write` of one whole line, and a reader meets at most one torn line:
the last.
"""

import errno
import fcntl
import json
import logging
import math
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from common.catalogue import Metric
from common.errors import ConfigError, RunError

_log = logging.getLogger(__name__)

SCHEMA = 1
"""Version of the rows, their field `v`."""

_FULL = {errno.ENOSPC, errno.EDQUOT}


def plain(value: Any) -> Any:
    """Makes a value ready for strict JSON: records become objects, numbers that are not finite become None."""
    if is_dataclass(value) and not isinstance(value, type):
        value = {item.name: getattr(value, item.name) for item in fields(value)}
    match value:
        case Enum() | np.generic():
            return plain(value.value if isinstance(value, Enum) else value.item())
        case float():
            return value if math.isfinite(value) else None
        case None | bool() | int() | str():
            return value
        case Path():
            return str(value)
        case Mapping():
            return {str(key): plain(item) for key, item in cast("Mapping[Any, Any]", value).items()}
        case list() | tuple() | np.ndarray():
            return [plain(item) for item in cast("list[Any]", value)]
        case _:
            raise TypeError(f"{type(value).__name__} has no place in JSON: {value!r}")


def to_json(value: Any) -> str:
    """Writes one line of JSON, without NaN or Infinity."""
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Reads a file of rows; a missing file has none, and a last line that was cut short is left out.

    Args:
        path: One of the `.jsonl` files of a run directory.

    Yields:
        One row each, oldest first.

    Raises:
        RunError: A line before the last is no JSON object: the file is damaged.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            row = parse_row(line)
            if row is not None:
                yield row
            elif line.endswith(b"\n"):
                raise RunError(f"{path}, line {number}: not a JSON object; mend or remove that line")


def parse_row(line: bytes) -> dict[str, Any] | None:
    """Reads one row; gives None for what is no JSON object, such as a line that is not whole yet."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return cast("dict[str, Any]", row) if isinstance(row, dict) else None


class RowFile:
    """Appends rows to one file, each whole or not at all, also when the disk is full.

    Args:
        path: The file; made if it does not exist. A torn last line is cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost = 0
        self._lock = threading.Lock()
        self._file = path.open("ab", buffering=0)
        self._mend()

    def _mend(self) -> None:
        with self.path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            if end == 0 or (file.seek(end - 1), file.read(1))[1] == b"\n":
                return
            file.seek(0)
            self._file.seek(self._file.truncate(file.read().rfind(b"\n") + 1))

    def append(self, row: Mapping[str, Any]) -> bool:
        """Writes one row, with `"v": 1` in front.

        Args:
            row: What `plain` takes.

        Returns:
            False if the disk is full: the row is then lost and counted in `lost`.
        """
        line = (to_json({"v": SCHEMA, **row}) + "\n").encode()
        with self._lock:
            size = self._file.tell()
            try:
                if self._file.write(line) == len(line):
                    return True
            except OSError as error:
                if error.errno not in _FULL:
                    raise
            self._file.seek(self._file.truncate(size))
            self.lost += 1
            if self.lost == 1:
                _log.error("no space left for %s: rows are lost from now on, the run goes on", self.path)
            return False

    def close(self) -> None:
        """Closes the file; nothing is buffered."""
        self._file.close()


def take(path: Path, field: str = "run_dir") -> IO[str]:
    """Takes a folder for this process; the lock goes with the process, however it ends.

    Args:
        path: The folder.
        field: What named it, for the message.

    Raises:
        ConfigError: Another process has it.
    """
    lock = (path / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise ConfigError(field, str(path), "is in use by a run that is still going on") from None
    return lock


class RunDirectory:
    """The folder of one run, written by the driver alone.

    Args:
        path: Where to make it.

    Raises:
        ConfigError: `path` exists, or cannot be made.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            raise ConfigError("run_dir", str(path), "exists already: choose another, or `engram resume` it") from None
        except OSError as error:
            raise ConfigError("run_dir", str(path), f"cannot be made: {error.strerror}") from None
        self._enter(path)

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """Opens the folder of an earlier run, to go on with it; new rows follow the old ones.

        Raises:
            ConfigError: There is no run directory at `path`.
        """
        if not (path / "events.jsonl").is_file():
            raise ConfigError("run_dir", str(path), "must be the folder of an earlier run (it has no events.jsonl)")
        directory = cls.__new__(cls)
        directory._enter(path)
        return directory

    def _enter(self, path: Path) -> None:
        self.path = path
        self._lock = take(path)
        for folder in (self.checkpoints, self.report, self.actors):
            folder.mkdir(exist_ok=True)
        self._events = RowFile(path / "events.jsonl")
        self._metrics = RowFile(path / "metrics.jsonl")
        self._evaluations = RowFile(path / "evaluations.jsonl")

    @property
    def free(self) -> int:
        """Bytes left on its disk."""
        return shutil.disk_usage(self.path).free

    @property
    def checkpoints(self) -> Path:
        """Folder of the learner's checkpoints."""
        return self.path / "checkpoints"

    @property
    def report(self) -> Path:
        """Folder of pictures and tables."""
        return self.path / "report"

    @property
    def actors(self) -> Path:
        """Folder of what each actor keeps: its sequence file and saved states."""
        return self.path / "actors"

    @property
    def lost_rows(self) -> int:
        """Rows that did not fit on the disk."""
        return self._events.lost + self._metrics.lost + self._evaluations.lost

    def event(self, kind: str, **details: Any) -> dict[str, Any]:
        """Notes that something happened, now.

        Args:
            kind: What happened, in one or two words: `started`, `restart`, `rollback`.
            **details: What else is known of it.

        Returns:
            The row: `t` is seconds since the epoch, `utc` the same moment in ISO 8601.
        """
        t = time.time()
        utc = datetime.fromtimestamp(t, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        row = {"t": t, "utc": utc, "kind": kind, **details}
        self._events.append(row)
        return row

    def metrics(self, row: Mapping[str, Any]) -> None:
        """Adds a row to `metrics.jsonl`; see `common.metrics.rows`."""
        self._metrics.append(row)

    def evaluation(self, row: Mapping[str, Any]) -> None:
        """Adds a row to `evaluations.jsonl`; see `evaluator.evaluation`."""
        self._evaluations.append(row)

    def read_events(self) -> list[dict[str, Any]]:
        """All events so far, oldest first."""
        return list(read_rows(self._events.path))

    def read_metric(self, name: str) -> list[float]:
        """All values of one metric that any part has reported, oldest first."""
        rows = read_rows(self.path / "metrics.jsonl")
        return [row[name] for row in rows if row.get(name) is not None]

    def read_evaluations(self) -> list[dict[str, Any]]:
        """All evaluations so far, oldest first."""
        return list(read_rows(self._evaluations.path))

    def highest_version(self, unseen: int) -> int:
        """A number that no version in this directory has passed; 0 where there is none.

        Args:
            unseen: Versions that may have been made between two rows of metrics.
        """
        evaluated = [int(row["version"]) for row in self.read_evaluations()]
        made = [int(version) + unseen for version in self.read_metric(Metric.LEARNER_VERSION.value.name)]
        return max([*evaluated, *made], default=0)

    def stood(self) -> float:
        """Seconds that the run has stood still in its earlier parts, and since the last of them.

        By these its system time is behind the wall clock when it is resumed. A part that died counts up to its last
        row of metrics.
        """
        rows = self.read_events()
        if not rows:
            return 0.0
        told = next(((row["stood"], row["t"]) for row in reversed(rows) if "stood" in row), (0.0, rows[0]["t"]))
        paused = any(row["kind"] == "paused" and row["t"] >= told[1] for row in rows)
        lived = told[1] if paused else max(rows[-1]["t"], self._metrics.path.stat().st_mtime)
        return told[0] + max(0.0, time.time() - lived)

    def write_text_atomic(self, name: str, text: str) -> Path:
        """Writes a small file so that a reader sees the old or the new one, never half of it.

        Args:
            name: Path below the run directory, for example `config.yaml`.
            text: The whole content.

        Returns:
            Where it lies.
        """
        return self.write_atomic(name, text.encode())

    def write_atomic(self, name: str, content: bytes) -> Path:
        """Writes a file likewise.

        Args:
            name: Path below the run directory.
            content: The whole content.

        Returns:
            Where it lies.
        """
        target = self.path / name
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        return target

    def close(self) -> None:
        """Closes the row files and gives the directory free."""
        for file in (self._events, self._metrics, self._evaluations):
            file.close()
        self._lock.close()
