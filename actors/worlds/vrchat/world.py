"""The environment of one actor in VRChat.

    camera or window ─► frame ─► redact ─► judge ─┐
    VRChat's own log ─► which world, loading … ───┼─► Observation ─► agent ─► Action ─► OSC, mouse
    OSC from VRChat ──► away, menu ───────────────┘                             └─────► dead-man process

What is not certain is marked: a frame whose world nothing tells is counted and written nowhere.
"""

import time
from pathlib import Path
from typing import override

import numpy as np
from pamiq_core.interaction.modular_env import Actuator, ModularEnvironment, Sensor

from actors.deadman import DeadMan
from actors.worlds.fitness import PictureJudge
from actors.worlds.kinds import Life
from actors.worlds.sensor_log import SensorLog
from actors.worlds.stays import Stays
from actors.worlds.visits import VisitSchedule
from actors.worlds.vrchat.eyes import make_eyes, paint_over
from actors.worlds.vrchat.feedback import Feedback
from actors.worlds.vrchat.hand import Hand
from actors.worlds.vrchat.hops import Hops, is_destination
from actors.worlds.vrchat.log import VRChatLog
from common.config.run import WorldConfig
from common.config.vrchat import Picture, VRChatConfig
from common.messages import Action, Frame, Observation

UNKNOWN = "unknown"
"""What the world of frames is called that nothing tells the world of; they are never admitted."""


class VRChatSensor(Sensor[Observation]):
    """Looks at VRChat, and at what VRChat tells of itself.

    Args:
        world: The configuration.
        life: Clock and log.
        feedback: What VRChat sends.
    """

    def __init__(self, world: WorldConfig, life: Life, feedback: Feedback) -> None:
        super().__init__()
        config = world.vrchat
        self._size = world.image_size
        self._redact = config.redact
        self._life = life
        self._eyes = make_eyes(config)
        self._vrchat = VRChatLog(
            Path(config.logs) if config.logs else None, settle=config.settle, silence=config.log_silence
        )
        self._feedback = feedback
        self._stays = Stays(life.clock)
        # A camera without a source shows a picture that never changes.
        self._judge = PictureJudge(config.frozen, trusting=config.picture is not Picture.CAMERA)
        self._hops: Hops | None = None
        if config.control and is_destination(world.worlds[0]):
            schedule = VisitSchedule(world.worlds, world.order, world.visit, life.seed, life.index)
            self._hops = Hops(schedule, world.visit)
        self._log: SensorLog | None = None
        self._last: Frame = np.zeros((*self._size, 3), np.uint8)

    @override
    def setup(self) -> None:
        super().setup()
        self._eyes.open()
        self._feedback.open()
        if self._life.sensor_log is not None:
            self._log = SensorLog(self._life.sensor_log)

    @override
    def teardown(self) -> None:
        super().teardown()
        self._eyes.close()
        self._feedback.close()
        self._vrchat.close()
        if self._log is not None:
            self._log.close()
            self._log = None

    @override
    def on_resumed(self) -> None:
        super().on_resumed()
        self._judge.restart()

    @override
    def read(self) -> Observation:
        """Looks; shows the last picture again, marked, where there is none."""
        seen = self._eyes.look(self._size)
        judged = None
        if seen.frame is not None:
            judged = self._judge.judge(seen.frame, self._life.clock())  # paint would hide that the rest is black
            self._last = np.array(seen.frame)
            paint_over(self._last, self._redact)
        now = time.monotonic()
        world, lost = self._vrchat.at(now)
        away = self._feedback.unfit(now)
        if self._hops is not None:
            self._hops.at(world if lost is None else "", self._life.clock())
        unfit = seen.unfit or lost or away or judged
        visit, visit_time = self._stays.at(world or UNKNOWN, fit=unfit is None)
        if self._log is not None:
            self._log.append(seen.captured_ns)
        return Observation(
            frame=self._last,
            captured_ns=seen.captured_ns,
            world=world or UNKNOWN,
            visit=visit,
            visit_time=visit_time,
            unfit=unfit,
        )


class VRChatActuator(Actuator[Action]):
    """Steers the avatar (see `Hand`), watched by a dead-man process.

    Args:
        config: Where VRChat listens.
        delta: Seconds between two actions.
        feedback: Is told what is asked for.
    """

    def __init__(self, config: VRChatConfig, delta: float, feedback: Feedback) -> None:
        super().__init__()
        self._feedback = feedback
        self._hand = Hand(config, delta) if config.control else None
        self._deadman = DeadMan("actors.deadman.osc", config.osc_host, str(config.osc_port))

    @override
    def setup(self) -> None:
        super().setup()
        if self._hand is not None:
            self._deadman.start()
            self._hand.begin()

    @override
    def teardown(self) -> None:
        super().teardown()
        if self._hand is not None:
            self._hand.let_go()
            self._deadman.close()

    @override
    def on_paused(self) -> None:
        super().on_paused()
        if self._hand is not None:
            self._hand.let_go()
            self._deadman.rest()

    @override
    def on_resumed(self) -> None:
        super().on_resumed()
        if self._hand is not None:
            self._hand.begin()
        self._feedback.asked(0.0, time.monotonic())

    @override
    def operate(self, action: Action) -> None:
        """Applies an action."""
        if self._hand is None:
            return
        if self._deadman.beat():
            self._hand.let_go()
        self._hand.act(action)
        self._feedback.asked(float(action[2]), time.monotonic())


class VRChatEnvironment(ModularEnvironment[Observation, Action]):
    """Sensor and actuator of one avatar.

    Args:
        world: The configuration.
        life: The actor.
    """

    @override
    def __init__(self, world: WorldConfig, life: Life) -> None:
        feedback = Feedback(world.vrchat.feedback_port)
        super().__init__(VRChatSensor(world, life, feedback), VRChatActuator(world.vrchat, 1.0 / life.fps, feedback))
