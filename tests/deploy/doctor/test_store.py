"""The checks of Redis, against real servers: good, bad, encrypted, gone."""

import re
import select
import socket
import socketserver
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast, override
from urllib.parse import urlsplit

import psutil
import pytest

from common.stream import connect
from deploy.doctor.finding import Case, State
from deploy.doctor.store import RAYS_PORT
from deploy.keys.command import Keys, write_keys
from tests.deploy.doctor.cases import look, run_of
from tests.security.servers import free_port, own_server, running

OF_REDIS = ("redis", "redis memory", "redis files", "redis login", "redis encryption", "redis latency", "redis clock")


def on(url: str, **values: Any) -> Case:
    return Case(run=run_of(redis_url=url, stream__budget=64 * 2**20, **values))


@contextmanager
def open_server(folder: Path, *lines: str) -> Generator[str]:
    """A server without a password."""
    port = free_port()
    folder.mkdir(parents=True)
    (folder / "redis.conf").write_text("\n".join((f"port {port}", f"dir {folder}", 'save ""', *lines)) + "\n")
    url = f"redis://127.0.0.1:{port}"
    with running(folder / "redis.conf", url):
        yield url


class _Skewed(socketserver.BaseRequestHandler):
    """Passes on what client and server say, and changes what the server says of the time."""

    @override
    def handle(self) -> None:
        of = cast(_Skewing, self.server)
        asked = False
        with socket.create_connection(("127.0.0.1", of.port)) as server:
            while True:
                for ready in select.select([self.request, server], [], [])[0]:
                    if not (said := ready.recv(2**16)):
                        return
                    if ready is self.request:
                        asked = b"TIME" in said.upper()
                        server.sendall(said)
                    else:
                        later = re.sub(
                            rb"(?<=\*2\r\n\$10\r\n)\d+", lambda found: b"%d" % (int(found[0]) + of.ahead), said
                        )
                        self.request.sendall(later if asked else said)


class _Skewing(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, port: int, ahead: int) -> None:
        self.port, self.ahead = port, ahead
        super().__init__(("127.0.0.1", 0), _Skewed)


@contextmanager
def with_clock_ahead(url: str, seconds: int) -> Generator[str]:
    """The same server, whose clock is so many seconds ahead."""
    found = urlsplit(url)
    assert found.port is not None
    with _Skewing(found.port, seconds) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield url.replace(f":{found.port}", f":{server.server_address[1]}")
        server.shutdown()


def test_a_server_whose_clock_is_off(tmp_path: Path) -> None:
    with own_server(tmp_path / "s") as url:
        assert look("redis clock", on(url)).state is State.OK
        with with_clock_ahead(url, 7) as later, with_clock_ahead(url, -3) as earlier:
            found = [look("redis clock", on(one)) for one in (later, earlier)]
    assert [one.state for one in found] == [State.WARNING, State.WARNING]
    assert [one.found.partition(" ")[0] for one in found] == ["7.00", "-3.00"]
    assert all("time service" in one.fix for one in found)
    assert not found[0].needed


def test_a_good_server(tmp_path: Path) -> None:
    with own_server(tmp_path / "s", "maxmemory 256mb", "maxmemory-policy noeviction") as url:
        found = {name: look(name, on(url)) for name in OF_REDIS}
        with connect(url) as client:
            left = cast("list[bytes]", list(cast(Any, client).scan_iter()))
        assert [key for key in left if not key.endswith(b":probe")] == []
    states = {name: finding.state for name, finding in found.items()}
    assert states.pop("redis encryption") is State.SKIPPED
    assert set(states.values()) == {State.OK}, found
    assert "PING" in found["redis latency"].found
    password = urlsplit(url).password
    assert password
    assert not any(password in finding.found + finding.fix for finding in found.values())


def test_a_server_that_evicts(tmp_path: Path) -> None:
    with own_server(tmp_path / "s", "maxmemory 256mb", "maxmemory-policy allkeys-lru") as url:
        assert look("redis", on(url)).state is State.FAILED
        found = look("redis memory", on(url))
    assert found.state is State.FAILED
    assert "allkeys-lru" in found.found
    assert "noeviction" in found.fix


def test_a_server_without_room_and_one_without_a_limit(tmp_path: Path) -> None:
    with own_server(tmp_path / "a", "maxmemory 32mb") as url:
        assert "maxmemory" in look("redis", on(url)).found
        assert look("redis memory", on(url)).state is State.FAILED
    with own_server(tmp_path / "b") as url:
        assert look("redis", on(url)).state is State.OK
        assert look("redis memory", on(url)).state is State.WARNING


