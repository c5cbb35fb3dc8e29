"""Ray's own door: a real head, those who have no token or a wrong one, and the addresses that it listens at."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HEAD = """
import json, logging, sys, tempfile, psutil, ray
from deploy.loopback import LOOPBACK, confine
confine()
ray.init(
    address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
    object_store_memory=80 * 2**20, _temp_dir=sys.argv[1], _node_ip_address=LOOPBACK,
)
@ray.remote
class Part:
    def pid(self):
        import os
        return os.getpid()
part = Part.remote()
ray.get(part.pid.remote())
me = psutil.Process()
listening = [
    [process.name(), one.laddr.ip]
    for process in [me, *me.children(recursive=True)]
    for one in process.net_connections("inet")
    if one.status == psutil.CONN_LISTEN
]
print(json.dumps({"address": ray.get_runtime_context().gcs_address, "listening": listening}), flush=True)
sys.stdin.read()
ray.shutdown()
"""
STRANGER = """
import logging, sys, ray
from deploy.loopback import LOOPBACK, confine
confine()
ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.ERROR, _node_ip_address=LOOPBACK)
@ray.remote
def run():
    return "code of mine ran"
print(ray.get(run.remote(), timeout=60))
"""
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Head:
    address: str
    listening: list[tuple[str, str]]
    token: Path


def environment(token: Path | None, **more: str) -> dict[str, str]:
    """That of a process which has this token, and no other."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    named = {"RAY_AUTH_TOKEN_PATH": str(token)} if token else {}
    return {**kept, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", **named, **more}


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    folder = tmp_path_factory.mktemp("ray")
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD, str(folder / "s")],
        env=environment(token),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    yield Head(said["address"], [(name, ip) for name, ip in said["listening"]], token)
    process.communicate(timeout=60)


def attempt(head: Head, environ: dict[str, str], home: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", STRANGER, head.address],
        env={**environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@pytest.mark.timeout(400)
def test_who_has_the_token_runs_code_and_nobody_else(head: Head, tmp_path: Path) -> None:
    wrong = tmp_path / "token"
    wrong.write_text(secrets.token_hex(32))
    assert "code of mine ran" in attempt(head, environment(head.token), tmp_path).stdout
    for what, environ in (
        ("a wrong token", environment(wrong)),
        ("none", environment(None)),
        ("no authentication", environment(None, RAY_AUTH_MODE="disabled")),
    ):
        done = attempt(head, environ, tmp_path)
        assert done.returncode != 0, what
        assert "code of mine ran" not in done.stdout, what
        assert "token" in done.stderr.lower(), what
        assert head.token.read_text() not in done.stdout + done.stderr, what


def test_it_listens_on_loopback_alone(head: Head) -> None:
    names = {name for name, _ in head.listening}
    assert {"gcs_server", "raylet"} <= names
    assert len(head.listening) >= 6
    assert {ip.removeprefix("::ffff:") for _, ip in head.listening} == {"127.0.0.1"}, head.listening
