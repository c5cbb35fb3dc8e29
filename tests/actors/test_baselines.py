"""Agents to compare with, and where actors have been."""

import json
from math import exp
from pathlib import Path

import numpy as np
import pytest

from actors.agents import AGENTS, AgentSettings, make_agent
from actors.coverage import Coverage
from actors.track import TrackLog
from common.config.script import parse_script
from common.curiosity.controls import HEADS
from common.errors import ConfigError
from common.messages import Labels, Observation
from deploy.ways import cells, pieces, tracks, walls


def observe(seconds: float, *, visit: int = 0, x: float = 0.0, world: str = "freedoom2:map01") -> Observation:
    labels = Labels(x=x, y=0.0, heading=0.0, depth=np.full((3, 3), 100, np.float32))
    return Observation(
        frame=np.zeros((8, 8, 3), np.uint8),
        captured_ns=0,
        world=world,
        visit=visit,
        visit_time=seconds,
        labels=labels,
    )


def test_still_stands_still() -> None:
    agent = make_agent("still", AgentSettings(seed=0))
    assert not agent.step(observe(1.0)).any()


def test_a_script_is_followed_over_and_over_from_each_visit_on() -> None:
    agent = make_agent("scripted", AgentSettings(seed=0, script="ahead:1s left+ahead:500ms use:500ms"))
    ahead, turn, use = [1, 0, 0, 0], [1, 0, 0.5, 0], [0, 0, 0, 1]
    for start in (0.0, 2.0):
        moments = [(0.0, ahead), (0.9, ahead), (1.0, turn), (1.4, turn), (1.5, use), (1.9, use)]
        assert [agent.step(observe(start + at)).tolist() for at, _ in moments] == [wanted for _, wanted in moments]


@pytest.mark.parametrize("script", ["", "ahead", "ahead:", "fly:1s", "ahead:0s", "ahead:x"])
def test_scripts_that_are_none_are_refused(script: str) -> None:
    with pytest.raises(ValueError, match=r"must|is not a number"):
        parse_script(script)


def test_rambler_uses_all_choices_and_keeps_each_for_a_while() -> None:
    agent = make_agent("rambler", AgentSettings(seed=0))
    actions = np.stack([agent.step(observe(step / 10)) for step in range(20_000)])
    for values, column in zip(HEADS, actions.T, strict=True):
        shares = [float(np.isclose(column, value).mean()) for value in values]
        assert sum(shares) == pytest.approx(1)
        assert shares == pytest.approx([1 / len(values)] * len(values), abs=0.04)
    kept = float((actions[1:, 0] == actions[:-1, 0]).mean())
    assert kept == pytest.approx(1 - (1 - exp(-0.2)) * 2 / 3, abs=0.04)


def test_every_agent_is_made_by_its_name() -> None:
    for name in AGENTS:
        made = make_agent(name, AgentSettings(seed=0, script="ahead:1s", encoder="encoder"))
        assert type(made).__name__ == f"{name.capitalize()}Agent"


def test_cells_are_counted_by_visit_and_by_world() -> None:
    coverage = Coverage(every=0.5)
    spots = [
        coverage.see(observe(step / 10, visit=visit, x=32.0 * step)) for visit in range(2) for step in range(10 + visit)
    ]
    assert coverage.cells == 6
    assert len(coverage.worlds["freedoom2:map01"]) == 6
    assert [(spot.visit, spot.time) for spot in spots if spot] == [(0, 0), (0, 0.5), (1, 0), (1, 0.5), (1, 1.0)]


def test_tracks_come_back_as_they_were_written(tmp_path: Path) -> None:
    coverage = Coverage(every=0.0)
    for generation in (1, 2):
        log = TrackLog(tmp_path / "actor-0.track", generation=generation)
        for step in range(3):
            spot = coverage.see(observe(step / 10, visit=generation, x=64.0 * step))
            assert spot is not None
            log.add(spot)
        log.close()
    with (tmp_path / "actor-0.track").open("a") as file:
        file.write(json.dumps([3, 0, "freedoom2:map01", 0.0])[:-3])  # the last words of a killed actor
    found = tracks(tmp_path)
    assert found == {"freedoom2:map01": [[[0, 0], [64, 0], [128, 0]]] * 2}
    assert cells(found["freedoom2:map01"][0]) == 3


def test_ways_are_cut_where_they_jump_and_walls_are_of_the_map() -> None:
    assert [len(piece) for piece in pieces([[0, 0], [50, 0], [900, 0], [950, 0], [960, 0]])] == [2, 3]
    assert pieces([[0, 0]]) == []
    assert len(walls("freedoom2:map01")) > 100
    assert len(walls("somewhere else")) == 0


def test_the_curious_agent_needs_an_encoder() -> None:
    with pytest.raises(ConfigError, match="must be another where nothing is learned"):
        make_agent("curious", AgentSettings(seed=0))
