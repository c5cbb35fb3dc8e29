"""Half an hour of 4 actors × 30 FPS × 150 kB: flat memory in every process, and both identities at the end.

    actor × 4 ─► embedded server ─► learner: ingest, ring, steps ─► relay ─► embedded server ─► follower

`make soak ARGS=tests/soak/test_stream.py`; SOAK_SECONDS is its length, and the samples go to runs/soak-stream.json.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# SciPy is untyped in parts.

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.request import urlopen

import psutil
import pytest
from scipy.stats import theilslopes

from actors.worlds.sensor_log import read_sensor_log
from common.status import ReaderCounts, WriterCounts
from common.stream import connect
from deploy.memory import relay_bytes
from deploy.store import EmbeddedStore
from learner import checkpoint as checkpoints
from tests.runs import read_total, wait_until, writer_adds_up
from tests.soak.conditions import ACTORS, FPS, RING, soak_run

ROOT = Path(__file__).parents[2]
SECONDS = float(os.environ.get("SOAK_SECONDS", "1800"))
EVERY = 5.0
"""Seconds between samples."""
STEEPEST = 1.0
"""MB a minute: what the slope's upper 95 % bound must stay below."""
MEANINGFUL = 600.0
"""Seconds below which slopes are shown and not judged: warm-up weighs too much in them."""

pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS + 300)]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One process at one moment.

    Attributes:
        at: Seconds since the first sample.
        unique: Memory that would be free if the process ended (USS), MB.
        resident: RSS, MB.
        cpu: CPU time so far, all threads, user and system, seconds.
    """

    at: float
    unique: float
    resident: float
    cpu: float


class Soak:
    """The processes of one soak, by name."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        run = soak_run("")
        store = EmbeddedStore(run.stream.budget, extra=relay_bytes(run))
        stack.callback(store.stop)
        client = connect(store.url)
        server = int(cast(Any, client).info("server")["process_id"])
        client.close()
        self.processes: dict[str, psutil.Process] = {"server": psutil.Process(server)}
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._url = store.url
        self._start("learner", "tests.soak.learner_process")
        self._start("follower", "tests.soak.follower_process")
        self.actors = [f"actor-{index}" for index in range(ACTORS)]
        for index, name in enumerate(self.actors):
            self._start(name, "tests.soak.actor_process", index=index)

    def _start(self, name: str, module: str, **asked: Any) -> None:
        folder = self.folder / name
        folder.mkdir()
        words = json.dumps(asked | {"url": self._url, "folder": str(folder)})
        with (folder / "log").open("w") as output:
            started = subprocess.Popen(
                [sys.executable, "-m", module, words], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
            )
        self._stack.callback(started.wait)
        self._stack.callback(started.kill)
        self._started[name] = started
        self.processes[name] = psutil.Process(started.pid)

    def terminate(self, *names: str) -> None:
        for name in names:
            self._started[name].terminate()
        for name in names:
            assert self._started[name].wait(90) == 0, self.log(name)

    def check_alive(self) -> None:
        """Makes sure that all processes do."""
        for name, process in self._started.items():
            assert process.poll() is None, f"{name} ended: {self.log(name)}"

    def log(self, name: str) -> str:
        return (self.folder / name / "log").read_text("utf-8")[-2000:]

    def told(self, name: str, file: str) -> dict[str, Any]:
        return json.loads((self.folder / name / f"{file}.json").read_text("utf-8"))

    def began(self) -> bool:
        """Says whether frames are admitted and weights followed."""
        self.check_alive()
        files = [("learner", "learner"), ("follower", "follower"), *((name, "counts") for name in self.actors)]
        if not all((self.folder / name / f"{file}.json").exists() for name, file in files):
            return False
        return self.told("learner", "learner")["step"] > 0 and self.told("follower", "follower")["version"] > 0

    def scrape(self) -> None:
        """Reads the learner's metrics, as Prometheus would."""
        with urlopen(f"http://127.0.0.1:{self.told('learner', 'learner')['metrics_port']}/metrics") as answer:
            assert answer.read()


