"""Where the stream of a live run is, for programs beside the run: in its directory, readable by its owner alone."""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

import psutil

from common.errors import ConfigError

NAME = "stream.json"


@dataclass(frozen=True, kw_only=True)
class StreamAddress:
    """How to reach a live run's stream.

    Attributes:
        stream: Its id.
        url: Of an embedded server, password included: never logged. Empty where the run uses a server of the user's
            own, whose password is not the run's to write down.
        pid: Process id of the driver.
        began: When that process began, seconds since the epoch: ids are given again.
    """

    stream: str
    url: str
    pid: int
    began: float

    @classmethod
    def publish(cls, folder: Path, *, stream: str, url: str) -> Self:
        """Writes down where this process's run has its stream."""
        pid = os.getpid()
        address = cls(stream=stream, url=url, pid=pid, began=psutil.Process(pid).create_time())
        with suppress(FileNotFoundError):
            (folder / NAME).unlink()  # one that was left behind may have other permissions
        descriptor = os.open(folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(asdict(address)))
        return address

    @classmethod
    def find(cls, folder: Path, *, url: str) -> Self:
        """Finds the stream of a run that is going on.

        Args:
            folder: The run directory.
            url: The user's own server, where the run uses one.

        Raises:
            ConfigError: No run goes on there, or it uses a server of its user's that was not named.
        """
        try:
            found = cls(**json.loads((folder / NAME).read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            raise ConfigError("from", str(folder), "must be the run directory of a run that is going on") from None
        if not found.alive():
            raise ConfigError("from", str(folder), "is of a run that has ended: its stream is gone")
        if not (found.url or url):
            raise ConfigError("redis_url", "", "must name the server that the run uses (or set ENGRAM_REDIS_URL)")
        return replace(found, url=found.url or url)

    def alive(self) -> bool:
        """Whether the driver still runs."""
        try:
            return abs(psutil.Process(self.pid).create_time() - self.began) < 1.0
        except psutil.Error:
            return False


def withdraw(folder: Path) -> None:
    """Removes the address: the run ends."""
    (folder / NAME).unlink(missing_ok=True)
