"""What others say, in logs and terminals: a server, or whoever answers in its place, that would like to write there."""

import json
import os
import re
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast, override

import pytest

from common.printable import MOST, printable

ROOT = Path(__file__).parents[2]
SAID = "ERR \x1b]0;owned\x07\x1b[2J\x1b[1;1H\u202e\x9b2K\u2028all is well"
"""Title of the window, an empty screen, letters turned around, lines that some take for such."""
FORGED = "\n2026-01-01 00:00:00,000 engram INFO common: all is well\r"
"""A line of its own: what no client of Redis takes for an error."""
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} actor-0 |    ")


class _Liar(socketserver.StreamRequestHandler):
    """Answers every command of Redis by an error."""

    @override
    def handle(self) -> None:
        with suppress(OSError):
            while line := self.rfile.readline():
                if line.startswith(b"*"):
                    self.wfile.write(b"-" + cast(_Server, self.server).said.encode() + b"\r\n")


class _Server(socketserver.ThreadingTCPServer):
    said = SAID


@pytest.fixture
def liar(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server that says nothing but this."""
    with _Server(("127.0.0.1", 0), _Liar) as server:
        server.said = getattr(request, "param", SAID)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"redis://:secret-1@127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def said_by(*words: str, url: str, folder: Path) -> tuple[int, str]:
    """Runs a command; returns its exit code, and all that it said."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "ENGRAM_REDIS_URL": url, "PYTHONPATH": str(ROOT), "COLUMNS": "400"},
        capture_output=True,
        timeout=100,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).decode()


@pytest.mark.parametrize(
    "words",
    [
        ("-m", "engram", "run", "--preset", "demo"),
        ("-m", "engram", "replay", "nothing"),
        ("-m", "engram", "doctor"),
        ("-m", "engram", "doctor", "--json"),
        ("-m", "actors"),
    ],
)
def test_a_server_that_lies_steers_no_terminal(liar: str, tmp_path: Path, words: tuple[str, ...]) -> None:
    code, said = said_by(*words, url=liar, folder=tmp_path)
    assert code in (1, 2), said
    if "replay" not in words:
        assert "]0;owned" in said, "it is told all the same"
    if "--json" in words:
        found = {check["name"]: check for check in json.loads(said)["checks"]}
        said = "".join(check["found"] + check["fix"] for check in found.values())
        assert found["redis"]["state"] == "failed"
    assert not FORBIDDEN.search(said), said
    assert "secret-1" not in said


@pytest.mark.parametrize("liar", [SAID + FORGED, "", "x" * 2**22], indirect=True)
@pytest.mark.parametrize("words", [("-m", "engram", "run", "--preset", "demo"), ("-m", "actors")])
def test_what_is_no_redis_server_is_said_to_be_none(liar: str, tmp_path: Path, words: tuple[str, ...]) -> None:
    code, said = said_by(*words, url=liar, folder=tmp_path)
    assert code in (1, 2), said
    assert len(said.splitlines()) == 1
    assert len(said) < 5000
    assert "redis_url" in said
    assert "secret-1" not in said


WRITER = """
import logging, sys, time
from pathlib import Path
import numpy as np
from common.messages import Datum
from common.process import settle
from common.stream import CaptureJournal, StreamKeys, StreamWriter, connect
settle(part="actor-0", threads=1)
writer = StreamWriter(
    lambda: connect(sys.argv[1]), keys=StreamKeys("run"), actor="actor-0", journal=CaptureJournal(Path("a.journal")),
    spool=10,
)
frame = np.zeros((8, 8, 3), np.uint8)
writer.put(Datum("frames", "actor-0", 0, "v", "w", "v/0000", 1, 1.0, 1.0, 1, np.zeros(1, np.float32), None, frame))
time.sleep(2.0)
writer.close()
try:
    raise RuntimeError(sys.argv[2])
except RuntimeError:
    logging.getLogger("common").exception("%s failed", sys.argv[2])
"""


def test_a_log_has_lines_of_its_own_alone(liar: str, tmp_path: Path) -> None:
    code, said = said_by("-c", WRITER, liar, SAID + FORGED, url=liar, folder=tmp_path)
    assert code == 0, said
    assert said.count("cannot write") > 0
    assert "RuntimeError: ERR \\x1b]0;owned" in said
    assert not FORBIDDEN.search(said), said
    for line in said.splitlines():
        assert LINE.match(line), line
    assert "secret-1" not in said


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain – ünïcode ✓ 世界", "plain – ünïcode ✓ 世界"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b2J\x7f", "\\x9b2J\\x7f"),
        ("a\u2028b\u202e", "a\\u2028b\\u202e"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_what_cannot_be_seen_is_written_as_its_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_no_text_is_too_long_to_be_read() -> None:
    assert printable("\n" * 10**7) == "\\n" * MOST + f"… and {10**7 - MOST} characters more"
