"""Servers of the user's own, for tests: real `redis-server` processes with the configuration that they are given."""

import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from common.stream import connect


def free_port() -> int:
    """One that nobody has, low enough for a Redis Cluster, whose nodes take another 10000 above."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            if (port := int(probe.getsockname()[1])) <= 55535:
                return port


@contextmanager
def running(configuration: Path, url: str) -> Generator["subprocess.Popen[bytes]"]:
    """A server for as long as the block; `url` must let in."""
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        pytest.skip("needs redis-server or valkey-server")
    with (configuration.parent / "server.log").open("ab") as log:
        process = subprocess.Popen([binary, str(configuration)], stdout=log, stderr=log, cwd=configuration.parent)
    try:
        end = time.monotonic() + 10
        while not _answers(url):
            assert process.poll() is None, (configuration.parent / "server.log").read_text()
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    with connect(url) as client:
        try:
            return bool(client.ping())  # pyright: ignore[reportUnknownMemberType]
        except redis.RedisError:
            return False


@contextmanager
def own_server(folder: Path, *lines: str) -> Generator[str]:
    """A server with a password, on loopback; gives its URL."""
    password, port = secrets.token_urlsafe(24), free_port()
    folder.mkdir(parents=True)
    settings = (f"port {port}", "bind 127.0.0.1", f"dir {folder}", 'save ""', f"requirepass {password}", *lines)
    (folder / "redis.conf").write_text("\n".join(settings) + "\n")
    url = f"redis://:{password}@127.0.0.1:{port}"
    with running(folder / "redis.conf", url):
        yield url
