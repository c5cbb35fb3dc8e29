"""Ray's own list of its nodes, as the head of a cluster writes it, and a real Prometheus that reads it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.deploy.watching.monitor import SETTINGS, free_port, needs_prometheus, prometheus
from tests.runs import wait_until

pytestmark = [needs_prometheus, pytest.mark.timeout(400)]
NAME = "prom_metrics_service_discovery.json"


@pytest.fixture
def folder() -> Iterator[Path]:
    """The temporary folder of a head with its dashboard; short, since paths of sockets must be."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as name:
        words = ["start", "--head", "--block", "--port=0", f"--temp-dir={name}", "--num-cpus=1"]
        words += ["--include-dashboard=true", f"--dashboard-port={free_port()}", "--disable-usage-stats"]
        words += ["--object-store-memory=80000000"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        with (Path(name) / "log").open("w") as log:
            head = subprocess.Popen(
                [sys.executable, "-m", "ray.scripts.scripts", *words], stdout=log, stderr=log, env=environment
            )
        try:
            wait_until(lambda: head.poll() is not None or (Path(name) / NAME).exists(), 180, "Ray writes the list")
            assert head.poll() is None, (Path(name) / "log").read_text("utf-8")
            yield Path(name)
        finally:
            head.terminate()
            head.wait(60)


def test_prometheus_scrapes_the_nodes_of_ray(folder: Path, tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/sd"
    with prometheus(tmp_path / "prometheus", nobody, rays=folder) as server:
        wait_until(lambda: bool(server.vector('up{job="ray"} == 1')), 60, "a node of Ray is up")
        wait_until(lambda: bool(server.vector('ray_node_mem_total{job="ray"}')), 120, "it says what it has")
        assert server.vector('up{job="engram"}') == {}


def test_the_list_is_asked_for_often() -> None:
    """It is a link, so a change of what it leads to is no event in its folder; else new nodes wait for five minutes."""
    config = yaml.safe_load((SETTINGS / "prometheus.yml").read_text("utf-8"))
    (job,) = [job for job in config["scrape_configs"] if job["job_name"] == "ray"]
    (discovery,) = job["file_sd_configs"]
    assert discovery["files"] == [f"/tmp/ray/{NAME}"]
    assert discovery["refresh_interval"] == "15s"
