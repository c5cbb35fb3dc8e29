"""The world `doom`: ViZDoom with the maps of Freedoom 1 and 2, as a pamiq-core environment.

    schedule ─► DoomTour ─► Doom (engine) ─► DoomSensor ─► Observation
                               ▲                               │ agent
                               └───────── DoomActuator ◄───────┘ Action

The game is synchronous: nothing moves between two steps, and a step moves it by the time that a step
stands for. It runs in real time because the actor's loop does; while the loop pauses, so does the game.
"""

import time
from pathlib import Path
from typing import Self, override

from pamiq_core import time as system_time
from pamiq_core.interaction.modular_env import Actuator, ModularEnvironment, Sensor

from actors.worlds.doom_game import TICS_PER_SECOND
from actors.worlds.doom_tour import Clock, DoomTour
from actors.worlds.kinds import Life, WorldKind
from actors.worlds.sensor_log import SensorLog
from actors.worlds.visits import VisitSchedule
from actors.worlds.wads import known_worlds, parse_world
from common.config.run import WorldConfig
from common.errors import ConfigError
from common.messages import Action, Observation


class DoomSensor(Sensor[Observation]):
    """Looks at the game: the picture without anything painted over it, and the ground truth.

    Args:
        tour: Where the actor is.
        log: File to which each capture is noted before it is returned (see `sensor_log`), or None.
    """

    def __init__(self, tour: DoomTour, log: Path | None = None) -> None:
        self._tour = tour
        self._log_path = log
        self._log: SensorLog | None = None

    @override
    def setup(self) -> None:
        super().setup()
        if self._log_path is not None:
            self._log = SensorLog(self._log_path)
        self._tour.start()

    @override
    def teardown(self) -> None:
        super().teardown()
        self._tour.close()
        if self._log is not None:
            self._log.close()
            self._log = None

    @override
    def read(self) -> Observation:
        """Captures a frame; if the visit's time is over, already in the next world."""
        stay = self._tour.stay()
        view = stay.game.look()
        observation = Observation(
            frame=view.frame,
            captured_ns=time.time_ns(),
            world=stay.game.world,
            visit=stay.visit,
            visit_time=max(self._tour.clock() - stay.began, 0.0),
            labels=view.labels,
        )
        if self._log is not None:
            self._log.append(observation.captured_ns)
        return observation

    @override
    def save_state(self, path: Path) -> None:
        """Saves the place in the schedule to `path`.json."""
        self._tour.save(path.with_suffix(".json"))

    @override
    def load_state(self, path: Path) -> None:
        """Goes on with the visit after the saved one."""
        self._tour.load(path.with_suffix(".json"))


class DoomActuator(Actuator[Action]):
    """Moves the player. An action is float32 [4]; values beyond their range are clipped, NaN counts as 0.

    | entry | meaning | range | at its end |
    |---|---|---|---|
    | 0 | forward | -1 … 1 | walking speed, 290 map units a second once it is reached |
    | 1 | strafe, positive to the right | -1 … 1 | 279 map units a second |
    | 2 | turn, positive to the left (counter-clockwise) | -1 … 1 | 20 degrees in this step |
    | 3 | use (open a door, press a switch) | pressed above 0.5 | one press, on one tic |

    Args:
        tour: Where the actor is.
        fps: Steps a second; a step moves the game by 35 / fps tics on average, the remainder is carried.
    """

    def __init__(self, tour: DoomTour, fps: float) -> None:
        self._tour = tour
        self._tics_per_step = TICS_PER_SECOND / fps
        self._owed = 0.0

    @override
    def operate(self, action: Action) -> None:
        """Applies an action and lets the time of one step pass in the game."""
        # The tiny amount keeps sums such as 10 × 3.5 from ending just below a whole tic.
        self._owed += self._tics_per_step
        tics = int(self._owed + 1e-9)
        self._owed -= tics
        self._tour.game.act(action, tics)


class DoomEnvironment(ModularEnvironment[Observation, Action]):
    """Sensor and actuator in one game.

    Args:
        tour: Where the actor goes.
        fps: Steps a second.
        sensor_log: File of the sensor's own log, or None.
    """

    @override
    def __init__(self, tour: DoomTour, *, fps: float, sensor_log: Path | None = None) -> None:
        super().__init__(DoomSensor(tour, sensor_log), DoomActuator(tour, fps))
        self.tour = tour

    @classmethod
    def from_config(
        cls,
        world: WorldConfig,
        *,
        fps: float,
        seed: int,
        actor_index: int = 0,
        sensor_log: Path | None = None,
        clock: Clock = system_time.perf_counter,
    ) -> Self:
        """Makes the environment of one actor; no game starts before `setup`.

        Args:
            world: Which worlds, how long, in which order, at which size.
            fps: Steps a second.
            seed: Seed of the run.
            actor_index: Number of the actor, from 0.
            sensor_log: File of the sensor's own log, or None.
            clock: What visits are measured by; the system's time if left out.
        """
        schedule = VisitSchedule(world.worlds, world.order, world.visit, seed, actor_index)
        tour = DoomTour(schedule, image_size=world.image_size, seed=hash((seed, actor_index)), clock=clock)
        return cls(tour, fps=fps, sensor_log=sensor_log)


def _check(world: WorldConfig) -> None:
    for field, names in (("world.worlds", world.worlds), ("world.placebo_worlds", world.placebo_worlds)):
        for name in names:
            try:
                parse_world(name)
            except ConfigError as error:
                raise ConfigError(field, name, error.allowed) from None


def _make(world: WorldConfig, life: Life) -> DoomEnvironment:
    return DoomEnvironment.from_config(
        world, fps=life.fps, seed=life.seed, actor_index=life.index, sensor_log=life.sensor_log, clock=life.clock
    )


DOOM = WorldKind(
    name="doom",
    what="the 68 maps of Freedoom 1 and 2 in ViZDoom, as fast as steps are asked for",
    check=_check,
    make=_make,
    names=known_worlds,
    truth=True,
)
