"""A run that is nothing but statuses: real metrics, the real directory, and whatever has to be seen of a fault.

Life.statuses ──► common.metrics ──► deploy.discovery ──► Prometheus
"""

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from common.catalogue import Metric, Role
from common.metrics import Metrics
from common.status import (
    ActorStatus,
    Bounded,
    EvaluatorStatus,
    LearnerStatus,
    ReaderCounts,
    RunStatus,
    StoreStatus,
    StudyStatus,
    WriterCounts,
)
from deploy.discovery import MetricsDirectory

FPS = 10
PARTS = ("actor-0", "actor-1", "learner", "evaluator")
MIB = 2**20
STUDY = StudyStatus(
    measure="bits",
    threshold=0.9,
    times={"t_mem": Bounded(value=65.0, low=55.0, high=75.0), "t_forget": Bounded(value=400.0)},
    outcomes={"t_mem": {"event": 7, "censored": 2, "collapse": 0}, "t_forget": {"event": 3, "censored": 4}},
    contrasts={"episodic": Bounded(value=0.6, low=0.2, high=1.0), "world": Bounded(value=2.1, low=1.8, high=2.4)},
    ratios={"margin": Bounded(value=2.5), "false_memories": Bounded(value=0.1)},
    continual={"acc": Bounded(value=0.6, low=0.5, high=0.7), "forgetting": Bounded(value=0.05)},
)


@dataclass(slots=True)
class Life:
    """What the run would say of itself; a test changes single fields.

    Attributes:
        began: When it began.
        silenced: When actor-1 stopped to capture; None while it lives.
        stalled: When the learner stopped to train, likewise.
        actor: Fields of actor-0.
        learner: Fields of the learner.
        evaluator: Fields of the evaluator.
        store: Fields of the server.
        run: Fields of the run.
    """

    began: float = field(default_factory=time.monotonic)
    silenced: float | None = None
    stalled: float | None = None
    late: float | None = None
    actor: Mapping[str, object] = field(default_factory=dict[str, object])
    learner: Mapping[str, object] = field(default_factory=dict[str, object])
    evaluator: Mapping[str, object] = field(default_factory=dict[str, object])
    store: Mapping[str, object] = field(default_factory=dict[str, object])
    run: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def age(self) -> float:
        """Seconds lived."""
        return time.monotonic() - self.began

    def actor_status(self, name: str) -> ActorStatus:
        """Ten frames a second, and the newest weights."""
        quiet = time.monotonic() - self.silenced if self.silenced is not None and name == "actor-1" else 0.0
        frames = round(FPS * (self.age - quiet))
        late = round(0.5 * FPS * (time.monotonic() - self.late)) if self.late is not None and name == "actor-0" else 0
        status = ActorStatus(
            name=name,
            world="freedoom2:map01",
            frames=frames,
            fps=float(FPS),
            late=late,
            counts=WriterCounts(captured=frames, written=frames),
            weights_version=self._version(),
            covered={"freedoom2:map01": 12},
        )
        return replace(status, **self.actor) if name == "actor-0" else status

    def learner_status(self) -> LearnerStatus:
        """A hundred frames a second, a version each second."""
        idle = time.monotonic() - self.stalled if self.stalled is not None else 0.0
        status = LearnerStatus(
            step=round(10 * self.age),
            images=round(100 * (self.age - idle)),
            version=self._version(),
            counts={name: ReaderCounts(unread=3, admitted=round(FPS * self.age)) for name in PARTS[:2]},
            health={"rankme": 20.0, "feature_std": 0.3},
        )
        return replace(status, **self.learner)

    def evaluator_status(self) -> EvaluatorStatus:
        """The newest version was measured five seconds ago."""
        status = EvaluatorStatus(
            version=self._version(), evaluations=3, every=30.0, seconds=5.0, age=5.0, health={"rankme": 20.0}
        )
        return replace(status, **self.evaluator)

    def run_status(self) -> RunStatus:
        """A run that goes well."""
        status = RunStatus(
            phase="running",
            elapsed=self.age,
            parts=PARTS,
            disk_free=10**12,
            study=STUDY,
            store=replace(
                StoreStatus(
                    up=True, entries=dict.fromkeys(PARTS[:2], 1000), memory=70 * MIB, budget=64 * MIB, limit=128 * MIB
                ),
                **self.store,
            ),
        )
        return replace(status, **self.run)

    def _version(self) -> int:
        return 1 + round(self.age)


@contextmanager
def shown(life: Life, name: str) -> Generator[MetricsDirectory]:
    """Everything that a run with this life would show to Prometheus, for as long as the block."""
    driver = Metrics(Role.DRIVER)
    driver.follow(life.run_status)
    directory = MetricsDirectory(run=name, metrics=driver, status=life.run_status, model="vit-48x2")
    made: list[Metrics] = []
    try:
        for part in PARTS:
            metrics = Metrics(Role(part.partition("-")[0]))
            made.append(metrics)
            if part == "learner":
                metrics.follow(life.learner_status)
                metrics.observe(Metric.LEARNER_GLASS_SECONDS, 3.0)
            elif part == "evaluator":
                metrics.follow(life.evaluator_status)
            else:
                metrics.follow(lambda part=part: life.actor_status(part))
            directory.register(part, metrics.serve())
        yield directory
    finally:
        directory.close()
        for metrics in made:
            metrics.close()