def test_a_server_that_keeps_another_kind_of_file_than_asked_for(tmp_path: Path) -> None:
    with own_server(tmp_path / "a") as url:
        assert look("redis files", on(url)).state is State.OK
        assert look("redis files", on(url, stream__durability="aof")).state is State.FAILED
    with own_server(tmp_path / "b", "appendonly yes") as url:
        assert look("redis files", on(url, stream__durability="aof")).state is State.OK
        found = look("redis files", on(url))
        assert found.state is State.WARNING
        assert "appends" in found.found


def test_who_may_read_without_a_password(tmp_path: Path) -> None:
    with open_server(tmp_path / "s", "bind 127.0.0.1") as url:
        assert look("redis login", on(url)).state is State.WARNING
    addresses = [one.address for each in psutil.net_if_addrs().values() for one in each if one.family is socket.AF_INET]
    mine = next((address for address in addresses if not address.startswith("127.")), "")
    if not mine:
        pytest.skip("this machine has no address beyond loopback")
    with open_server(tmp_path / "t", f"bind 127.0.0.1 {mine}", "protected-mode no") as url:
        beyond = url.replace("127.0.0.1", f":pretended@{mine}")
        found = look("redis login", on(beyond))
        assert found.state is State.FAILED
        assert "without a password" in found.found
        assert look("redis encryption", on(beyond.replace(":pretended@", ""))).state is State.WARNING
        assert look("redis", on(beyond.replace(":pretended@", ""))).state is State.FAILED


def test_an_encrypted_server_with_users(tmp_path: Path) -> None:
    write_keys(Keys(folder=tmp_path / "keys", port=free_port(), memory=256 * 2**20))
    lines = (tmp_path / "keys" / "learner.env").read_text().splitlines()
    url = next(line for line in lines if line.startswith("ENGRAM_REDIS_URL=")).partition("=")[2]
    with running(tmp_path / "keys" / "redis.conf", url):
        found = {name: look(name, on(url)) for name in OF_REDIS}
        unchecked = look("redis encryption", on(url.partition("?")[0] + "?ssl_cert_reqs=none"))
        stranger = look("redis", on(url.partition("?")[0]))
    assert {name: finding for name, finding in found.items() if finding.state is not State.OK} == {}
    assert found["redis encryption"].found.startswith("TLSv1.")
    assert "days left" in found["redis encryption"].found
    assert unchecked.state is State.WARNING
    assert stranger.state is State.FAILED
    assert "certificate verify failed" in stranger.found
    assert "ssl_ca_certs" in stranger.fix


def test_a_server_that_is_gone() -> None:
    case = on(f"redis://:Secret-1@127.0.0.1:{free_port()}")
    found = look("redis", case)
    assert found.state is State.FAILED
    assert "does not answer" in found.found
    assert "Secret-1" not in found.found
    assert all(look(name, case).state is State.SKIPPED for name in OF_REDIS[1:] if name != "redis encryption")


def test_a_wrong_password(tmp_path: Path) -> None:
    with own_server(tmp_path / "s") as url:
        found = look("redis", on(f"redis://:Wrong-1@{url.rpartition('@')[2]}"))
    assert found.state is State.FAILED
    assert "login" in found.found
    assert "Wrong-1" not in found.found + found.fix


def test_an_address_that_is_none_shows_no_part_of_its_password() -> None:
    case = on("redis://user:half/Secret-1@host:6380")
    for name in OF_REDIS:
        finding = look(name, case)
        assert "Secret" not in finding.found + finding.fix, finding
    assert look("redis", case).state is State.FAILED


def test_rays_port() -> None:
    assert look("redis port", on(f"redis://127.0.0.1:{RAYS_PORT + 1}")).state is State.SKIPPED
    assert look("redis port", on("redis://127.0.0.1")).state is State.WARNING
    assert look("redis port", on("redis://:x@head:6379", cluster="head:6379")).state is State.FAILED


def test_the_embedded_server() -> None:
    assert look("embedded server", run_of()).state is State.OK
    assert look("embedded server", run_of(cluster="head:6379")).state is State.WARNING
    assert look("embedded server", on("redis://127.0.0.1:1")).state is State.SKIPPED
