"""Steering a run from outside: by pamiq-core's own console, and by those who should not."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pamiq_core.console import SystemStatus
from pamiq_core.console.web_api import WebApiClient

from common.config.control import ControlConfig
from common.errors import ConfigError
from common.status import ActorStatus, EvaluatorStatus, LearnerStatus
from deploy.control.conductor import Conductor
from deploy.control.server import TOKEN_VARIABLE, ControlServer
from tests.runs import live, small_run, wait_until


class Console:
    """The real `pamiq-console` at a terminal of its own."""

    def __init__(self, port: int) -> None:
        self._terminal, inner = pty.openpty()
        program = Path(sys.executable).parent / "pamiq-console"
        self.process = subprocess.Popen(
            [program, "--port", str(port)], stdin=inner, stdout=inner, stderr=inner, close_fds=True
        )
        os.close(inner)
        self.said = ""

    def hear(self, what: str, timeout: float = 30.0) -> None:
        end = time.monotonic() + timeout
        while what not in (plain := re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]", "", self.said)):
            assert time.monotonic() < end, f"not within {timeout:g} s: {what!r} in {plain[-500:]!r}"
            if select.select([self._terminal], [], [], 0.2)[0]:
                try:
                    self.said += os.read(self._terminal, 65536).decode(errors="replace")
                except OSError:
                    time.sleep(0.1)

    def type(self, words: str) -> None:
        self.said = ""
        os.write(self._terminal, words.encode() + b"\r")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        os.close(self._terminal)


def test_the_real_console_drives_a_run(tmp_path: Path) -> None:
    with live(small_run(tmp_path / "run", tmp_path / "cache")) as run:
        wait_until(lambda: run.status.elapsed > 0 and run.status.learner.step > 5, 120, "the run trains")
        port = int(run.status.control_url.rpartition(":")[2])
        console = Console(port)
        try:
            console.hear("(active) >")
            console.type("pause")
            console.hear("ok")
            wait_until(lambda: all(a.paused for a in run.status.actors), 10, "all actors stand still")
            wait_until(lambda: run.status.learner.waiting == "paused", 10, "the learner stands still")
            wait_until(lambda: bool(run.status.evaluator and run.status.evaluator.paused), 10, "the evaluator too")
            assert run.status.phase == "paused"
            time.sleep(1.0)
            before = run.status
            stood = [run.ask(f"actor-{index}", "status").system_time for index in range(2)]
            time.sleep(2.0)
            after = run.status
            assert [actor.frames for actor in after.actors] == [actor.frames for actor in before.actors]
            assert after.learner.step == before.learner.step
            assert after.elapsed == pytest.approx(before.elapsed, abs=0.05)
            assert [run.ask(f"actor-{index}", "status").system_time for index in range(2)] == stood
            console.type("")
            console.type("help")
            console.hear("(paused) >")
            checkpoints = len([row for row in run.directory.read_events() if row["kind"] == "checkpoint"])
            console.type("save")
            console.hear("ok")
            wait_until(
                lambda: len([row for row in run.directory.read_events() if row["kind"] == "checkpoint"]) > checkpoints,
                20,
                "a checkpoint is on disk",
            )
            os.kill(run.ask("actor-1", "process"), 9)
            wait_until(lambda: run.status.restarts.get("actor-1") == 1, 60, "an actor is started anew in the pause")
            wait_until(lambda: run.ask("actor-1", "status").paused, 30, "and stands still as well")
            console.type("resume")
            console.hear("ok")
            wait_until(lambda: run.status.actors[0].frames > after.actors[0].frames + 10, 20, "actors go on")
            wait_until(lambda: run.status.learner.step > after.learner.step, 20, "the learner goes on")
            wait_until(lambda: run.ask("actor-1", "status").frames > 10, 30, "the new one lives")
            gap = run.ask("actor-0", "status").system_time - stood[0]
            assert 0 < gap < run.driver._stood() + 10  # pyright: ignore[reportPrivateUsage]
            times = [run.ask(f"actor-{index}", "status").system_time for index in range(2)]
            assert abs(times[0] - times[1]) < 1.5, "the one that was started anew stood still as long as the others"
            console.type("shutdown")
            console.hear("shutdown?")
            console.type("y")
            console.process.wait(20)
            wait_until(lambda: run.final is not None, 60, "the run has ended")
        finally:
            console.close()
        assert WebApiClient("127.0.0.1", port).get_status() is SystemStatus.OFFLINE
        events = [row["kind"] for row in run.directory.read_events()]
        assert [
            name for name in events if name in ("paused", "went_on", "save_asked", "shutdown_asked", "stopped")
        ] == [
            "paused",
            "save_asked",
            "went_on",
            "shutdown_asked",
            "stopped",
        ]


@pytest.fixture
def server() -> Generator[ControlServer]:
    made = ControlServer(ControlConfig(port=0), lambda: SystemStatus.ACTIVE)
    yield made
    made.close()


def ask(url: str, method: str = "GET", **headers: str) -> tuple[int, Any]:
    wanted = urllib.request.Request(url, method=method, headers={k.replace("_", "-"): v for k, v in headers.items()})
    for _ in range(50):
        try:
            with urllib.request.urlopen(wanted, timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except urllib.error.URLError:
            time.sleep(0.1)
    raise AssertionError("no answer")


def test_web_pages_and_other_hosts_are_refused(server: ControlServer) -> None:
    status, pause = f"{server.url}/api/status", f"{server.url}/api/pause"
    assert ask(status) == (200, {"status": SystemStatus.ACTIVE.value})
    assert ask(status, Host="evil.example")[0] == 403
    assert ask(status, Host="localhost:1") == (200, {"status": SystemStatus.ACTIVE.value})
    assert ask(status, Host="127.0.0.1.evil.example")[0] == 403
    assert ask(status, Host="[")[0] in (400, 403)
    for origin in (
        "http://evil.example",
        "null",
        "file://",
        "https://localhost.evil.example",
        "http://localhost:3000",
        server.url.replace("127.0.0.1", "localhost"),
        server.url.replace("http:", "https:"),
        f"{server.url}.evil.example",
    ):
        assert ask(pause, "POST", Origin=origin)[0] == 403
    assert not server.has_commands()
    assert ask(pause, "POST", Origin=server.url)[0] == 200
    assert server.has_commands()
    assert ask(f"{server.url}/api/pause")[0] == 405
    assert ask(f"{server.url}/other")[0] == 404


def test_beyond_loopback_a_token_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    outside = ControlConfig(host="0.0.0.0", port=0)
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=r"control\.host = .*ENGRAM_CONTROL_TOKEN"):
        ControlServer(outside, lambda: SystemStatus.ACTIVE)
    monkeypatch.setenv(TOKEN_VARIABLE, "short")
    with pytest.raises(ConfigError, match="16 characters"):
        ControlServer(outside, lambda: SystemStatus.ACTIVE)
    monkeypatch.setenv(TOKEN_VARIABLE, "a long enough secret")
    server = ControlServer(outside, lambda: SystemStatus.ACTIVE)
    try:
        url = server.url.replace("0.0.0.0", "127.0.0.1") + "/api/status"
        assert ask(url)[0] == 403
        assert ask(url, Authorization="Bearer wrong")[0] == 403
        assert ask(url, Authorization="Bearer a long enough secret")[0] == 200
        assert ask(url, Authorization="Bearer a long enough secret", Origin="http://localhost")[0] == 403
    finally:
        server.close()


def test_a_taken_port_is_no_reason_not_to_begin(server: ControlServer) -> None:
    port = int(server.url.rpartition(":")[2])
    second = ControlServer(ControlConfig(port=port), lambda: SystemStatus.PAUSED)
    try:
        assert second.url != server.url
        assert ask(f"{second.url}/api/status") == (200, {"status": SystemStatus.PAUSED.value})
    finally:
        second.close()
    with pytest.raises(ConfigError, match=r"control\.host"):
        ControlServer(ControlConfig(host="192.0.2.1"), lambda: SystemStatus.ACTIVE)


class Handle:
    """Counts what a part is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.pause, self.resume = self, self
        self._name = ""

    def __getattribute__(self, name: str) -> Any:
        if name in ("pause", "resume"):
            object.__setattr__(self, "_name", name)
        return object.__getattribute__(self, name)

    def remote(self) -> None:
        self.asked.append(self._name)


