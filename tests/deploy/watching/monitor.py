"""A real Prometheus with the project's configuration and rules, for as long as a block."""

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.runs import wait_until

ROOT = Path(__file__).parents[3]
SETTINGS = ROOT / "deploy" / "prometheus"
RULES = ("recording.yaml", "alerts.yaml")
INTERVAL = 2.0
"""Seconds between two scrapes in tests; 5 in the file."""

needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="Debian's prometheus is not here")

type Labels = tuple[tuple[str, str], ...]
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def faster(rules: str, factor: float) -> str:
    """The rules with every window and every `for` shortened, to no less than four scrapes and a half respectively."""

    def shorten(least: float) -> Callable[[re.Match[str]], str]:
        def replace(match: re.Match[str]) -> str:
            seconds = float(match[2]) * _UNITS[match[3]] / factor
            return f"{match[1]}{max(1, round(max(least, seconds)))}s{match[4]}"

        return replace

    rules = re.sub(r"(\[)(\d+)([smh])(\])", shorten(4 * INTERVAL), rules)
    return re.sub(r"(for: )(\d+)([smh])()", shorten(INTERVAL / 2), rules)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def get(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{error.code}: {error.read().decode()}") from error


class RealPrometheus:
    """What is asked of it."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    @property
    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=2):
                return True
        except OSError:
            return False

    def ask(self, path: str, **arguments: Any) -> Any:
        answer = get(f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(arguments)}")
        assert answer["status"] == "success", answer
        return answer["data"]

    def vector(self, expr: str, at: float | None = None) -> dict[Labels, float]:
        """Value by labels at a moment, now by default."""
        data = self.ask("query", query=expr, **({} if at is None else {"time": at}))
        if data["resultType"] == "scalar":
            return {(): float(data["result"][1])}
        return {tuple(sorted(item["metric"].items())): float(item["value"][1]) for item in data["result"]}

    def samples(self, selector: str, seconds: int) -> list[tuple[float, float]]:
        """Time and value of the stored samples of the one series that the selector names, of the last seconds."""
        (series,) = self.ask("query", query=f"{selector}[{seconds}s]")["result"]
        return [(float(t), float(value)) for t, value in series["values"]]

    def firing(self) -> dict[str, list[Mapping[str, Any]]]:
        """Alerts that fire now, by name."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for alert in self.ask("alerts")["alerts"]:
            if alert["state"] == "firing":
                found.setdefault(alert["labels"]["alertname"], []).append(alert)
        return found

    def rule_problems(self) -> list[str]:
        """Rules whose last evaluation failed."""
        groups = self.ask("rules")["groups"]
        return [f"{rule['name']}: {rule['lastError']}" for g in groups for rule in g["rules"] if rule.get("lastError")]


@contextmanager
def prometheus(folder: Path, url: str, *, factor: float = 1.0, rays: Path | None = None) -> Generator[RealPrometheus]:
    """Prometheus on a free port, with the project's files but for the run's port and the times.

    Args:
        folder: An empty folder for its files.
        url: The run's `/sd`.
        factor: By how much windows and waits of the rules are shortened.
        rays: Ray's temporary folder; None for an empty one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = yaml.safe_load((SETTINGS / "prometheus.yml").read_text("utf-8"))
    times = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), f"{INTERVAL:g}s")
    assert set(config["global"]) == set(times)
    config["global"] = times
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    (discovery,) = jobs["engram"]["http_sd_configs"]
    discovery |= {"url": url, "refresh_interval": "1s"}
    (discovery,) = jobs["ray"]["file_sd_configs"]
    (listed,) = discovery["files"]
    discovery["files"] = [str((rays or folder) / Path(listed).name)]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
    for name in RULES:
        (folder / name).write_text(faster((SETTINGS / name).read_text("utf-8"), factor), "utf-8")
    port = free_port()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        server = RealPrometheus(port)
        wait_until(lambda: process.poll() is not None or server.ready, 30, "Prometheus is ready")
        assert process.poll() is None, (folder / "log").read_text()
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def settle(seconds: float) -> None:
    """Waits for scrapes."""
    time.sleep(seconds)
