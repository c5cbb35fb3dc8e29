"""The Redis server of a cluster's head: it starts with Ray there, and ends a while after Ray has.

    engram node --head --redis FILE ─► companion ─► redis-server FILE
                                          │ every two seconds: does the head's Ray listen?
                                          └ not for a minute: end the server, and this process

So `ray down` leaves no server behind, and a head that is started anew finds the old one with all that is in it.
"""

import argparse
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from common.errors import ConfigError, RunError
from common.process import undisturbed

EVERY = 2.0
WAITS = 60.0
"""Seconds that the server outlives Ray."""
STARTS_WITHIN = 15.0
ENDS_WITHIN = 30.0


def listens(host: str, port: int) -> bool:
    """Says whether somebody accepts connections there."""
    with suppress(OSError), socket.create_connection((host, port), timeout=1.0):
        return True
    return False


def where(file: Path) -> tuple[str, int]:
    """Reads off a server's configuration where it will listen.

    Args:
        file: Of Redis or Valkey.

    Returns:
        An address of its own, and the port.

    Raises:
        ConfigError: It cannot be read or names no port.
    """
    try:
        lines = [line.split() for line in file.read_text("utf-8").splitlines()]
    except OSError as error:
        raise ConfigError("redis", str(file), f"cannot be read: {error.strerror}") from None
    settings = {words[0]: words[1:] for words in lines if len(words) > 1 and not words[0].startswith("#")}
    ports = [settings[name][0] for name in ("tls-port", "port") if name in settings]
    port = next((int(port) for port in ports if port.isdigit() and int(port)), 0)
    if not port:
        raise ConfigError("redis", str(file), "names no port: `engram keys` writes a configuration")
    host = settings.get("bind", ["127.0.0.1"])[0].lstrip("-")
    return ("127.0.0.1" if host in ("*", "0.0.0.0") else host), port


def accompany(file: Path, ray: tuple[str, int]) -> None:
    """Starts the server and its companion, unless the server is there; returns once it listens.

    Args:
        file: The server's configuration.
        ray: Where the head's Ray will listen.

    Raises:
        ConfigError: The configuration cannot be read, or no server is installed.
        RunError: It does not start.
    """
    place = where(file)
    _wanted(file).touch()  # the companion of a server that is there may be about to end it
    if listens(*place):
        return
    log = file.with_suffix(".log")
    with undisturbed(), log.open("ab") as said:
        companion = subprocess.Popen(
            [sys.executable, "-m", "deploy.companion", str(file), ray[0], str(ray[1])],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    end = time.monotonic() + STARTS_WITHIN
    while not listens(*place):
        if companion.poll() is not None or time.monotonic() > end:
            raise RunError(f"the Redis server of {file} does not start: {last_line(log)}")
        time.sleep(0.2)


def _wanted(file: Path) -> Path:
    """Touched whenever a head starts."""
    return file.with_suffix(".wanted")


def server_program() -> str:
    """The server that is installed here.

    Raises:
        ConfigError: There is none.
    """
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise ConfigError("redis", "", "neither redis-server nor valkey-server is installed: apt install redis-server")
    return found


def last_line(log: Path) -> str:
    """What a log ends with."""
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it says nothing")


def main() -> None:
    """Runs the server while Ray lives; as `python -m deploy.companion FILE HOST PORT`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    asked = parser.parse_args()
    _wanted(asked.file).touch()
    server = subprocess.Popen([server_program(), str(asked.file)], cwd=asked.file.parent)

    def end(_number: int, _frame: object) -> None:
        server.terminate()

    signal.signal(signal.SIGTERM, end)
    seen = time.monotonic()
    while server.poll() is None:
        time.sleep(EVERY)
        if listens(asked.host, asked.port):
            seen = time.monotonic()
        elif min(time.monotonic() - seen, time.time() - _wanted(asked.file).stat().st_mtime) > WAITS:
            server.terminate()
            try:
                server.wait(ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                server.kill()
    sys.exit(server.wait())


if __name__ == "__main__":
    main()
