"""Comparing agents on a virtual clock: real lives in Doom, and the arithmetic by hand."""

import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.config import RunConfig
from common.config.curiosity import CuriosityConfig, DynamicsConfig, PolicyConfig
from deploy.cli import main
from deploy.explore import lives
from deploy.explore.coverage import compare, ever_covered, read
from deploy.explore.life import Life
from deploy.explore.plan import Plan
from deploy.explore.table import table
from tests.runs import small_run


def few(tmp_path: Path, **fields: Any) -> RunConfig:
    run = small_run(tmp_path / "run", tmp_path / "cache")
    return replace(
        run,
        duration=8.0,
        world=replace(run.world, visit=3.0),
        learner=replace(run.learner, nice=0),
        curiosity=CuriosityConfig(
            rollout=8, dynamics=DynamicsConfig(dim=16), policy=PolicyConfig(dim=16, rollouts=4, minibatch=16)
        ),
        **fields,
    )


def plan(tmp_path: Path) -> Plan:
    return Plan(run=few(tmp_path), agents=("curious", "rambler"), seeds=(3,), out=tmp_path / "out")


@pytest.mark.timeout(300)
def test_a_life_can_be_lived_again(tmp_path: Path) -> None:
    run = plan(tmp_path).config("curious", 3)
    found: list[list[Any]] = []
    for _ in range(2):
        life = Life(run)
        found.append([lives.row(visit, life.losses) for visit in life.visits(run.duration)])
        assert life.losses["surprise_1"]
    assert found[0] == found[1]
    assert {row["actor"] for row in found[0]} == {"actor-0", "actor-1"}
    assert [row["visit"] for row in found[0] if row["actor"] == "actor-0"] == [0, 1, 2]


@pytest.mark.timeout(300)
def test_agents_begin_where_the_others_do(tmp_path: Path) -> None:
    of = plan(tmp_path)
    starts: list[list[Any]] = []
    for agent in of.agents:
        run = of.config(agent, 3)
        starts.append([(one.world, one.track[0].x, one.track[0].y) for one in Life(run).visits(4.0)])
    assert starts[0] == starts[1]


@pytest.mark.timeout(300)
def test_a_life_that_dies_is_begun_anew_and_one_that_is_over_is_not(tmp_path: Path) -> None:
    of = replace(plan(tmp_path), agents=("still", "rambler"))
    of.path("still", 3).parent.mkdir()
    of.path("still", 3).write_text('{"kept": true}\n')
    killed: list[int] = []

    def kill_once(agent: str, seed: int, share: float) -> None:
        if not killed:
            (child,) = multiprocessing.active_children()
            assert child.pid is not None
            killed.append(child.pid)
            os.kill(child.pid, signal.SIGKILL)

    assert list(lives.live_all(of, jobs=2, each=kill_once)) == [("rambler", 3)]
    assert killed
    assert of.path("still", 3).read_text() == '{"kept": true}\n'
    rows = read(of)["rambler", 3]
    assert len(rows) == 6
    assert not list(of.out.glob("*.part"))


def test_a_life_that_hangs_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lives, "PATIENCE", 0.5)
    monkeypatch.setattr(lives, "_live", _hang)
    of = replace(plan(tmp_path), agents=("still", "rambler"))
    began = time.monotonic()
    with pytest.raises(Exception, match="its game hung or died 5 times"):
        list(lives.live_all(of, jobs=1))
    assert time.monotonic() - began < 120
    assert not multiprocessing.active_children()


def _hang(*_: Any) -> None:
    time.sleep(600)


def _rows(*cells: int, world: str = "w") -> list[dict[str, Any]]:
    return [
        {"actor": "actor-0", "visit": number, "world": world, "cells": count, "track": [[0, 0], [64 * count, 0]]}
        for number, count in enumerate(cells)
    ]


def test_differences_are_of_pairs() -> None:
    rows = {
        ("curious", 0): _rows(10, 12, 14, 90),
        ("rambler", 0): _rows(9, 10, 11),  # the last visit has no partner
        ("curious", 1): _rows(20, 22),
        ("rambler", 1): _rows(16, 18),
        ("curious", 2): _rows(1),  # nobody to compare with
    }
    found = compare(rows, "curious", "rambler")["w"]
    assert (found.pairs, found.seeds) == (5, 2)
    assert found.mean == pytest.approx((1 + 2 + 3 + 4 + 4) / 5)
    assert found.by_visits == pytest.approx(2.776 * 1.3038 / 5**0.5, rel=1e-3)
    assert found.by_seeds == pytest.approx(12.706 * (2**0.5) / 2**0.5, rel=1e-3)
    assert found.verdict == "open"
    late = compare(rows, "curious", "rambler", since=0.5)["w"]
    assert late.pairs == 2
    assert ever_covered(rows, "rambler", "w") == [4, 3]


def test_a_verdict_needs_both_intervals() -> None:
    rows = {
        (agent, seed): _rows(*(base + seed % 2 + more for more in (0, 1, 0, 1)))
        for seed in range(3)
        for agent, base in (("curious", 30), ("rambler", 10))
    }
    assert compare(rows, "curious", "rambler")["w"].verdict == "more"
    assert compare(rows, "rambler", "curious")["w"].verdict == "fewer"


def test_the_table_tells_all(tmp_path: Path) -> None:
    of = plan(tmp_path)
    worlds = of.run.world.worlds
    rows = {(agent, 3): [*_rows(5, 6, world=worlds[0])] for agent in of.agents}
    found = table(rows, of)
    assert f"| {worlds[0]} | 5.5 | 5.5 | +0.0 | 0.0 | – | 2 | open |" in found
    assert f"| {worlds[1]} | 0 (0) | 0 (0) |" in found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--agents", "curious"], "two or more"),
        (["--agents", "curious,dreamer"], "dreamer"),
        (["--seeds", "0,0"], "each once"),
        (["--seeds", "x"], "whole numbers"),
        (["--encoder", "nowhere"], "run directory"),
        (["--duration", "0"], "needs an end"),
        (["--world.kind", "gym", "--world.worlds", "ALE/Nothing-v5", "--world.placebo-worlds"], "world"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["explore", "--out", str(tmp_path / "out"), *words]) == 2
    assert said in capsys.readouterr().err


def test_another_configuration_needs_another_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("v: other\n")
    assert main(["explore", "--out", str(tmp_path)]) == 2
    assert "another configuration" in capsys.readouterr().err


def test_a_script_is_followed_and_bad_ones_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--actors.agent", "scripted"]) == 2
    assert "actors.script" in capsys.readouterr().err
    assert main(["run", "--actors.agent", "scripted", "--actors.script", "jump:2s"]) == 2
    assert "must be moves:time" in capsys.readouterr().err
    assert json.dumps(few(Path("x")).actors.script) == '""'
