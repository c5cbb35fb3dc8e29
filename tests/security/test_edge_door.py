"""A run and an actor of another host on a server that `engram keys` has prepared: each with its own file of secrets."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Redis is untyped in parts.

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from common.stream import StreamKeys, connect
from common.stream.control import runs_on
from deploy.keys.command import Keys, write_keys
from tests.runs import live, small_run, wait_until, writer_adds_up
from tests.security.servers import free_port, running
from tests.security.test_roles import environment


@pytest.mark.timeout(700)
def test_an_edge_actor_lives_by_its_own_file_of_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "keys"
    write_keys(Keys(folder=folder, port=free_port(), memory=256 * 2**20))
    ours, theirs = environment(folder, "learner"), environment(folder, "actor")
    monkeypatch.setenv("ENGRAM_STREAM_KEY", ours["ENGRAM_STREAM_KEY"])
    url = ours["ENGRAM_REDIS_URL"]
    small = small_run(tmp_path / "run", tmp_path / "cache")
    run = replace(
        small,
        redis_url=url,
        actors=replace(small.actors, count=0, edge=1),
        evaluator=replace(small.evaluator, enabled=False),
    )
    hidden = {name: value for name, value in os.environ.items() if not name.startswith(("ENGRAM_", "RAY_"))}
    with running(folder / "redis.conf", url), live(run) as going, connect(url) as client:
        server: Any = client
        wait_until(lambda: runs_on(client) != [], 200, "the run takes actors")
        edge = subprocess.Popen(
            [sys.executable, "-m", "actors", "--folder", str(tmp_path / "edge")],
            env={**hidden, **theirs, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            wait_until(lambda: going.status.actors[0].weights_version > 0, 300, "it acts by published weights")
            counts = going.status.learner.counts
            wait_until(lambda: going.status.learner.counts["actor-0"].admitted > 0, 60, f"it is learned from: {counts}")
            entries = cast("list[Any]", server.xrange(StreamKeys(going.driver.stream).frames("actor-0"), count=9))
            shown = Path(f"/proc/{edge.pid}/cmdline").read_text()
            edge.send_signal(signal.SIGINT)
            said = edge.communicate(timeout=60)[0]
        finally:
            edge.kill()
        final = going.stop()
        refused = cast("list[dict[str, Any]]", server.acl_log())
    assert edge.returncode == 0, said
    assert refused == [], "its rights are enough for all that it does"
    assert entries
    assert all(len(fields[b"sig"]) == 16 for _, fields in entries)
    assert writer_adds_up(final.actors[0].counts)
    read = final.learner.counts["actor-0"]
    assert (read.foreign, read.quarantined, read.missed, read.unread) == (0, 0, 0, 0)
    for secret in (theirs["ENGRAM_STREAM_KEY"], urlsplit(theirs["ENGRAM_REDIS_URL"]).password or "none"):
        assert secret not in said + shown
        for path in (path for path in tmp_path.rglob("*") if path.is_file() and folder not in path.parents):
            assert secret.encode() not in path.read_bytes(), path
