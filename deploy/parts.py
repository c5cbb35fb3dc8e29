"""Which processes a run is made of: the one place that knows both the parts and Ray."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
import ray.exceptions

from actors.belongings import Belongings, pack
from actors.shell import ActorShell
from actors.worlds.kinds import kind_of
from common.cohort import of_member
from common.config import RunConfig
from common.process import settle
from common.system_clock import Stood
from common.weights import WeightSource
from deploy.access import Access
from deploy.keeping import read_state
from deploy.placement import Place, Placement
from deploy.probe_set import record_probe_set
from deploy.registry import RayWeightSink, RayWeightSource, WeightRegistry
from deploy.rundir import RunDirectory
from evaluator.probeset import ProbeSpec
from evaluator.shell import EvaluatorShell
from learner import checkpoint as checkpoints
from learner.checkpoint import Checkpoint
from learner.curiosity.shell import PART as CURIOSITY
from learner.curiosity.shell import CuriosityShell
from learner.group import Rendezvous
from learner.ranks import part_name
from learner.shell import LearnerShell

PATIENCE = 10.0
CALLS = 8
"""Calls that a part answers at the same time."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What all parts of a run have in common.

    Attributes:
        access: Where each part finds the stream's server, and what the run signs with.
        stream: Id of the stream.
        stood: How long the run has stood still so far.
    """

    access: Access
    stream: str
    stood: Callable[[], Stood]


def _remote(shell: type[Any], name: str, place: Place) -> Any:
    return ray.remote(shell).options(name=name, num_cpus=0, max_concurrency=CALLS, max_restarts=0, **place.options())


class ActingParts:
    """Makes the Ray actors that live in the worlds, and those that teach them what to do there.

    Args:
        run: The run's configuration.
        stage: What all parts have in common.
        directory: Where actors keep their journals, and restarted parts find their last state.
        placement: Where parts are to live.
        source: The weights that act.
        readers: Names of the parts that read the stream.
    """

    def __init__(
        self,
        run: RunConfig,
        *,
        stage: Stage,
        directory: RunDirectory,
        placement: Placement,
        source: WeightSource,
        readers: Sequence[str],
    ) -> None:
        self._run = run
        self._stage = stage
        self._directory = directory
        self._placement = placement
        self._source = source
        self._readers = readers

    def actor(self, index: int) -> Any:
        """Makes the actor with this number."""
        name = f"actor-{index}"
        shared = self._placement.shared
        access = self._stage.access
        return _remote(ActorShell, name, self._placement.actor(index)).remote(
            access.run(self._run, name),
            key=access.key,
            index=index,
            stream=self._stage.stream,
            source=self._source,
            folder=self._directory.actors.resolve() if shared else None,
            belongings=None if shared else self._belongings(name),
            readers=self._readers,
            behind=self._stage.stood(),
            state=read_state(self._directory, name),
        )

    def _belongings(self, actor: str) -> Belongings:
        """What an actor brings to a host that has not this directory; each time it is a new life."""
        begun = self._directory.actors / f"{actor}.life"
        life = 1 + (int(begun.read_text("utf-8")) if begun.exists() else 0)
        self._directory.write_text_atomic(f"{self._directory.actors.name}/{begun.name}", str(life))
        return Belongings(files=pack(self._directory.actors, actor), life=life)

    def curiosity(self) -> Any:
        """Makes the trainers of the curious agent, from their last state where there is one."""
        access = self._stage.access
        return _remote(CuriosityShell, CURIOSITY, self._placement.curiosity()).remote(
            access.run(self._run, CURIOSITY),
            key=access.key,
            stream=self._stage.stream,
            state=read_state(self._directory, CURIOSITY),
            behind=self._stage.stood(),
        )


class LearningParts:
    """Makes the Ray actors of one learner: its ranks, its evaluator, its weight registry.

    Args:
        run: Its configuration.
        stage: What all parts of the run have in common.
        directory: Where restarted parts find their last checkpoint or state.
        version: Given the registry's newest version, the highest that this learner has ever made.
        placement: Where parts are to live.
        member: Its name, where several learn from the stream.
        acts: Whether it is its weights that act.
    """

    def __init__(
        self,
        run: RunConfig,
        *,
        stage: Stage,
        directory: RunDirectory,
        version: Callable[[int], int],
        placement: Placement,
        member: str,
        acts: bool,
    ) -> None:
        self._run = run
        self._stage = stage
        self._directory = directory
        self._version = version
        self._placement = placement
        self._member = member
        self._acts = acts
        self._checkpoint: Checkpoint | None = None
        self._rendezvous: Rendezvous | None = None
        self._truth = kind_of(run.world).truth
        self._registry: Any = (
            ray.remote(WeightRegistry)
            .options(
                name=of_member("registry", member),
                num_cpus=0,
                max_concurrency=1000,
                max_restarts=-1,
                max_task_retries=0,
                **placement.registry().options(),
            )
            .remote(run.learner.versions_kept)
        )

    def weights(self) -> RayWeightSource:
        """A reader's end of the weight registry."""
        return RayWeightSource(self._registry)

    def learner(self, rank: int) -> Any:
        """Makes a rank of the learner, from the newest checkpoint where there is one; the first before the others.

        Raises:
            CheckpointError: The checkpoint is damaged, or of another number of ranks.
        """
        config = self._run.learner
        if rank == 0:
            self._meet()
        checkpoint = self._checkpoint.of_rank(rank, config.ranks) if self._checkpoint else None
        if rank == config.ranks - 1:
            self._checkpoint = None
        name, access = part_name(rank, self._member), self._stage.access
        return _remote(LearnerShell, name, self._placement.learner()).remote(
            access.run(self._run, name),
            key=access.key,
            stream=self._stage.stream,
            sink=RayWeightSink(self._registry),
            checkpoint=checkpoint,
            version=self._version(self._newest()),
            place=self._rendezvous.place(rank) if self._rendezvous else None,
            member=self._member,
            acts=self._acts,
            behind=self._stage.stood(),
        )

    def _meet(self) -> None:
        """Gives the ranks that are about to be made a place to meet, and what all of them go on from."""
        ranks = self._run.learner.ranks
        newest = checkpoints.latest(self._directory.checkpoints)
        self._checkpoint = checkpoints.load(newest) if newest else None
        self._rendezvous = Rendezvous(ray.util.get_node_ip_address(), ranks) if ranks > 1 else None

    def _newest(self) -> int:
        try:
            info: Any = ray.get(self._registry.newest.remote(), timeout=PATIENCE)
        except ray.exceptions.RayError as error:
            _log.info("the registry does not tell its newest version: %s", error)
            return 0
        return info.version if info else 0

    def evaluator(self) -> Any:
        """Makes the evaluator, from the last state of an earlier one where there is one."""
        name, access = of_member("evaluator", self._member), self._stage.access
        return _remote(EvaluatorShell, name, self._placement.evaluator()).remote(
            access.run(self._run, name),
            key=access.key,
            stream=self._stage.stream,
            source=self.weights(),
            truth=self._truth,
            state=read_state(self._directory, "evaluator"),
            part=name,
        )

    def record_probe_set(self) -> Any:
        """Starts a task that records the probe set on the evaluator's host, where it is missing.

        Returns:
            What to wait for: whether it had to be recorded. None where worlds have no ground truth.
        """
        if not self._truth:
            return None
        task = ray.remote(num_cpus=0, max_retries=1)(_record).options(**self._placement.evaluator().options())
        return task.remote(ProbeSpec.of(self._run), self._run.evaluator.cache, self._run.evaluator.nice)


def _record(spec: ProbeSpec, cache: str, nice: int) -> bool:
    path = spec.cache_path(cache)
    if path.exists():
        return False
    settle(part="probe-set", threads=1, nice=nice)
    record_probe_set(spec, path)
    return True
