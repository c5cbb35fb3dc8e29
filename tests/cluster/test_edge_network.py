"""An actor on the far side of a network that goes away: in a namespace of its own, over TLS, to a real Redis."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from actors.worlds.sensor_log import read_sensor_log
from common.stream import connect
from common.stream.control import runs_on
from tests.runs import live, small_run, wait_until, writer_adds_up

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

CUT = 60.0
"""Seconds for which the network is gone."""


@dataclass(frozen=True)
class Network:
    """This host's end of a cable to another one.

    Attributes:
        name: Of the namespace that is the other host.
        here: Name of the device.
        address: Of this end.
    """

    name: str
    here: str
    address: str

    def command(self, *words: str) -> list[str]:
        """What runs on the other host."""
        return ["ip", "netns", "exec", self.name, *words]

    def plug(self, in_: bool) -> None:
        ip("link", "set", self.here, "up" if in_ else "down")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def network() -> Generator[Network]:
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("needs iproute2 and root")
    mark = os.getpid() % 250
    made = Network(f"edge{mark}", f"en{mark}", f"10.231.{mark}.1")
    ip("netns", "add", made.name)
    try:
        ip("link", "add", made.here, "type", "veth", "peer", "name", "far", "netns", made.name)
        ip("addr", "add", f"{made.address}/24", "dev", made.here)
        made.plug(True)
        for words in (("addr", "add", f"10.231.{mark}.2/24", "dev", "far"), ("link", "set", "far", "up")):
            subprocess.run(made.command("ip", *words), check=True)
        subprocess.run(made.command("ip", "link", "set", "lo", "up"), check=True)
        yield made
    finally:
        ip("netns", "del", made.name)


@contextmanager
def server(network: Network, folder: Path) -> Generator[str]:
    """A Redis of the user's own, with TLS and a password."""
    if shutil.which("redis-server") is None or shutil.which("openssl") is None:
        pytest.skip("needs redis-server and openssl")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=engram"),
            *("-addext", f"subjectAltName=IP:{network.address}", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    password = secrets.token_urlsafe(16)
    configuration = folder / "redis.conf"
    configuration.write_text(
        f"port 0\ntls-port 6390\nbind {network.address}\ntls-cert-file {certificate}\ntls-key-file {key}\n"
        f'tls-auth-clients no\nrequirepass {password}\nsave ""\ndir {folder}\n'
    )
    process = subprocess.Popen(["redis-server", str(configuration)], stdout=subprocess.DEVNULL)
    try:
        time.sleep(1.0)
        yield f"rediss://:{password}@{network.address}:6390?ssl_ca_certs={certificate}"
    finally:
        process.terminate()
        process.wait(10)


def test_a_minute_without_network_costs_no_frame(network: Network, tmp_path: Path) -> None:
    with server(network, tmp_path) as url:
        run = small_run(tmp_path / "run", tmp_path / "cache")
        actors = replace(run.actors, count=0, edge=1, spool=2 * CUT)
        config = replace(run, redis_url=url, actors=actors, stream=replace(run.stream, weights=False))
        with live(config) as driver:
            with connect(url) as client:
                wait_until(lambda: runs_on(client) == [driver.driver.stream], 120, "the run takes actors")
            edge = subprocess.Popen(
                network.command(sys.executable, "-m", "actors", "--folder", str(tmp_path / "edge")),
                env={**os.environ, "ENGRAM_REDIS_URL": url, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            try:
                wait_until(lambda: driver.status.actors[0].weights_version > 0, 90, "it acts by published weights")
                wait_until(lambda: driver.status.learner.step > 0, 60, "the learner trains on what it sees")
                network.plug(False)
                before = driver.status.actors[0]
                time.sleep(CUT)
                lonely = driver.status
                assert lonely.actors[0].frames <= before.frames + 20, "nothing came through"
                network.plug(True)
                wait_until(lambda: driver.status.actors[0].frames > before.frames + 9 * CUT, 60, "it is back")
                wait_until(lambda: driver.status.actors[0].counts.spooled < 5, 60, "what waited is written")
                version = driver.status.learner.version
                wait_until(lambda: driver.status.actors[0].weights_version >= version, 60, "newer weights act")
                edge.send_signal(signal.SIGTERM)
                said = edge.communicate(timeout=60)[0]
                assert edge.returncode == 0, said
            finally:
                if edge.poll() is None:
                    edge.kill()
                    edge.wait()
            final = driver.stop()
    counts = final.actors[0].counts
    seen = read_sensor_log(tmp_path / "edge" / "actor-0.sensor")
    assert counts.captured == counts.written == len(seen)
    assert counts.dropped == dict.fromkeys(counts.dropped, 0)
    assert writer_adds_up(counts)
    assert np.diff(np.array(seen)).max() < 2e9, "it lived on"
    read = final.learner.counts["actor-0"]
    assert (read.missed, read.unread, read.quarantined) == (0, 0, 0)
    assert read.guard + read.withheld + read.admitted + read.gated == counts.written
    assert final.actors[0].reconnects >= 1
    assert url not in said
