"""A made-up actor: what it sees is noise, when and where it sees it is real."""

from collections.abc import Iterator

import numpy as np

from common.exposure import Exposure, ExposureRule
from common.messages import Datum
from tests.evaluator.walks import SIZE

BLOCK = 10.0


class Life:
    """An actor that walks on and on, a visit of 60 s after another, and the rule of its stream."""

    def __init__(self, actor: str = "actor-0", *, fps: float = 10.0, visit: float = 60.0) -> None:
        self.actor, self.fps, self.visit = actor, fps, visit
        self.rule = ExposureRule(salt="s", block=BLOCK)
        self.rng = np.random.default_rng(0)
        self.steps = 0

    def live(self, seconds: float) -> Iterator[tuple[Datum, Exposure]]:
        for _ in range(round(seconds * self.fps)):
            now = self.steps / self.fps
            self.steps += 1
            number, visit_time = int(now // self.visit), now % self.visit
            name = f"{self.actor}/{number}"
            datum = Datum(
                buffer="frames",
                actor=self.actor,
                seq=self.steps,
                visit=name,
                world=f"w{number % 3}",
                experience=self.rule.experience(name, visit_time),
                captured_ns=int((1000 + now) * 1e9),
                system_time=now,
                visit_time=visit_time,
                weights_version=0,
                action=np.zeros(1, np.float32),
                labels=None,
                data=self.rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8),
            )
            yield datum, self.rule.classify(name, visit_time)
