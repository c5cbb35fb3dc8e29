"""Where parts go: hosts as Ray would list them, without Ray."""

from dataclasses import replace
from pathlib import Path

import pytest

from common.config import PlacementConfig, RunConfig
from common.errors import ConfigError
from deploy.placement import ClusterPlacement, Node, Place
from tests.runs import small_run

VERSION = "0.1.0-aa"


def node(name: str, *, version: str = VERSION, **resources: float) -> Node:
    return Node(id=name, address=f"10.0.0.{name[-1]}", version=version, resources={"CPU": 2.0, **resources})


HEAD, BOX, PC = node("h1"), node("g2", CPU=16.0, GPU=1.0), node("p3", vrchat=2.0)


@pytest.fixture
def run(tmp_path: Path) -> RunConfig:
    return small_run(tmp_path / "run", tmp_path / "cache")


def place(run: RunConfig, *nodes: Node) -> ClusterPlacement:
    return ClusterPlacement(run, nodes=lambda: list(nodes), here="h1", version=VERSION)


def on(run: RunConfig, **names: str) -> RunConfig:
    return replace(run, placement=PlacementConfig(**names))


def test_each_part_has_its_host(run: RunConfig) -> None:
    found = place(on(run, actors="vrchat"), HEAD, BOX, PC)
    assert found.actor(0) == found.actor(7) == Place(resource="vrchat")
    assert found.learner() == Place(gpus=1.0)
    assert found.evaluator() == found.registry() == Place(node="h1")


def test_a_world_on_a_desktop_asks_for_one(run: RunConfig) -> None:
    vrchat = replace(run, world=replace(run.world, kind="vrchat"))
    assert place(vrchat, HEAD, BOX, PC).actor(0).resource == "vrchat"
    with pytest.raises(ConfigError, match=r"placement\.actors = 'vrchat': is offered by no host"):
        place(vrchat, HEAD, BOX)


def test_actors_take_turns_on_hosts_that_do_not_train(run: RunConfig) -> None:
    found = place(run, HEAD, BOX, PC)
    assert [found.actor(index).node for index in range(4)] == ["h1", "p3", "h1", "p3"]
    assert place(run, HEAD).actor(5).node == "h1"


def test_without_a_gpu_the_strongest_host_trains_and_not_the_drivers(run: RunConfig) -> None:
    strong = node("c4", CPU=8.0)
    assert place(run, replace(HEAD, resources={"CPU": 64.0}), strong, PC).learner().node == "c4"
    assert place(run, HEAD).learner().node == "h1"
    assert place(replace(run, learner=replace(run.learner, device="cpu")), HEAD, BOX).learner() == Place(node="g2")


def test_named_resources_win(run: RunConfig) -> None:
    named = on(run, learner="big", evaluator="quiet")
    found = place(named, HEAD, node("b5", big=1.0, GPU=2.0), node("q6", quiet=1.0))
    assert found.learner() == Place(resource="big", gpus=1.0)
    assert found.evaluator() == Place(node="q6")


def test_a_host_that_went_away_gets_nothing(run: RunConfig) -> None:
    alive = [HEAD, node("w2"), node("w3")]
    found = ClusterPlacement(run, nodes=lambda: alive, here="h1", version=VERSION)
    assert found.learner().node == "w3"
    alive.pop()
    assert found.learner().node == "w2"
    assert found.actor(0).node == found.actor(1).node == "h1"


def test_other_code_gets_no_part_and_is_told(run: RunConfig) -> None:
    other = node("o2", version="0.1.0-bb", CPU=99.0)
    found = place(run, HEAD, other, PC)
    assert found.learner().node == "p3"
    assert "o2" not in {found.actor(index).node for index in range(6)}
    assert found.strangers() == [other]
    with pytest.raises(ConfigError, match=r"cluster = '0\.1\.0-cc'.*this is 0\.1\.0-aa"):
        place(run, replace(HEAD, version="0.1.0-cc"), PC)


def test_what_nobody_has_is_refused(run: RunConfig) -> None:
    for names in ({"actors": "nothing"}, {"learner": "nothing"}, {"evaluator": "nothing"}):
        with pytest.raises(ConfigError, match="is offered by no host"):
            place(on(run, **names), HEAD, BOX)
    with pytest.raises(ConfigError, match="is on no host of this cluster"):
        place(replace(run, learner=replace(run.learner, device="cuda")), HEAD, PC)


def test_options_are_rays(run: RunConfig) -> None:
    assert Place(resource="vrchat", gpus=0.5).options() == {"num_gpus": 0.5, "resources": {"vrchat": 1}}
    strategy = Place(node="ab" * 28).options()["scheduling_strategy"]
    assert (strategy.node_id, strategy.soft) == ("ab" * 28, False)


def test_curiosity_has_what_the_learner_leaves_of_a_gpu(run: RunConfig) -> None:
    trainers = replace(run.curiosity, device="auto")
    curious = replace(run, actors=replace(run.actors, agent="curious"), curiosity=trainers)
    found = place(curious, HEAD, BOX)
    assert found.learner().gpus + found.curiosity().gpus == 1.0
    assert found.curiosity().gpus == curious.curiosity.gpus


def test_trainers_move_when_the_named_host_has_gone(run: RunConfig) -> None:
    hosts = [HEAD, node("b2", trainer=1.0), node("c3")]
    found = ClusterPlacement(on(run, learner="trainer"), nodes=lambda: hosts, here="h1", version=VERSION)
    assert (found.learner(), found.curiosity()) == (Place(resource="trainer"), Place(node="b2"))
    hosts.pop(1)
    assert found.curiosity() == Place(node="c3")


def test_more_parts_than_room_are_refused_before_anything_starts(run: RunConfig) -> None:
    crowded = on(replace(run, actors=replace(run.actors, count=3)), actors="vrchat")
    with pytest.raises(ConfigError, match=r"placement\.actors = 'vrchat': is offered 2 times, and 3 are needed"):
        place(crowded, HEAD, PC)
    ranks = replace(run, learner=replace(run.learner, ranks=2))
    with pytest.raises(ConfigError, match=r"learner\.ranks = 2: each rank needs a GPU"):
        place(ranks, HEAD, BOX)
