"""Requests that no client of ours makes, to each HTTP server of a run: refused, cheaply, and the next is served."""

import socket
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from pamiq_core.console import SystemStatus

from common.catalogue import Role
from common.config.control import ControlConfig
from common.metrics import Metrics
from common.status import ActorStatus, RunStatus
from deploy.control.server import ControlServer
from deploy.discovery import MetricsDirectory

MEGABYTE = 2**20
LETTERS = (b"a" * MEGABYTE,) * 64


@dataclass(frozen=True)
class Door:
    """An HTTP server, and a path that it answers."""

    port: int
    path: bytes


def run_status() -> RunStatus:
    return RunStatus(elapsed=1.0, run_dir="runs/one", phase="running")


@pytest.fixture(params=["control", "directory", "part"])
def door(request: pytest.FixtureRequest) -> Iterator[Door]:
    match request.param:
        case "control":
            control = ControlServer(ControlConfig(port=0), lambda: SystemStatus.ACTIVE)
            port = int(control.url.rpartition(":")[2])
            close, path = control.close, b"/api/status"
        case "directory":
            directory = MetricsDirectory(run="one", metrics=Metrics(Role.DRIVER), status=run_status)
            port, close, path = directory.port, directory.close, b"/sd"
        case _:
            metrics = Metrics(Role.ACTOR)
            metrics.follow(lambda: ActorStatus(name="actor-0"))
            port, close, path = metrics.serve(), metrics.close, b"/metrics"
    found = Door(port, path)
    end = time.monotonic() + 10
    while not ask(found).startswith(b"HTTP/1.1 200") and not ask(found).startswith(b"HTTP/1.0 200"):
        assert time.monotonic() < end, "the server does not answer"
        time.sleep(0.05)
    yield found
    close()


def ask(door: Door, *more: bytes, start: bytes = b"", timeout: float = 20.0) -> bytes:
    """Sends a request, piece by piece, as far as the server takes it; returns what it answers, 64 kB at most."""
    start = start or b"GET " + door.path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    with socket.socket() as client:
        client.settimeout(timeout)
        try:
            client.connect(("127.0.0.1", door.port))
        except ConnectionRefusedError:
            return b""
        with suppress(ConnectionError, TimeoutError):
            for piece in (start, *more, b"\r\n"):
                client.sendall(piece)
        answer = b""
        with suppress(ConnectionError, TimeoutError):
            while len(answer) < 2**16 and (piece := client.recv(2**16)):
                answer += piece
        return answer


@contextmanager
def cheaply(limit: int = 16 * MEGABYTE) -> Generator[None]:
    """Makes sure that this process never holds so many bytes more during the block than before it."""
    Path("/proc/self/clear_refs").write_text("5")  # begins the count of the most that was resident anew
    before = resident("VmRSS")
    yield
    grown = resident("VmHWM") - before
    assert grown < limit, f"{grown / MEGABYTE:.0f} MiB"


def resident(what: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024


def code(answer: bytes) -> int:
    """Status of an answer; 0 where the server has only closed the connection."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


FLOODS: dict[str, tuple[bytes, ...]] = {
    "a long header": (b"X-Long: ", *LETTERS, b"\r\n"),
    "a long name": (*LETTERS, b": x\r\n"),
    "many headers": tuple(b"".join(b"X-%d: a\r\n" % n for n in range(k, k + 5000)) for k in range(0, 500_000, 5000)),
    "a folded header": (b"X-Fold: a\r\n", *(b" a\r\n" * 50_000,) * 64),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_oversized_headers_are_refused_and_cost_no_memory(door: Door, flood: str) -> None:
    with cheaply():
        answer = ask(door, *FLOODS[flood])
    assert code(answer) in (0, 400, 414, 431), answer[:200]
    assert code(ask(door)) == 200


def test_a_long_path_is_refused(door: Door) -> None:
    with cheaply():
        answer = ask(door, *LETTERS, b" HTTP/1.1\r\n", start=b"GET " + door.path + b"?")
    assert code(answer) in (0, 400, 414, 431), answer[:200]
    assert code(ask(door)) == 200


def test_a_body_that_nobody_asked_for_is_not_read(door: Door) -> None:
    start = b"POST /api/nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    with cheaply():
        answer = ask(door, b"Content-Length: %d\r\n\r\n" % 2**30, *LETTERS, start=start)
    assert code(answer) in (0, 404, 405, 501), answer[:200]
    assert code(ask(door)) == 200


@pytest.mark.parametrize(
    "line",
    [
        b"GET /\x00 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n",  # Redis
        b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /api/status HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
        b"GET /api/status HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_ends_nothing(door: Door, line: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_connection(("127.0.0.1", door.port), 5.0) as client:
        client.sendall(line)
        client.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError, TimeoutError):
            answer = client.recv(2**16)
            assert b"Traceback" not in answer
            assert b"evil.example" not in answer
    assert code(ask(door)) == 200
    assert "Traceback" not in capfd.readouterr().err


def test_silent_connections_keep_nobody_out(door: Door) -> None:
    silent = [socket.create_connection(("127.0.0.1", door.port), 5.0) for _ in range(30)]
    try:
        for one in silent:
            one.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Open: a")
        began = time.monotonic()
        assert code(ask(door)) == 200
        assert time.monotonic() - began < 5.0
    finally:
        for one in silent:
            one.close()