@pytest.fixture
def soak(tmp_path: Path) -> Iterator[Soak]:
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, tmp_path / "learner" / "checkpoints", ignore_errors=True)
        yield Soak(tmp_path, stack)


def watch(soak: Soak) -> dict[str, list[Sample]]:
    """Samples every process until the time is over; all must live for as long."""
    samples: dict[str, list[Sample]] = {name: [] for name in soak.processes}
    began = due = time.monotonic()
    while (now := time.monotonic() - began) < SECONDS:
        soak.check_alive()
        soak.scrape()
        for name, process in soak.processes.items():
            memory, times = process.memory_full_info(), process.cpu_times()
            samples[name].append(
                Sample(at=now, unique=memory.uss / 1e6, resident=memory.rss / 1e6, cpu=times.user + times.system)
            )
        due += EVERY
        time.sleep(max(0.0, due - time.monotonic()))
    return samples


def keep(samples: Mapping[str, Sequence[Sample]]) -> None:
    """Writes the samples to the runs' folder."""
    place = ROOT / "runs" / "soak-stream.json"
    place.parent.mkdir(exist_ok=True)
    rows = {name: [vars(sample) for sample in taken] for name, taken in samples.items()}
    place.write_text(json.dumps(rows), "utf-8")


def steepest(samples: Sequence[Sample]) -> float:
    """Upper 95 % bound of the slope of unique memory after the first third, MB a minute."""
    after = [sample for sample in samples if sample.at > SECONDS / 3]
    slopes = cast(Any, theilslopes)([sample.unique for sample in after], [sample.at for sample in after])
    return 60 * float(slopes[3])


def cpu_share(samples: Sequence[Sample]) -> float:
    """Cores that a process used between its first and its last sample."""
    first, last = samples[0], samples[-1]
    return (last.cpu - first.cpu) / (last.at - first.at)


def test_four_actors_for_half_an_hour(soak: Soak) -> None:
    wait_until(soak.began, 120, "steps of the learner, and weights on the follower")
    samples = watch(soak)
    keep(samples)
    soak.terminate(*soak.actors)
    soak.terminate("learner")
    learner = soak.told("learner", "learner")
    wait_until(lambda: soak.told("follower", "follower")["version"] == learner["version"], 10, "the last weights act")
    soak.terminate("follower")

    admitted = 0
    for name in soak.actors:
        counts = WriterCounts(**soak.told(name, "counts"))
        read = ReaderCounts(**learner["counts"][name])
        print(f"{name}: {soak.told(name, 'pace')}, {counts}, {read}")
        captures = read_sensor_log(soak.folder / name / "sensor")
        lived = (captures[-1] - captures[0]) / 1e9
        assert lived >= SECONDS
        assert len(captures) >= 0.99 * FPS * lived
        assert len(captures) == counts.captured
        assert writer_adds_up(counts)
        assert counts.spooled == read.unread == read.gated == read.duplicates == read.foreign == 0
        assert counts.written == read_total(read)
        assert read.admitted > 0
        admitted += read.admitted
    follower, version = soak.told("follower", "follower"), learner["version"]
    print(f"learner: {learner['step']} steps, {learner['experiences']} experiences, version {version}; {follower}")
    assert learner["ring"] == RING
    assert learner["step"] > 0
    assert learner["versions_acknowledged"] == version
    assert follower["acted"] > version / 2
    assert follower["digest"] == soak.told("learner", "published")[str(version)]
    saved = checkpoints.latest(soak.folder / "learner" / "checkpoints")
    assert saved is not None
    assert sum(checkpoints.load(saved).ledger["frames"]) == admitted

    slopes = {name: steepest(taken) for name, taken in samples.items()}
    shares = {name: cpu_share(taken) for name, taken in samples.items()}
    for name, taken in samples.items():
        print(f"{name}: {taken[-1].unique:.1f} MB, at most {slopes[name]:+.3f} MB a minute; {shares[name]:.3f} cores")
    print(f"all: {sum(shares.values()):.2f} cores")
    if SECONDS >= MEANINGFUL:
        assert max(slopes.values()) < STEEPEST, slopes
