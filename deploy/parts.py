"""Which processes a run is made of: the one place that knows both the parts and Ray."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.exceptions
import torch

from actors.shell import ActorShell
from actors.worlds.kinds import kind_of
from actors.worlds.walks import record_walk
from common.config import RunConfig
from common.process import settle
from common.system_clock import Stood
from deploy.keeping import read_state
from deploy.registry import RayWeightSink, RayWeightSource, WeightRegistry
from deploy.rundir import RunDirectory
from evaluator.probeset import ProbeSet, ProbeSpec
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


def _remote(shell: type[Any], name: str, **options: Any) -> Any:
    return ray.remote(shell).options(name=name, num_cpus=0, max_concurrency=CALLS, max_restarts=0, **options)


class Parts:
    """Makes the Ray actors of one run.

    Args:
        run: The run's configuration, with the URL of the server that is used.
        stream: Id of the stream.
        directory: Where actors keep their journals, and restarted parts find their last checkpoint or state.
        version: Given the registry's newest version, the highest that this run has ever made.
        stood: How long the run has stood still so far.
    """

    def __init__(
        self,
        run: RunConfig,
        *,
        stream: str,
        directory: RunDirectory,
        version: Callable[[int], int],
        stood: Callable[[], Stood],
    ) -> None:
        self._run = run
        self._stream = stream
        self._directory = directory
        self._version = version
        self._stood = stood
        self._checkpoint: Checkpoint | None = None
        self._rendezvous: Rendezvous | None = None
        truth = kind_of(run.world).truth
        self.probe_set = ProbeSpec.of(run).cache_path(run.evaluator.cache) if truth else None
        """File of the probe set; None where worlds have no ground truth."""
        self._registry: Any = (
            ray.remote(WeightRegistry)
            .options(name="registry", num_cpus=0, max_concurrency=1000, max_restarts=-1, max_task_retries=0)
            .remote(run.learner.versions_kept)
        )

    def weights(self) -> RayWeightSource:
        """A reader's end of the weight registry."""
        return RayWeightSource(self._registry)

    def actor(self, index: int) -> Any:
        """Makes the actor with this number."""
        return _remote(ActorShell, f"actor-{index}").remote(
            self._run,
            index=index,
            stream=self._stream,
            source=self.weights(),
            folder=self._directory.actors.resolve(),
            behind=self._stood(),
            state=read_state(self._directory, f"actor-{index}"),
        )

    def curiosity(self) -> Any:
        """Makes the trainers of the curious agent, from their last state where there is one."""
        config = self._run.curiosity
        gpu = config.device != "cpu" and torch.cuda.is_available()
        return _remote(CuriosityShell, CURIOSITY, num_gpus=config.gpus if gpu else 0).remote(
            self._run,
            stream=self._stream,
            state=read_state(self._directory, CURIOSITY),
            behind=self._stood(),
        )

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
        gpu = config.device != "cpu" and torch.cuda.is_available()
        return _remote(LearnerShell, part_name(rank), num_gpus=1 if gpu else 0).remote(
            self._run,
            stream=self._stream,
            sink=RayWeightSink(self._registry),
            checkpoint=checkpoint,
            version=self._version(self._newest()),
            place=self._rendezvous.place(rank) if self._rendezvous else None,
            behind=self._stood(),
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
        return _remote(EvaluatorShell, "evaluator").remote(
            self._run,
            stream=self._stream,
            source=self.weights(),
            probe_set=self.probe_set,
            state=read_state(self._directory, "evaluator"),
        )

    def record_probe_set(self) -> Any:
        """Starts a task that records the probe set, unless there is none; returns what to wait for, or None."""
        if self.probe_set is None or self.probe_set.exists():
            return None
        task = ray.remote(num_cpus=0, max_retries=1)(_record)
        return task.remote(ProbeSpec.of(self._run), self.probe_set, self._run.evaluator.nice)


def _record(spec: ProbeSpec, path: Path, nice: int) -> None:
    settle(part="probe-set", threads=1, nice=nice)
    record_probe_set(spec, path)


def record_probe_set(spec: ProbeSpec, path: Path) -> None:
    """Walks the walks of a probe set and saves it; minutes, by the number of walks."""
    record = partial(record_walk, lead=spec.lead, image_size=spec.image_size)
    walks = (
        record(world, seed=spec.seed + number, frames=spec.frames, every=spec.every)
        for world in spec.names
        for number in range(spec.trajectories)
    )
    stays = (
        record(world, seed=spec.seed + spec.trajectories + number, frames=spec.stay_frames, every=spec.stay_every)
        for world in spec.placebo
        for number in range(spec.stays)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    ProbeSet.from_walks(
        spec,
        ((walk.world, walk.frames, walk.labels) for walk in walks),
        ((stay.world, stay.frames) for stay in stays),
    ).save(path)
