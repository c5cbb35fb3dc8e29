"""A real run whose learner is two processes, from the command line to the last file."""

import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import psutil
import pyarrow.parquet
import pytest
import torch

from common.config.files import to_yaml
from common.weights import digest
from deploy.rundir import read_rows
from learner import checkpoint as checkpoints
from learner.checkpoint import Checkpoint
from tests.runs import small_run, wait_until

pytestmark = pytest.mark.timeout(400)

RANKS = 2
FATES = ("missed", "quarantined", "gated", "guard", "withheld", "admitted")


def steps(run_dir: Path) -> float:
    """Steps that the metrics tell of."""
    rows: Iterable[dict[str, Any]] = (
        read_rows(run_dir / "metrics.jsonl") if (run_dir / "metrics.jsonl").exists() else []
    )
    return max((float(row["engram_learner_step"]) for row in rows if row["part"] == "learner"), default=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of a few seconds left behind; it ended well, and so did all of its processes."""
    folder = tmp_path_factory.mktemp("ranks")
    config = small_run(folder / "run", folder / "cache")
    config = replace(config, evaluator=replace(config.evaluator, enabled=False))
    (folder / "config.yaml").write_text(to_yaml(config), "utf-8")
    flags = ["--config", "config.yaml", "--learner.ranks", str(RANKS), "--duration", "0", "--run-dir", "run"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "engram", "run", *flags], cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: steps(folder / "run") > 20 or process.poll() is not None, 200, "twenty steps")
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        process.wait(90)
    finally:
        process.kill()
    assert process.returncode == 0, (folder / "log").read_text("utf-8")
    assert len(family) > 5
    assert not psutil.wait_procs(family, timeout=5)[1]
    return folder


@pytest.fixture(scope="module")
def last(folder: Path) -> Checkpoint:
    path = checkpoints.latest(folder / "run" / "checkpoints")
    assert path is not None
    return checkpoints.load(path)


def test_all_ranks_end_with_the_same_weights(last: Checkpoint) -> None:
    assert len(last.others) == RANKS - 1
    assert last.step > 20
    weights = digest({name: torch.from_numpy(array) for name, array in last.model.items()}, torch.float32)  # pyright: ignore[reportUnknownMemberType]
    assert {one.state["digest"] for one in (last, *last.others)} == {weights}
    assert {one.step for one in last.others} == {last.step}


def test_each_rank_has_drawn_its_half_of_every_batch(last: Checkpoint) -> None:
    batch = small_run(Path(), Path()).learner.optim.batch_size
    assert [one.state["images"] for one in (last, *last.others)] == [last.step * batch // RANKS] * RANKS


def test_every_entry_is_one_rank_s(folder: Path, last: Checkpoint) -> None:
    """Written = what all ranks account for together; each has about as much, and none a frame that another has too."""
    ranks = [one.state["ingest"] for one in (last, *last.others)]
    rows = list(read_rows(folder / "run" / "metrics.jsonl"))
    for actor in ("actor-0", "actor-1"):
        written = [row for row in rows if row["part"] == actor][-1]["engram_actor_written_frames_total"]
        shares = [
            sum(rank["counts"][actor].values())
            + rank["positions"][actor]["missed"]
            + rank["positions"][actor]["quarantined"]
            for rank in ranks
        ]
        assert sum(shares) == written > 50
        assert max(shares) - min(shares) <= 1
        told = [row for row in rows if row["part"] == "learner"][-1]
        labels = [f'engram_learner_read_entries_total{{actor="{actor}",fate="{fate}"}}' for fate in FATES]
        assert sum(told[label] for label in labels) == written
        assert told[f'engram_learner_unread_entries{{actor="{actor}"}}'] == 0
    buffers = [{frame.tobytes() for frame in one.replay["frames"]} for one in (last, *last.others)]
    assert len(buffers[0] & buffers[1]) < 0.1 * min(map(len, buffers)), "of an actor that stands still, some are equal"


def test_the_ledger_is_that_of_all_ranks(folder: Path, last: Checkpoint) -> None:
    ledger = cast(dict[str, list[Any]], pyarrow.parquet.read_table(folder / "run" / "ledger.parquet").to_pydict())  # pyright: ignore[reportUnknownMemberType]
    assert len(set(ledger["experience"])) == len(ledger["experience"])
    ranks = [one.state["ingest"]["counts"] for one in (last, *last.others)]
    assert sum(ledger["frames"]) == sum(counts["admitted"] for rank in ranks for counts in rank.values())
    assert sum(ledger["exposures"]) == last.step * small_run(Path(), Path()).learner.optim.batch_size
    told = [row for row in read_rows(folder / "run" / "metrics.jsonl") if row["part"] == "learner"][-1]
    assert told["engram_learner_images_total"] == sum(ledger["exposures"])
    assert told["engram_learner_ranks"] == RANKS


def test_another_number_of_ranks_is_refused_before_anything_starts(folder: Path) -> None:
    config = folder / "run" / "config.yaml"
    whole = config.read_text("utf-8")
    assert "ranks: 2" in whole
    config.write_text(whole.replace("ranks: 2", "ranks: 1"), "utf-8")
    try:
        resumed = subprocess.run(
            [sys.executable, "-m", "engram", "resume", "run"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        config.write_text(whole, "utf-8")
    assert resumed.returncode == 2
    assert resumed.stderr == (
        "engram: the checkpoint is of 2 ranks, each with its own replay buffer and share of the stream, and "
        "learner.ranks = 1: resume with 2\n"
    )
