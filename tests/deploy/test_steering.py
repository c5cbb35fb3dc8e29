"""`engram status` and `engram stop`: a real run, seen and ended from other processes."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
from pamiq_core.console import SystemStatus

from common.config.control import ControlConfig
from common.errors import ConfigError, RunError
from deploy.address import NAME, StreamAddress
from deploy.cli import main
from deploy.control.server import TOKEN_VARIABLE, ControlServer
from deploy.rundir import read_rows
from deploy.steering import ask_to_end, find_run, read_status, wait_for_end
from tests.runs import live, small_run, wait_until

ENGRAM = Path(sys.executable).parent / "engram"


def engram(*words: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "80"}
    return subprocess.run(
        [ENGRAM, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=110, check=False
    )


@pytest.mark.timeout(500)
def test_a_real_run_is_shown_and_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "runs" / "one"
    with live(small_run(folder, tmp_path / "cache")) as run:
        wait_until(lambda: run.status.learner.step > 5, 240, "the run trains")
        address = StreamAddress.read(folder)
        assert address is not None
        assert address.control_url == run.status.control_url
        assert stat.S_IMODE((folder / NAME).stat().st_mode) == 0o600

        shown = engram("status", folder=tmp_path)
        assert shown.returncode == 0, shown.stderr
        lines = dict(line.split(maxsplit=1) for line in shown.stdout.splitlines() if line.strip())
        assert lines["run"].startswith("runs/one: running, 0:")
        assert "freedoom2:map0" in lines["actor-0"]
        assert "fps" in lines["actor-1"]
        assert int(lines["learner"].split()[1].rstrip(",")) > 5
        assert lines["control"].strip() == run.status.control_url
        assert lines["metrics"].strip() == run.status.metrics_url
        assert lines["restarts"].strip() == "none"

        told = json.loads(engram("status", str(folder), "--json", folder=tmp_path).stdout)
        assert told["run_dir"] == str(folder)
        assert [actor["name"] for actor in told["actors"]] == ["actor-0", "actor-1"]
        assert told["learner"]["step"] > 5
        assert address.url not in json.dumps(told)

        # A process would be waited for in vain: here it descends from the driver, which ends all of its descendants.
        assert main(["stop", str(folder), "--wait", "90s"]) == 0
        wait_until(lambda: run.final is not None, 60, "the driver has returned")
        assert run.final is not None
        assert capsys.readouterr().out == f"{folder} has ended at step {run.final.learner.step}\n"
    assert "shutdown_asked" in [row["kind"] for row in read_rows(folder / "events.jsonl")]
    again = engram("stop", folder=tmp_path)
    assert again.returncode == 2
    assert "holds no run that is going on" in again.stderr
    assert engram("status", str(folder), folder=tmp_path).returncode == 2


type Begin = Callable[..., StreamAddress]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Starts a process that could be a driver, which has written its address."""
    begun: list[subprocess.Popen[bytes]] = []

    def start(name: str, **urls: str) -> StreamAddress:
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(90)"])
        begun.append(process)
        since = psutil.Process(process.pid).create_time()
        address = StreamAddress(stream=name, url="", pid=process.pid, began=since, **urls)
        (tmp_path / name).mkdir()
        address.write(tmp_path / name)
        return address

    yield start
    for process in begun:
        process.kill()
        process.wait()


def test_the_run_that_began_last_is_found(tmp_path: Path, begin: Begin) -> None:
    with pytest.raises(ConfigError, match="holds no run"):
        find_run(Path(), tmp_path)
    begin("b")
    time.sleep(0.05)
    newest = begin("a")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / NAME).write_text("{")
    assert find_run(Path(), tmp_path) == (tmp_path / "a", newest)
    assert find_run(tmp_path / "b", tmp_path)[1].stream == "b"
    with pytest.raises(ConfigError, match="of a run that goes on"):
        find_run(tmp_path / "broken", tmp_path)
    os.kill(newest.pid, signal.SIGKILL)
    os.waitpid(newest.pid, 0)
    assert find_run(Path(), tmp_path)[1].stream == "b"


def test_an_older_file_says_nothing_of_where_it_listens(tmp_path: Path, begin: Begin) -> None:
    address = begin("old")
    fields = asdict(address)
    del fields["status_url"], fields["control_url"]
    (tmp_path / "old" / NAME).write_text(json.dumps(fields))
    folder, found = find_run(tmp_path / "old", tmp_path)
    assert found == address
    with pytest.raises(RunError, match=r"does not say where it listens"):
        read_status(folder, found)


def test_a_file_that_names_something_else_than_a_server_is_not_followed(tmp_path: Path, begin: Begin) -> None:
    address = begin("odd", status_url="file:///etc/hostname", control_url="file:///etc/hostname#")
    for asked in (read_status, ask_to_end):
        with pytest.raises(RunError, match=r"names 'file:///etc/hostname.*', where no run of ours listens"):
            asked(tmp_path / "odd", address)


def test_a_run_without_a_control_api_is_ended_by_a_signal(tmp_path: Path, begin: Begin) -> None:
    address = begin("quiet", status_url="http://127.0.0.1:1/status")
    ask_to_end(tmp_path / "quiet", address)
    _, ended = os.waitpid(address.pid, 0)
    assert os.WTERMSIG(ended) == signal.SIGTERM
    assert wait_for_end(tmp_path / "quiet", address, 5.0)


def test_a_run_that_was_killed_has_not_ended_in_order(
    tmp_path: Path, begin: Begin, capsys: pytest.CaptureFixture[str]
) -> None:
    address = begin("killed")
    assert main(["stop", str(tmp_path / "killed")]) == 1, "the process knows no order, and dies of the signal"
    assert "its driver died" in capsys.readouterr().err
    assert not psutil.pid_exists(address.pid) or psutil.Process(address.pid).status() == psutil.STATUS_ZOMBIE


def test_a_run_that_does_not_end_in_time(tmp_path: Path, begin: Begin, capsys: pytest.CaptureFixture[str]) -> None:
    server = ControlServer(ControlConfig(port=0), lambda: SystemStatus.ACTIVE)
    try:
        wait_until(lambda: can_be_asked(server), 10, "the server answers")
        begin("long", control_url=server.url, status_url="http://127.0.0.1:1/status")
        assert main(["stop", str(tmp_path / "long"), "--wait", "0.5s"]) == 1
        assert "still goes on after 0.5 s" in capsys.readouterr().err
        assert server.has_commands()
        assert main(["stop", str(tmp_path / "long"), "--wait", "0s"]) == 0
        assert main(["status", str(tmp_path / "long")]) == 1
        assert "may be ending" in capsys.readouterr().err
    finally:
        server.close()


def can_be_asked(server: ControlServer) -> bool:
    import socket

    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", int(server.url.rpartition(":")[2]))) == 0


def test_beyond_loopback_the_token_goes_along(
    tmp_path: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "a long enough secret")
    server = ControlServer(ControlConfig(host="0.0.0.0", port=0), lambda: SystemStatus.ACTIVE)
    try:
        wait_until(lambda: can_be_asked(server), 10, "the server answers")
        begin("far", control_url=server.url)
        assert main(["stop", str(tmp_path / "far"), "--wait", "0s"]) == 0
        assert server.has_commands()
        monkeypatch.setenv(TOKEN_VARIABLE, "not that long secret")
        assert main(["stop", str(tmp_path / "far"), "--wait", "0s"]) == 1
        said = capsys.readouterr().err
        assert f"set {TOKEN_VARIABLE} to the run's" in said
        assert "secret" not in said
    finally:
        server.close()
