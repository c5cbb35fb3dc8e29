"""Where the stream of a live run is, for programs beside the run: in its directory, readable by its owner alone."""

import json
import os
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
        url: Of an embedded server, with a user that may only read, password included: never logged. Empty where the run
            uses a server of the user's own, whose password is not the run's to write down.
        pid: Process id of the driver.
        began: When that process began, seconds since the epoch: ids are given again.
        status_url: Where the driver says how the run does; empty before it listens.
        control_url: Where it takes commands; empty before, and where `control.enabled` is off.
        key: What the run signs with, in hexadecimal digits; empty where it has no key, or one that the user keeps.
    """

    stream: str
    url: str
    pid: int
    began: float
    status_url: str = ""
    control_url: str = ""
    key: str = ""

    @classmethod
    def publish(cls, folder: Path, *, stream: str, url: str = "", key: str = "") -> Self:
        """Writes down where this process's run has its stream."""
        pid = os.getpid()
        address = cls(stream=stream, url=url, pid=pid, began=psutil.Process(pid).create_time(), key=key)
        address.write(folder)
        return address

    def write(self, folder: Path) -> None:
        """Writes it down, in place of what was there."""
        draft = folder / f".{NAME}.{self.pid}"
        draft.unlink(missing_ok=True)  # one that was left behind may have other permissions
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(asdict(self)))
        draft.replace(folder / NAME)

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Reads what a run has written there; None where there is nothing that can be read, or its driver has gone."""
        try:
            found = cls(**json.loads((folder / NAME).read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return found if found.alive() else None

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
            driver = psutil.Process(self.pid)
            return abs(driver.create_time() - self.began) < 1.0 and driver.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def withdraw(folder: Path) -> None:
    """Removes the address: the run ends."""
    (folder / NAME).unlink(missing_ok=True)
