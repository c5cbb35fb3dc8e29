"""The environment of one actor in a window.

    Target ─► pixels ─► shrink ─► judge ─► Observation ─► agent ─► Action ─► keys and mouse
                                                                      └────► dead-man process

A window that is missing, minimised or without the keyboard gives frames that are counted and written nowhere, and no
key is pressed then.
"""

import time
from typing import override

import numpy as np
from pamiq_core.interaction.modular_env import Actuator, ModularEnvironment, Sensor

from actors.deadman import DeadMan
from actors.worlds.fitness import PictureJudge
from actors.worlds.kinds import Life
from actors.worlds.screen.capture import shrink
from actors.worlds.screen.target import Target
from actors.worlds.sensor_log import SensorLog
from actors.worlds.stays import Stays
from common.config.run import WorldConfig
from common.config.screen import ScreenConfig
from common.messages import Action, Frame, Observation


class ScreenSensor(Sensor[Observation]):
    """Takes a picture of the window at each step.

    Args:
        world: Name of the world, size of frames, which window.
        life: Clock and log.
        target: The window.
    """

    def __init__(self, world: WorldConfig, life: Life, target: Target) -> None:
        super().__init__()
        self._world = world.worlds[0]
        self._size = world.image_size
        self._target = target
        self._life = life
        self._stays = Stays(life.clock)
        self._judge = PictureJudge(world.screen.frozen)
        self._log: SensorLog | None = None
        self._last: Frame = np.zeros((*self._size, 3), np.uint8)

    @override
    def setup(self) -> None:
        super().setup()
        self._target.open()
        if self._life.sensor_log is not None:
            self._log = SensorLog(self._life.sensor_log)

    @override
    def teardown(self) -> None:
        super().teardown()
        if self._log is not None:
            self._log.close()
            self._log = None

    @override
    def on_resumed(self) -> None:
        super().on_resumed()
        self._judge.restart()

    @override
    def read(self) -> Observation:
        """Takes a picture; shows the last one again, marked, where none can be had."""
        pixels, unfit = self._target.see()
        captured_ns = time.time_ns()
        if pixels is not None:
            self._last = shrink(pixels, self._size)
            unfit = unfit or self._judge.judge(self._last, self._life.clock())
        visit, visit_time = self._stays.at(self._world, fit=unfit is None)
        if self._log is not None:
            self._log.append(captured_ns)
        return Observation(
            frame=self._last,
            captured_ns=captured_ns,
            world=self._world,
            visit=visit,
            visit_time=visit_time,
            unfit=unfit,
        )


class ScreenActuator(Actuator[Action]):
    """Steers the window (see `Hand`); presses nothing while another window has the keyboard.

    Args:
        config: Which keys.
        target: The window.
    """

    def __init__(self, config: ScreenConfig, target: Target) -> None:
        super().__init__()
        self._target = target
        self._deadman = DeadMan("actors.deadman.keys", *config.keys) if config.control else None

    @override
    def setup(self) -> None:
        super().setup()
        if self._deadman is not None:
            self._deadman.start()

    @override
    def teardown(self) -> None:
        super().teardown()
        self._target.let_go()
        if self._deadman is not None:
            self._deadman.close()
        self._target.close()

    @override
    def on_paused(self) -> None:
        super().on_paused()
        self._target.let_go()
        if self._deadman is not None:
            self._deadman.rest()

    @override
    def on_resumed(self) -> None:
        super().on_resumed()
        self._target.take()

    @override
    def operate(self, action: Action) -> None:
        """Applies an action."""
        if self._deadman is not None:
            if self._deadman.beat():
                self._target.let_go()
            self._target.act(action)


class ScreenEnvironment(ModularEnvironment[Observation, Action]):
    """Sensor and actuator on one window.

    Args:
        world: The configuration.
        life: The actor.
    """

    @override
    def __init__(self, world: WorldConfig, life: Life) -> None:
        self.target = Target(world.screen)
        super().__init__(ScreenSensor(world, life, self.target), ScreenActuator(world.screen, self.target))
