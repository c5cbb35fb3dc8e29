from dataclasses import replace
from statistics import geometric_mean
from typing import override

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pamiq_core import Agent
from pamiq_core.data import DataUser, DataUsersDict
from pamiq_core.data.impls import SequentialBuffer
from pamiq_core.model import InferenceModel, InferenceModelsDict

from actors.agents import AgentSettings, make_agent
from actors.agents.explorer import ExplorerAgent
from actors.coverage import cell_of
from actors.worlds.doom import DoomEnvironment
from common.config.run import WorldConfig
from common.errors import ConfigError
from common.messages import Action, Labels, Observation

NAMES = ("explorer", "walker")
SEEDS = (0, 1, 2)
MAPS = (
    *WorldConfig().worlds,
    *WorldConfig().placebo_worlds,
    "freedoom2:map07",
    "freedoom2:map10",
)


def observation(step: int, *, labels: Labels | None = None, frame: NDArray[np.uint8] | None = None) -> Observation:
    noise = np.random.default_rng(step).integers(0, 256, (48, 48, 3), np.uint8)
    return Observation(
        frame=noise if frame is None else frame,
        captured_ns=step,
        world="w",
        visit=0,
        visit_time=step / 10,
        labels=labels,
    )


def race(name: str, world: str, seed: int, steps: int = 1200) -> tuple[int, list[Action]]:
    """Returns how many cells an agent enters in some minutes of game time, and its actions."""
    now = 0.0
    worlds = WorldConfig(worlds=(world,), placebo_worlds=(), visit=1e6)
    environment = DoomEnvironment.from_config(worlds, fps=10, seed=seed, clock=lambda: now)
    agent = make_agent(name, AgentSettings(seed=seed))
    cells, actions = set[tuple[int, int]](), list[Action]()
    environment.setup()
    for step in range(steps):
        now = step / 10
        seen = environment.observe()
        assert seen.labels is not None
        cells.add(cell_of(seen.labels.x, seen.labels.y))
        actions.append(agent.step(seen))
        environment.affect(actions[-1])
    environment.teardown()
    if isinstance(agent, ExplorerAgent):
        assert agent.cells == len(cells)
    return len(cells), actions


class Encoder(InferenceModel):
    calls = 0

    @override
    def infer(self, frame: NDArray[np.uint8]) -> torch.Tensor:
        assert frame.dtype == np.uint8
        assert frame.ndim == 3
        self.calls += 1
        return torch.tensor(frame[::8, ::8].ravel().tolist(), dtype=torch.float32)


def attach(agent: Agent[Observation, Action]) -> tuple[Encoder, DataUser[list[NDArray[np.uint8]]]]:
    encoder = Encoder()
    users = DataUsersDict.from_data_buffers(frames=SequentialBuffer[NDArray[np.uint8]](1000))
    agent.attach_inference_models(InferenceModelsDict(encoder=encoder))
    agent.attach_data_collectors(users.data_collectors_dict)
    return encoder, users["frames"]


@pytest.mark.parametrize("name", NAMES)
def test_encodes_and_collects_every_frame(name: str) -> None:
    agent = make_agent(name, AgentSettings(seed=0, encoder="encoder", collector="frames"))
    encoder, user = attach(agent)
    seen = [observation(step) for step in range(7)]
    for step in seen:
        agent.step(step)
    assert encoder.calls == 7
    collected = user.get_data()
    assert all(np.array_equal(a, b.frame) for a, b in zip(collected, seen, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_actions_have_the_form_of_the_world(name: str) -> None:
    agent = make_agent(name, AgentSettings(seed=0))
    for step in range(50):
        action = agent.step(observation(step))
        assert action.shape == (4,)
        assert action.dtype == np.float32
        assert (np.abs(action) <= 1).all()


@pytest.mark.parametrize("name", NAMES)
def test_turns_away_when_the_view_stays_the_same(name: str) -> None:
    actions: dict[str | None, NDArray[np.float32]] = {}
    frame = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    for encoder in (None, "encoder"):
        agent = make_agent(name, AgentSettings(seed=0, encoder=encoder))
        attach(agent)
        # It walks on by its pose, so that nothing but the encoder can notice.
        labels = [Labels(x=30.0 * i, y=0.0, heading=0.0, depth=np.full((3, 3), 200, np.float32)) for i in range(15)]
        actions[encoder] = np.stack(
            [agent.step(observation(i, labels=label, frame=frame)) for i, label in enumerate(labels)]
        )
    assert np.array_equal(actions[None][:10], actions["encoder"][:10])
    assert np.abs(actions[None][10:, 2] - actions["encoder"][10:, 2]).max() > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_without_labels_it_goes_by_the_picture(name: str) -> None:
    agent = make_agent(name, AgentSettings(seed=0))
    frame = np.full((48, 48, 3), 90, np.uint8)
    moving = [agent.step(observation(step)) for step in range(40)]
    assert max(abs(float(action[2])) for action in moving) < 0.1
    still = [agent.step(observation(40 + step, frame=frame)) for step in range(40)]
    assert max(abs(float(action[2])) for action in still) > 0.9
    assert any(action[3] > 0.5 for action in still)


def test_unknown_agent_is_named() -> None:
    with pytest.raises(ConfigError, match="explorer, rambler"):
        make_agent("dreamer", AgentSettings(seed=0))


def test_a_new_visit_is_a_new_map() -> None:
    agent = ExplorerAgent(seed=0)
    for step in range(5):
        labels = Labels(x=100.0 * step, y=0.0, heading=0.0, depth=np.full((3, 3), 200, np.float32))
        agent.step(observation(step, labels=labels))
    assert agent.cells == 5
    agent.step(replace(observation(9), visit=1, labels=Labels(x=0, y=0, heading=0, depth=np.zeros((3, 3), np.float32))))
    assert agent.cells == 1


@pytest.mark.parametrize("name", NAMES)
def test_motion_is_smooth(name: str) -> None:
    _, actions = race(name, "freedoom2:map01", 0, steps=400)
    changes_TA = np.abs(np.diff(np.stack(actions), axis=0))
    assert changes_TA[:, 0].max() < 0.35
    assert changes_TA[:, 2].max() < 0.45


@pytest.mark.timeout(300)
def test_explorer_sees_more_than_the_walker() -> None:
    """One and a half times the cells of the walker in two minutes over all maps, and more in each of them."""
    ratios: list[float] = []
    print()
    for world in MAPS:
        cells = {name: [race(name, world, seed)[0] for seed in SEEDS] for name in NAMES}
        ratios.append(sum(cells["explorer"]) / sum(cells["walker"]))
        print(f"{world:16} explorer {cells['explorer']} walker {cells['walker']} {ratios[-1]:.2f}")
    assert geometric_mean(ratios) >= 1.5
    assert min(ratios) >= 1.1
