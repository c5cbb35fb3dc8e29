"""Real processes that train together over loopback, against one that trains alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]

from common.errors import RunError
from learner.group import Rendezvous, interface_of
from learner.ranks import Ranks
from tests.learner.networks import TOGETHER, Ticks, different, everything, frames, masks_of
from tests.learner.rank import STEPS

RANKS = 2

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two ranks left what became of every recipe."""
    folder = tmp_path_factory.mktemp("ranks")
    meeting = Rendezvous("127.0.0.1", RANKS)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.learner.rank", str(folder), str(RANKS)]
    logs = [folder / f"{rank}.log" for rank in range(RANKS)]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(meeting.place(rank).port)],
            env=environment,
            stdout=log.open("w"),
            stderr=subprocess.STDOUT,
        )
        for rank, log in enumerate(logs)
    ]
    try:
        codes = [process.wait(250) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert codes == [0] * RANKS, "\n".join(log.read_text() for log in logs)
    return folder


def left_by(folder: Path, name: str, rank: int) -> dict[str, torch.Tensor]:
    return load_file(folder / f"{name}.{rank}.safetensors")


@pytest.mark.parametrize("name", TOGETHER)
def test_two_ranks_on_halves_are_one_on_the_whole(folder: Path, name: str) -> None:
    """Loss, regulariser, gradient norm, and after some steps all parameters, moments and averages."""
    alone = TOGETHER[name].build(clock=Ticks())
    theirs = left_by(folder, name, 0)
    for index in range(STEPS):
        report = alone(frames(index), masks_of(index)).read()
        for field in ("loss", "regulariser", "grad_norm"):
            assert float(theirs[f"report.{index}.{field}"]) == pytest.approx(report[field], rel=1e-4, abs=1e-6), field
    for key, value in everything(alone).items():
        if key != "step.masks":
            assert torch.allclose(value.float(), theirs[key].float(), rtol=1e-3, atol=2e-5), key


@pytest.mark.parametrize("name", TOGETHER)
def test_ranks_agree_to_the_bit(folder: Path, name: str) -> None:
    ours, theirs = (left_by(folder, name, rank) for rank in range(RANKS))
    assert different(ours, theirs) == ["step.masks"], "each draws masks of its own"


def test_a_step_that_is_broken_on_one_rank_is_undone_on_both(folder: Path) -> None:
    for rank in range(RANKS):
        found = left_by(folder, "broken", rank)
        assert found["skipped"] == 1
        assert found["moved"] == 0
        assert found["moved later"] > 0


def test_each_rank_draws_its_own_masks(folder: Path) -> None:
    ours, theirs = (left_by(folder, "masks", rank) for rank in range(RANKS))
    assert not torch.equal(ours["targets"], theirs["targets"])


def test_hosts_hear_the_same_of_each_other(folder: Path) -> None:
    ours, theirs = (json.loads((folder / f"talk.{rank}.json").read_text("utf-8")) for rank in range(RANKS))
    assert (ours.pop("first"), theirs.pop("first")) == (True, False)
    assert ours == theirs
    assert ours == {
        "each": [[0, -(2**60)], [1, -(2**60) - 1]],
        "lead": [10, 20],
        "all": [True, False, False],
        "collect": ["", "from the second \0 rank"],
        "nothing": ["", ""],
    }


def test_who_is_alone_agrees_with_himself() -> None:
    alone = Ranks()
    assert alone.all(True, False) == (True, False)
    assert list(alone.lead(3, 4)) == [3, 4]
    assert alone.collect(b"word") == [b"word"]
    assert alone.first


def test_the_meeting_place_is_open_on_one_address_only() -> None:
    meeting = Rendezvous("127.0.0.1", 2)
    port = meeting.place(1).port
    listening = [one.laddr for one in psutil.Process().net_connections() if one.status == "LISTEN"]
    assert [address.ip for address in listening if address.port == port] == ["127.0.0.1"]


def test_the_interface_of_an_address_is_found() -> None:
    loopback = interface_of("127.0.0.1")
    assert interface_of("127.0.0.2") == loopback, "all of 127/8 is loopback"
    with pytest.raises(RunError, match=r"203\.0\.113\.7"):
        interface_of("203.0.113.7")
