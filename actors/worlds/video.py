"""The world `video`: films one after the other, as if the actor stood in them. Its actions change nothing.

schedule ─► Reel (one film, by its time stamps) ─► fade ─► Observation, with labels where a table lies beside it
"""

import logging
import time
from typing import override

import numpy as np
from pamiq_core.interaction.modular_env import Actuator, ModularEnvironment, Sensor

from actors.worlds.film import Reel, check_film, find_films
from actors.worlds.film_labels import FilmLabels
from actors.worlds.kinds import Life, WorldEnded, WorldKind
from actors.worlds.sensor_log import SensorLog
from actors.worlds.visits import VisitSchedule
from common.config.run import WorldConfig
from common.errors import ConfigError, ImageError, RunError
from common.messages import Action, Frame, Labels, Observation

_log = logging.getLogger(__name__)


class VideoSensor(Sensor[Observation]):
    """Looks at films.

    Args:
        world: Which films, in which order, with which fades.
        life: Of the actor that looks.

    Attributes:
        broken: Films that ended before their time, since they could not be read further.
    """

    def __init__(self, world: WorldConfig, life: Life) -> None:
        self._films = {film.name: film for film in find_films(world.worlds)}
        self._labels = {name: FilmLabels(film.path) for name, film in self._films.items()}
        self._schedule = VisitSchedule(tuple(self._films), world.order, world.visit, life.seed, life.index)
        self._world, self._life = world, life
        self._reel: Reel | None = None
        self._shown = 0
        self._empty = 0
        self._began = 0.0
        self._visit, self._name, self._entered = -1, "", 0.0
        self._left: tuple[int, str, float, Frame] | None = None
        self._last: Observation | None = None
        self._log: SensorLog | None = None
        self.broken = 0

    @override
    def setup(self) -> None:
        super().setup()
        if self._life.sensor_log is not None:
            self._log = SensorLog(self._life.sensor_log)
        self._enter(self._life.clock())

    @override
    def teardown(self) -> None:
        super().teardown()
        if self._reel is not None:
            self._reel.close()
        if self._log is not None:
            self._log.close()
            self._log = None

    @override
    def read(self) -> Observation:
        """Shows the frame of this moment; where a film is over, already the next one's.

        Raises:
            WorldEnded: Every film was shown, and none is to be shown again.
            RunError: No film can be read any more.
        """
        now = self._life.clock()
        frame = self._frame(now)
        assert self._reel is not None
        labels, world = self._labels[self._reel.film.name].at(self._reel.noted)
        world = world or self._reel.film.name
        if world != self._name:
            self._visit, self._name, self._entered = self._visit + 1, world, now
        seen = self._observation(frame, labels, now)
        if self._log is not None:
            self._log.append(seen.captured_ns)
        self._last = seen
        return seen

    def _frame(self, now: float) -> Frame:
        assert self._reel is not None
        while (frame := self._reel.at(now - self._began)) is None:
            self._empty += 1
            if self._empty > len(self._films):
                raise RunError(f"none of {len(self._films)} films can be read any more")
            if not self._world.loop and self._shown >= len(self._films):
                raise WorldEnded
            if self._last is not None and self._world.fade:
                self._left = (self._visit, self._name, self._entered, self._last.frame)
            self._enter(now)
        self._empty = 0
        return frame

    def _enter(self, now: float) -> None:
        """Begins the next film."""
        if self._reel is not None:
            self._reel.close()
        film = self._films[next(self._schedule)]
        self._reel = Reel(film, image_size=self._world.image_size, fps=self._life.fps, broken=self._note_broken)
        self._shown += 1
        self._began = now
        self._name = ""

    def _observation(self, frame: Frame, labels: Labels | None, now: float) -> Observation:
        visit, world, entered = self._visit, self._name, self._entered
        share = (now - self._began) / self._world.fade if self._world.fade else 1.0
        if self._left is not None and share < 1:
            labels = None  # of two pictures at once nothing is true
            frame = (frame * share + self._left[3] * (1 - share) + 0.5).astype(np.uint8)
            if share < 0.5 - 1e-6:
                visit, world, entered = self._left[:3]
        return Observation(
            frame=frame,
            captured_ns=time.time_ns(),
            world=world,
            visit=visit,
            visit_time=max(now - entered, 0.0),
            labels=labels,
        )

    def _note_broken(self, reason: str) -> None:
        self.broken += 1
        _log.warning("%s; the next film follows", reason)


class NoActuator(Actuator[Action]):
    """Takes actions and does nothing: what was filmed has happened."""

    @override
    def operate(self, action: Action) -> None:
        """Does nothing."""


class VideoEnvironment(ModularEnvironment[Observation, Action]):
    """Films as an environment; arguments as `VideoSensor` takes them."""

    @override
    def __init__(self, world: WorldConfig, life: Life) -> None:
        self.films = VideoSensor(world, life)
        super().__init__(self.films, NoActuator())


def _check(world: WorldConfig) -> None:
    for film in find_films(world.worlds):
        try:
            check_film(film)
        except ImageError as error:
            raise ConfigError("world.worlds", str(film.path), str(error)) from None
        FilmLabels(film.path)


VIDEO = WorldKind(
    name="video",
    what="video files, folders of them, folders of pictures: world.worlds are paths",
    check=_check,
    make=VideoEnvironment,
)
