"""Real runs for tests: a small configuration, a driver on a thread, and what to hold them against."""

import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import ray

from actors.worlds.sensor_log import read_sensor_log
from common.config import EvaluatorConfig, LearnerConfig, ModelConfig, OptimConfig, ReplayConfig, RunConfig
from common.config.files import to_yaml
from common.config.presets import preset
from common.status import ReaderCounts, RunStatus, WriterCounts
from deploy.cluster import prepare_environment
from deploy.cohort.plan import Enrolment
from deploy.driver import Driver
from deploy.member import Cohort, Enrolled
from deploy.rundir import RunDirectory


def small_run(run_dir: Path, cache: Path) -> RunConfig:
    """Two actors in three maps, a tiny network, evaluations every few seconds."""
    demo = preset("demo")
    model = ModelConfig(patch_size=8, dim=48, depth=2, heads=2, predictor_dim=24, predictor_depth=1, predictor_heads=2)
    return replace(
        demo,
        duration=0.0,
        run_dir=str(run_dir),
        world=replace(
            demo.world,
            worlds=demo.world.worlds[:2],
            placebo_worlds=demo.world.placebo_worlds[:1],
            visit=12.0,
            image_size=(48, 48),
        ),
        stream=replace(demo.stream, budget=64 * 2**20, experience=3.0, weights=True),
        learner=LearnerConfig(
            model=model,
            optim=OptimConfig(batch_size=16, warmup_steps=10),
            replay=ReplayConfig(capacity=1024, min_fill=64, replay_ratio=4.0),
            publish_every=1.0,
            checkpoint_every=4.0,
        ),
        evaluator=EvaluatorConfig(every=3.0, share=1.0, trajectories=4, frames=12, cache=str(cache)),
    )


def wait_until(condition: Callable[[], bool], timeout: float, what: str) -> None:
    """Waits for a condition, and names it when it does not come true."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"not within {timeout:g} s: {what}"
        time.sleep(0.1)


class LiveRun:
    """A driver that executes on a thread, of a plain run or of a cohort's."""

    def __init__(self, config: RunConfig, *, resumed: bool = False, enrolment: Enrolment | None = None) -> None:
        prepare_environment()
        self._before = set(psutil.Process().children(recursive=True))
        self.config = config
        self.directory = RunDirectory.open(config.path) if resumed else RunDirectory(config.path)
        enter = RunDirectory.open if resumed else RunDirectory
        others = {name: Enrolled(run=run, directory=enter(run.path)) for name, run in _others(enrolment).items()}
        self.directories = [self.directory, *(one.directory for one in others.values())]
        if not resumed:
            self.directory.write_text_atomic("config.yaml", to_yaml(config))
            for one in others.values():
                one.directory.write_text_atomic("config.yaml", to_yaml(one.run))
        cohort = Cohort(acting=enrolment.acting, others=others, gpus=enrolment.gpus) if enrolment else None
        self.driver = Driver(config, self.directory, show=lambda _: None, resumed=resumed, cohort=cohort)
        self.final: RunStatus | None = None
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._execute)
        self._thread.start()

    def _execute(self) -> None:
        try:
            self.final = self.driver.execute()
        except BaseException as error:  # handed to the test
            self.failure = error

    @property
    def status(self) -> RunStatus:
        assert self.failure is None, self.failure
        return self.driver.status()

    def ask(self, part: str, method: str, *arguments: Any) -> Any:
        """Calls a method of a part and waits for the answer."""
        return ray.get(getattr(self.driver.handle(part), method).remote(*arguments), timeout=60)

    def family(self) -> list[psutil.Process]:
        """The run's processes; children that tests before it left to this process are not among them."""
        return [child for child in psutil.Process().children(recursive=True) if child not in self._before]

    def stop(self) -> RunStatus:
        self.driver.stop()
        self._thread.join(120)
        assert not self._thread.is_alive(), "the driver did not stop"
        for directory in self.directories:
            directory.close()
        assert self.failure is None, self.failure
        assert self.final is not None
        return self.final

    def sensor_log(self, actor: str) -> list[int]:
        """What the sensor itself noted, outside of all counting code."""
        return read_sensor_log(self.directory.actors / f"{actor}.sensor")


def _others(enrolment: Enrolment | None) -> Mapping[str, RunConfig]:
    return enrolment.others if enrolment else {}


@contextmanager
def live(config: RunConfig, *, resumed: bool = False, enrolment: Enrolment | None = None) -> Generator[LiveRun]:
    """A run that lives for as long as the block."""
    run = LiveRun(config, resumed=resumed, enrolment=enrolment)
    try:
        yield run
    finally:
        if run.final is None and run.failure is None:
            run.stop()


def writer_adds_up(counts: WriterCounts) -> bool:
    """The first identity: captured = written + dropped + spooled."""
    return counts.captured == counts.written + sum(counts.dropped.values()) + counts.spooled


def read_total(counts: ReaderCounts) -> int:
    """The right side of the second identity."""
    return (
        counts.unread
        + counts.missed
        + counts.quarantined
        + counts.gated
        + counts.guard
        + counts.withheld
        + counts.admitted
    )