class FakePart:
    """A part with a status."""

    def __init__(self, status: Any) -> None:
        self.handle = Handle()
        self.status = status


def test_parts_are_asked_until_they_are_as_wanted() -> None:
    now = [0.0]
    conductor = Conductor(now=lambda: now[0])
    actor, learner = FakePart(ActorStatus(name="actor-0")), FakePart(LearnerStatus())
    evaluator, starting = FakePart(EvaluatorStatus()), FakePart(None)
    parts: Any = [actor, learner, evaluator, starting]
    conductor.look(parts)
    assert conductor.status() is SystemStatus.ACTIVE
    assert conductor.pause()
    assert not conductor.pause()
    now[0] = 10.0
    conductor.look(parts)
    conductor.look(parts)
    assert actor.handle.asked == learner.handle.asked == evaluator.handle.asked == ["pause", "pause"]
    assert starting.handle.asked == []
    assert conductor.status() is SystemStatus.PAUSING
    actor.status = replace(actor.status, paused=True)
    learner.status = replace(learner.status, waiting="paused")
    evaluator.status = replace(evaluator.status, paused=True)
    conductor.look(parts)
    assert len(actor.handle.asked) == 2
    assert conductor.status() is SystemStatus.PAUSED
    conductor.look(parts, [ActorStatus(name="actor-1")])
    assert conductor.status() is SystemStatus.PAUSING, "an actor on another host has not heard of it yet"
    assert conductor.stood == 10.0
    conductor.resume()
    now[0] = 20.0
    assert conductor.stood == 10.0
    conductor.look(parts)
    assert conductor.status() is SystemStatus.RESUMING
    assert learner.handle.asked[-1] == "resume"
    conductor.end()
    assert conductor.status() is SystemStatus.SHUTTING_DOWN
