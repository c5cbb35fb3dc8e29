"""What a collector cannot know from its argument: where and when the frame was seen, and by which weights."""

import time as wall
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, override

import numpy as np
from numpy.typing import NDArray
from pamiq_core import time
from pamiq_core.data import DataCollector
from pamiq_core.interaction import Environment

from common.exposure import ExposureRule
from common.messages import Action, Datum, Frame, Observation, Unfit
from common.stream import StreamWriter

BUFFER = "frames"
"""Name of the buffer that frames are collected for."""


@dataclass(slots=True)
class StepContext:
    """The step that is being lived, set by the environment wrapper, read by collectors.

    Attributes:
        observation: What was seen in this step.
        system_time: pamiq-core system time at capture, seconds.
        action: Action in effect until this frame was captured, float32 [A]; empty before the first.
        weights_version: Version of the weights that act; 0 before the first.
        frames: Steps so far.
        unfit: How many of them showed nothing to learn of, by reason.
    """

    observation: Observation | None = None
    system_time: float = 0.0
    action: Action = field(default_factory=lambda: np.zeros(0, np.float32))
    weights_version: int = 0
    frames: int = 0
    unfit: Counter[Unfit] = field(default_factory=Counter[Unfit])


class SituatedEnvironment(Environment[Any, Any]):
    """Passes everything to the environment inside, and notes the context of each step.

    An environment that knows nothing of worlds (one written for plain pamiq-core) is one visit to one world.

    Args:
        inner: The environment.
        context: Where the context is noted.
    """

    def __init__(self, inner: Environment[Any, Any], context: StepContext) -> None:
        self._inner = inner
        self._context = context
        self._began: float | None = None

    @override
    def observe(self) -> Any:
        seen = self._inner.observe()
        now = time.time()
        if self._began is None:
            self._began = now
        context = self._context
        context.system_time = now
        context.frames += 1
        context.observation = (
            seen
            if isinstance(seen, Observation)
            else Observation(
                frame=_checked(seen),
                captured_ns=wall.time_ns(),
                world=type(self._inner).__name__,
                visit=0,
                visit_time=now - self._began,
            )
        )
        if context.observation.unfit is not None:
            context.unfit[context.observation.unfit] += 1
        return seen

    @override
    def affect(self, action: Any) -> None:
        self._inner.affect(action)
        self._context.action = np.array(action, np.float32).reshape(-1)

    @override
    def setup(self) -> None:
        self._inner.setup()

    @override
    def teardown(self) -> None:
        self._inner.teardown()

    @override
    def on_paused(self) -> None:
        self._inner.on_paused()

    @override
    def on_resumed(self) -> None:
        self._inner.on_resumed()

    @override
    def save_state(self, path: Path) -> None:
        self._inner.save_state(path)

    @override
    def load_state(self, path: Path) -> None:
        self._inner.load_state(path)


def _checked(seen: Any) -> Frame:
    """Lets frames pass; other observations need a codec that the wire does not have yet."""
    if not (isinstance(seen, np.ndarray) and seen.dtype == np.uint8 and seen.ndim == 3 and seen.shape[2] == 3):  # pyright: ignore[reportUnknownMemberType]
        kind = f"{seen.dtype} {seen.shape}" if isinstance(seen, np.ndarray) else type(seen).__name__  # pyright: ignore[reportUnknownMemberType]
        raise TypeError(f"the environment shows {kind}; an Observation, or a frame uint8 [H, W, 3], is allowed")
    return cast(Frame, seen)


class StreamCollector(DataCollector[Frame]):
    """A pamiq-core collector that writes to the stream instead of a queue; never blocks. Unfit frames are only counted.

    Args:
        buffer: Name of the buffer that is collected for.
        actor: Name of the actor.
        generation: Which life of the actor this is: a restarted one begins new visits.
        context: The step that is being lived.
        rule: Names the experiences.
        writer: Takes the data.
    """

    def __init__(
        self,
        *,
        buffer: str,
        actor: str,
        generation: int,
        context: StepContext,
        rule: ExposureRule,
        writer: StreamWriter,
    ) -> None:
        super().__init__(0)
        self._buffer = buffer
        self._actor = actor
        self._generation = generation
        self._context = context
        self._rule = rule
        self._writer = writer

    def visit(self, number: int) -> str:
        """Names a visit, unique within the stream."""
        return f"{self._actor}.{self._generation}.{number:04d}"

    @override
    def collect(self, data: NDArray[Any]) -> None:
        context = self._context
        seen = context.observation
        assert seen is not None, "collect() outside of a step"
        if seen.unfit is not None:
            self._writer.refuse()
            return
        visit = self.visit(seen.visit)
        self._writer.put(
            Datum(
                buffer=self._buffer,
                actor=self._actor,
                seq=0,
                visit=visit,
                world=seen.world,
                experience=self._rule.experience(visit, seen.visit_time),
                captured_ns=seen.captured_ns,
                system_time=context.system_time,
                visit_time=seen.visit_time,
                weights_version=context.weights_version,
                action=context.action,
                labels=seen.labels,
                data=data,
            )
        )
