"""The world `gym`, on Gymnasium's own environments."""

from dataclasses import replace
from typing import Any, cast

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from actors.agents import AgentSettings, make_agent
from actors.worlds import check_worlds, make_environment
from actors.worlds.gym import image_key, in_space
from common.config import WorldConfig
from common.errors import ConfigError
from common.messages import Observation

CONFIG = WorldConfig(kind="gym", worlds=("CartPole-v1",), placebo_worlds=(), image_size=(48, 64), visit=2.0)


class Coloured(gymnasium.Env[Any, Any]):
    """Shows its own picture, in a dict; the last action is its colour."""

    observation_space = spaces.Dict(
        {"clock": spaces.Box(0, 1, (1,)), "camera": spaces.Box(0, 255, (32, 40, 3), np.uint8)}
    )
    action_space = spaces.MultiDiscrete([256, 3])

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple[dict[str, object], dict[str, object]]:
        self.steps = 0
        return self.shown(0), {}

    def step(self, action: object) -> tuple[dict[str, object], float, bool, bool, dict[str, object]]:
        self.steps += 1
        return self.shown(int(np.asarray(action)[0])), 0.0, self.steps == 5, False, {}

    def shown(self, value: int) -> dict[str, object]:
        return {"clock": np.zeros(1, np.float32), "camera": np.full((32, 40, 3), value, np.uint8)}


@pytest.fixture(autouse=True)
def registered() -> None:
    if "Coloured-v0" not in gymnasium.registry:
        cast(Any, gymnasium).register("Coloured-v0", Coloured)


def live(config: WorldConfig, steps: int, command: float | None = None) -> list[Observation]:
    now = 0.0
    check_worlds(config)
    environment = make_environment(config, fps=10.0, seed=1, clock=lambda: now)
    agent = make_agent("babbler", AgentSettings(seed=0))
    environment.setup()
    seen: list[Observation] = []
    for step in range(steps):
        now = step / 10
        seen.append(environment.observe())
        action = agent.step(seen[-1])
        environment.affect(action if command is None else np.full(1, command, np.float32))
    environment.teardown()
    return seen


def test_what_is_only_rendered_is_seen_too() -> None:
    seen = live(CONFIG, 30)
    assert {one.frame.shape for one in seen} == {(48, 64, 3)}
    assert len({one.frame.tobytes() for one in seen}) > 15
    assert [one.visit for one in seen] == [0] * 20 + [1] * 10
    assert (seen[0].world, seen[0].labels) == ("CartPole-v1", None)


def test_a_picture_in_a_dict_is_found_and_an_episode_that_ends_begins_anew() -> None:
    seen = live(replace(CONFIG, worlds=("Coloured-v0",)), 12, command=1.0)
    assert [int(one.frame.mean()) for one in seen] == [0, 255, 255, 255, 255, 0, 255, 255, 255, 255, 0, 255]
    assert {one.visit for one in seen} == {0}


@pytest.mark.parametrize(
    ("name", "said"),
    [("NoSuch-v0", "cannot be made: NameNotFound"), ("no_module:A-v0", "cannot be made: ModuleNotFoundError")],
)
def test_what_is_not_there_is_refused_in_a_line(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        check_worlds(replace(CONFIG, worlds=(name,)))
    assert "\n" not in str(error.value)


def test_an_environment_without_pictures_is_refused() -> None:
    class Blind(Coloured):
        observation_space = spaces.Dict({"clock": spaces.Box(0, 1, (1,))})

    if "Blind-v0" not in gymnasium.registry:
        cast(Any, gymnasium).register("Blind-v0", Blind)
    with pytest.raises(ConfigError, match="must show pictures"):
        check_worlds(replace(CONFIG, worlds=("Blind-v0",)))


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(4),
        spaces.Discrete(3, start=-1),
        spaces.MultiDiscrete([2, 5]),
        spaces.MultiBinary(3),
        spaces.Box(-2, np.array([1, 5], np.float32), (2,), np.float32),
        spaces.Box(-np.inf, np.inf, (2, 2), np.float32),
    ],
)
def test_any_numbers_become_an_action_of_the_space(space: "spaces.Space[object]") -> None:
    generator = np.random.default_rng(0)
    for action in (*generator.uniform(-2, 2, (50, 8)), np.full(8, np.nan), np.full(8, np.inf), np.zeros(0)):
        assert space.contains(in_space(action.astype(np.float32), space))
    assert in_space(np.array([-1.0], np.float32), spaces.Discrete(4)) == 0
    assert in_space(np.array([1.0], np.float32), spaces.Discrete(4)) == 3
    with pytest.raises(TypeError, match="has actions of kind Text"):
        in_space(np.zeros(1, np.float32), spaces.Text(3))


def test_only_pictures_count_as_pictures() -> None:
    assert image_key(spaces.Box(0, 255, (64, 64), np.uint8)) == ""
    assert image_key(spaces.Box(0, 255, (128,), np.uint8)) is None
    assert image_key(spaces.Box(0, 1, (64, 64, 3), np.float32)) is None
