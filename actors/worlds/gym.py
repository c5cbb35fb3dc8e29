"""The world `gym`: Gymnasium environments that show pictures, through pamiq-core's adapter.

    schedule ─► GymEnvironment (pamiq-core) ─► observation, or rendering ─► cut and scaled ─► Observation
                        ▲                                                       │ agent
                        └──────── action in the environment's own space ◄───────┘ Action

A visit is a stay in one environment; episodes that end within it begin anew, as a game does after a death.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Gymnasium's spaces are untyped in parts.

import time
from typing import Any, cast, override

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pamiq_core.gym.env import GymEnvironment
from pamiq_core.gym.types import EnvReset, EnvStep, GymAction
from pamiq_core.interaction import Environment

from actors.worlds.kinds import Life, WorldKind
from actors.worlds.picture import Picture
from actors.worlds.sensor_log import SensorLog
from actors.worlds.visits import VisitSchedule
from common.config.run import WorldConfig
from common.errors import ConfigError, RunError
from common.messages import Action, Frame, Observation


class GymWorld(Environment[Observation, Action]):
    """Gymnasium environments, visit after visit.

    An action is float32 [A], each entry in [-1, 1], as many as the action space has numbers; more are left unused,
    missing ones are 0, NaN counts as 0, the others are clipped.

    | space | becomes |
    |---|---|
    | Box | each number between its bounds; where they are infinite, as it is |
    | Discrete, MultiDiscrete | each number one of n, equal parts of [-1, 1] |
    | MultiBinary | pressed above 0 |

    Args:
        world: Ids of the environments, for example `CarRacing-v3` or `module:Id-v0`; visits; size of a frame.
        life: Of the actor.
    """

    def __init__(self, world: WorldConfig, life: Life) -> None:
        super().__init__()
        self._schedule = VisitSchedule(world.worlds, world.order, world.visit, life.seed, life.index)
        self._size, self._life = world.image_size, life
        self._visit, self._name, self._entered = -1, "", 0.0
        self._inner: GymEnvironment[Any, Any] | None = None
        self._log: SensorLog | None = None
        self._pictures: dict[tuple[int, int], Picture] = {}

    @override
    def setup(self) -> None:
        super().setup()
        if self._life.sensor_log is not None:
            self._log = SensorLog(self._life.sensor_log)
        self._enter()

    @override
    def teardown(self) -> None:
        super().teardown()
        self._leave()
        if self._log is not None:
            self._log.close()
            self._log = None

    @override
    def observe(self) -> Observation:
        """Shows the environment's picture; if the visit's time is over, already the next one's.

        Raises:
            RunError: It shows none.
        """
        if self._life.clock() - self._entered >= self._schedule.seconds:
            self._enter()
        assert self._inner is not None, "setup comes first"
        found: Any = self._inner.observe()
        screen = picture_of(self._inner.env, _newest(found).obs)
        if screen is None:
            raise RunError(f"{self._name} shows no picture")
        shape = (screen.shape[0], screen.shape[1])
        if shape not in self._pictures:
            self._pictures[shape] = Picture(shape, self._size)
        seen = Observation(
            frame=self._pictures[shape].frame(screen),
            captured_ns=time.time_ns(),
            world=self._name,
            visit=self._visit,
            visit_time=max(self._life.clock() - self._entered, 0.0),
        )
        if self._log is not None:
            self._log.append(seen.captured_ns)
        return seen

    @override
    def affect(self, action: Action) -> None:
        """Acts in the environment, which moves on by one of its own steps."""
        assert self._inner is not None, "setup comes first"
        self._inner.affect(GymAction(in_space(action, self._inner.env.action_space), need_reset=False))

    def _enter(self) -> None:
        self._leave()
        self._name = next(self._schedule)
        self._inner = GymEnvironment(make(self._name))
        self._visit += 1
        seed = (self._life.seed * 1_000_003 + self._visit) % 2**31
        self._inner.env.reset(seed=seed)
        self._inner.setup()
        self._entered = self._life.clock()

    def _leave(self) -> None:
        if self._inner is not None:
            self._inner.env.close()
            self._inner = None


def make(name: str) -> "gymnasium.Env[Any, Any]":
    """Makes an environment, ready to render where it can.

    Raises:
        ConfigError: There is none of this id, it needs what is not installed, or it shows no pictures.
    """

    def refuse(reason: str) -> ConfigError:
        return ConfigError("world.worlds", name, reason)

    try:
        env = cast("gymnasium.Env[Any, Any]", cast(Any, gymnasium).make(name))
        if image_key(env.observation_space) is None and "rgb_array" in env.metadata.get("render_modes", ()):
            env.close()
            env = cast("gymnasium.Env[Any, Any]", cast(Any, gymnasium).make(name, render_mode="rgb_array"))
    except Exception as error:  # Gymnasium's own errors, and whatever a module raises while it is imported
        raise refuse(f"cannot be made: {type(error).__name__}: {str(error).splitlines()[0]}") from None
    if image_key(env.observation_space) is None and env.render_mode != "rgb_array":
        env.close()
        raise refuse("must show pictures, uint8 [H, W, 3] or [H, W], or render them (rgb_array)")
    try:
        in_space(np.zeros(0, np.float32), env.action_space)
    except TypeError as error:
        env.close()
        raise refuse(str(error)) from None
    return env


def image_key(space: Any) -> str | None:
    """Finds the picture in an observation space: its key, empty where it is the whole, None where there is none."""
    if isinstance(space, spaces.Dict):
        return next((key for key, inner in space.spaces.items() if image_key(inner) == ""), None)
    is_box = isinstance(space, spaces.Box) and space.dtype == np.uint8
    shaped = is_box and (len(space.shape) == 2 or (len(space.shape) == 3 and space.shape[2] in (1, 3)))
    return "" if shaped and min(space.shape[:2]) >= 8 else None


def picture_of(env: "gymnasium.Env[Any, Any]", observation: Any) -> NDArray[np.uint8] | None:
    """The picture that an environment shows, uint8 [h, w, 3]; None where there is none."""
    key = image_key(env.observation_space)
    shown: Any = cast(Any, env).render() if key is None else observation[key] if key else observation
    if not isinstance(shown, np.ndarray) or shown.dtype != np.uint8 or shown.ndim not in (2, 3):
        return None
    picture = cast(Frame, shown if shown.ndim == 3 else shown[:, :, None])
    return picture.repeat(3, 2) if picture.shape[2] == 1 else picture[:, :, :3]


def in_space(action: Action, space: Any) -> Any:
    """Makes an action one of the environment's own.

    Raises:
        TypeError: A space of a kind that is not known here.
    """
    numbers = np.clip(np.nan_to_num(action, posinf=1.0, neginf=-1.0), -1.0, 1.0)

    def take(count: int) -> NDArray[np.float32]:
        return np.concatenate([numbers[:count], np.zeros(max(0, count - len(numbers)), np.float32)])

    match space:
        case spaces.Discrete():
            return int(space.start) + int(_part(take(1), np.array([space.n]))[0])
        case spaces.MultiDiscrete():
            return _part(take(space.nvec.size), space.nvec.ravel()).reshape(space.shape).astype(space.dtype)
        case spaces.MultiBinary():
            return (take(int(np.prod(space.shape))) > 0).astype(np.int8).reshape(space.shape)
        case spaces.Box():
            low, high = np.nan_to_num(space.low, neginf=-1.0), np.nan_to_num(space.high, posinf=1.0)
            value = low + (take(low.size).reshape(space.shape) + 1) / 2 * (high - low)
            return value.astype(space.dtype)
        case _:
            raise TypeError(f"has actions of kind {type(space).__name__}; Box, Discrete, MultiDiscrete or MultiBinary")


def _part(numbers: NDArray[np.float32], counts: NDArray[Any]) -> NDArray[np.int64]:
    """Which of n equal parts of [-1, 1] each number lies in."""
    return np.minimum(((numbers + 1) / 2 * counts).astype(np.int64), counts - 1)


def _newest(found: Any) -> "EnvReset[Any] | EnvStep[Any]":
    """Where an episode has just ended, what is shown is the beginning of the next."""
    return found[1] if isinstance(found, tuple) else found


def _check(world: WorldConfig) -> None:
    for name in world.worlds:
        make(name).close()


GYM = WorldKind(
    name="gym",
    what="Gymnasium environments that show or render pictures: world.worlds are their ids",
    check=_check,
    make=GymWorld,
)
