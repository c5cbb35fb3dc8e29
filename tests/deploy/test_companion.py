"""What outlives Ray on a host, and for how long: the head's Redis, and what a worker's raylet leaves behind."""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from common.errors import ConfigError
from deploy.companion import listens, where
from deploy.leaving import company, end
from tests.runs import wait_until

_QUICK = "import deploy.companion as it; it.EVERY, it.WAITS = 0.1, 1.0; it.main()"


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")
def test_the_server_ends_a_while_after_ray(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = tmp_path / "redis.conf"
    file.write_text(f'bind 127.0.0.1\nport {port}\nsave ""\ndir {tmp_path}\n')
    assert where(file) == ("127.0.0.1", port)
    with socket.create_server(("127.0.0.1", 0)) as ray:
        place = ray.getsockname()
        companion = subprocess.Popen([sys.executable, "-c", _QUICK, str(file), place[0], str(place[1])])
        wait_until(lambda: listens("127.0.0.1", port), 30, "the server listens")
        time.sleep(2)
        assert companion.poll() is None
    assert companion.wait(30) == 0
    assert not listens("127.0.0.1", port)


def test_a_configuration_that_names_no_port_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "redis.conf"
    with pytest.raises(ConfigError, match="cannot be read"):
        where(file)
    file.write_text("port 0\n# tls-port 6380\n")
    with pytest.raises(ConfigError, match="names no port"):
        where(file)
    file.write_text("tls-port 6380\nport 0\nbind -10.0.0.1 127.0.0.1\n")
    assert where(file) == ("10.0.0.1", 6380)


def test_who_belongs_to_a_raylet_is_ended_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(99)"
    )
    parent = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); time.sleep(99)"
    raylet = subprocess.Popen(
        [sys.executable, "-c", parent, stubborn, "--session_dir=/tmp/ray/session_a"], stdout=subprocess.PIPE
    )
    beside = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)", "--session-dir=/tmp/ray/session_a"])
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)", "--session-dir=/tmp/ray/session_b"])
    try:
        assert raylet.stdout is not None
        assert raylet.stdout.readline() == b"up\n"
        found = company(psutil.Process(raylet.pid))
        assert psutil.Process(beside.pid) in found
        assert psutil.Process(other.pid) not in found
        assert len(found) == 2
        raylet.kill()
        monkeypatch.setattr("deploy.leaving.PATIENCE", 0.5)
        end(found)
        assert all(not process.is_running() or process.status() == psutil.STATUS_ZOMBIE for process in found)
        assert other.poll() is None
    finally:
        for process in (raylet, beside, other):
            process.kill()
            process.wait()
