"""Programs for plain pamiq-core, under its own launch and under ours: the same kind of results, shared states."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from pamiq_core.console import SystemStatus
from pamiq_core.console.web_api import WebApiClient

import engram
from common.errors import ConfigError
from tests.launch.programs import minimal
from tests.runs import wait_until

pytestmark = pytest.mark.timeout(400)

LOCAL, DISTRIBUTED = "local", "distributed"


class Launched:
    """A program that runs, in a process of its own."""

    def __init__(self, how: str, program: str, folder: Path, state: Path | None, settings: dict[str, int]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._folder, self._how = folder, how
        self._before = len(self.notes()) if folder.exists() else 0
        folder.mkdir(exist_ok=True)
        self.log = folder / f"{how}.log"
        words = [how, program, str(folder), str(port), str(state or ""), *(f"{k}={v}" for k, v in settings.items())]
        with self.log.open("w") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "tests.launch", *words],
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.api = WebApiClient("127.0.0.1", port)

    def notes(self) -> list[dict[str, Any]]:
        """What the trainers of all launches of this kind have noted."""
        path = self._folder / f"{self._how}.jsonl"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

    def mine(self) -> list[dict[str, Any]]:
        """What the trainers of this launch have noted."""
        return self.notes()[self._before :]

    def said(self) -> str:
        return self.log.read_text("utf-8")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        def holds() -> bool:
            assert self.popen.poll() is None, self.said()[-4000:]
            return condition()

        wait_until(holds, 150, what)

    def shut_down(self) -> Path:
        """Ends it as a user does; returns where its state is."""
        self.api.shutdown()
        assert self.popen.wait(90) == 0, self.said()[-4000:]
        return sorted((self._folder / self._how).glob("*.state"))[-1]


@contextmanager
def launched(
    how: str, program: str, folder: Path, *, state: Path | None = None, **settings: int
) -> Generator[Launched]:
    made = Launched(how, program, folder, state, settings)
    try:
        yield made
    finally:
        if made.popen.poll() is None:
            made.popen.send_signal(signal.SIGINT)
            try:
                made.popen.wait(60)
            except subprocess.TimeoutExpired:
                made.popen.kill()


def trained(how: str, program: str, folder: Path, *, state: Path | None = None, **settings: int) -> tuple[Any, Path]:
    """Lets a program train six times more; returns its notes and where its state is."""
    with launched(how, program, folder, state=state, **settings) as run:
        run.until(lambda: len(run.mine()) >= 6, "six trainings")
        saved = run.shut_down()
        if how == DISTRIBUTED:
            (said,) = re.findall(r"(\d+) data collected, (\d+) fed to the trainers' buffers, (\d+) lost", run.said())
            assert said[0] == said[1]
            assert said[2] == "0"
        return run.mine(), saved


def test_a_model_without_torch_and_states_that_cross(tmp_path: Path) -> None:
    """Ten new data a training under both; each goes on from the other's state."""
    state: Path | None = None
    newest, size = 0, 0
    for how in (LOCAL, DISTRIBUTED, LOCAL):
        notes, state = trained(how, "minimal", tmp_path / "run", state=state)
        assert {path.name for path in state.iterdir()} == {"interaction", "models", "data", "trainers", "time.pkl"}
        steps = [later["newest"] - earlier["newest"] for earlier, later in pairwise(notes)]
        assert min(steps) >= 10
        assert sorted(steps)[len(steps) // 2] <= 13, "no training waits for longer than for ten data"
        assert notes[0]["newest"] > newest, "the environment goes on"
        assert notes[0]["size"] > size, "and so does the buffer"
        newest, size = notes[-1]["newest"], notes[-1]["size"]
        assert (state / "models" / "mean.txt").read_text() == str(notes[-1]["mean"])


@pytest.mark.parametrize("program", ["autoencoder", "gymnasium_pole"])
def test_losses_go_down_under_both(tmp_path: Path, program: str) -> None:
    for how in (LOCAL, DISTRIBUTED):
        notes, _ = trained(how, program, tmp_path / "run")
        assert notes[-1]["loss"] < notes[0]["loss"], how


def test_hidden_states_optimisers_and_models_that_only_act_cross_too(tmp_path: Path) -> None:
    state: Path | None = None
    steps, loss = 0, float("inf")
    scales: set[bytes] = set()
    for how in (DISTRIBUTED, LOCAL):
        notes, state = trained(how, "nested", tmp_path / "run", state=state)
        assert notes[0]["steps"] > steps
        assert notes[0]["loss"] < loss, "it goes on with what it has learned"
        steps, loss = notes[-1]["steps"], notes[0]["loss"]
        scales.add(tensors(state / "models" / "scale.pt"))
        assert (state / "trainers" / "forecasting" / "adam.optim.pt").exists()
        assert (state / "interaction" / "agent" / "inner.pt").exists()
    assert len(scales) == 1, "what only acts is the same everywhere, and is never trained"


def tensors(path: Path) -> bytes:
    import torch

    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
    return b"".join(state[name].numpy().tobytes() for name in sorted(state))


def test_several_actors_pause_save_and_go_on_together(tmp_path: Path) -> None:
    with launched(DISTRIBUTED, "nested", tmp_path / "run", actors=2) as run:
        run.until(lambda: len(run.mine()) >= 2, "it trains")
        run.api.pause()
        run.until(lambda: run.api.get_status() is SystemStatus.PAUSED, "it pauses")
        before = len(run.mine())
        run.api.save_state()
        run.until(lambda: bool(list((tmp_path / "run" / DISTRIBUTED).glob("*.state"))), "it saves in a pause")
        time.sleep(1.5)
        assert len(run.mine()) == before
        run.api.resume()
        run.until(lambda: len(run.mine()) >= before + 2, "it goes on")
        state = run.shut_down()
        assert " 0 lost" in run.said()
        assert not [child for child in psutil.Process().children(recursive=True) if "ray" in child.name()]
    names = {path.name for path in state.iterdir()}
    assert names == {"interaction", "interaction-1", "models", "data", "trainers", "time.pkl"}
    assert min(steps_of(state / name) for name in ("interaction", "interaction-1")) > 0


def steps_of(folder: Path) -> int:
    import torch

    return int(torch.load(folder / "agent" / "inner.pt", weights_only=True)["steps"])


def test_a_failure_is_named_and_the_state_is_saved(tmp_path: Path) -> None:
    with launched(DISTRIBUTED, "failing", tmp_path / "run") as run:
        assert run.popen.wait(120) == 1
        assert "RunError: trainers failed: ZeroDivisionError: division by zero" in run.said()
        assert list((tmp_path / "run" / DISTRIBUTED).glob("*.state"))


@pytest.mark.faults
def test_one_state_is_loaded_into_several_actors(tmp_path: Path) -> None:
    _, state = trained(LOCAL, "nested", tmp_path / "run")
    before = steps_of(state / "interaction")
    _, state = trained(DISTRIBUTED, "nested", tmp_path / "run", state=state, actors=2)
    assert steps_of(state / "interaction") > before
    assert steps_of(state / "interaction-1") > before


@pytest.mark.faults
def test_a_killed_actor_ends_the_system_with_a_word(tmp_path: Path) -> None:
    with launched(DISTRIBUTED, "minimal", tmp_path / "run") as run:
        run.until(lambda: len(run.mine()) >= 1, "it trains")
        (pid,) = set(re.findall(r"pid=(\d+)\).*actor-0", run.said())) or {""}
        os.kill(int(pid), signal.SIGKILL)
        assert run.popen.wait(120) == 1
        assert "actor-0: its process died" in run.said()


def test_what_cannot_be_is_refused_before_anything_starts() -> None:
    ready: Any = minimal.models()
    with pytest.raises(ConfigError, match="models = 'dict': must be a function"):
        engram.launch(minimal.interaction, ready, minimal.buffers, minimal.trainers)
    with pytest.raises(ConfigError, match=r"actor = 2: is unknown; there are .*actors"):
        engram.launch(minimal.interaction, minimal.models, minimal.buffers, minimal.trainers, {"actor": 2})
    with pytest.raises(ConfigError, match="actors = 0: must be at least 1"):
        engram.launch(minimal.interaction, minimal.models, minimal.buffers, minimal.trainers, {"actors": 0})
