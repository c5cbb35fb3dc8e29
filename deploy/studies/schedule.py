"""Trials on Ray: as many at once as cores, GPUs and memory allow; what dies is done again from where it stood.

Trial ─► task (its threads, its part of a GPU, its memory) ─► do_trial ─► trial.json
  ▲                    │ process died                        │ refused: failed.json, the others go on
  └──── at most `attempts` times ◄┘
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
import ray.exceptions

from common.errors import ConfigError, EngramError
from common.process import settle
from deploy.cluster import Cluster, JoinedCluster
from deploy.guardian import Guardian
from deploy.studies.cost import memory_bytes
from deploy.studies.plan import Trial
from deploy.studies.trial import FAILURE, SCHEMA, do_trial, result_of

TICK = 1.0


@dataclass(frozen=True, kw_only=True)
class State:
    """How a study stands.

    Attributes:
        ended: Names of trials that are done.
        failed: Why each of these was given up, by name.
        running: Names of those that are being done.
        waiting: How many have not begun.
    """

    ended: tuple[str, ...]
    failed: Mapping[str, str]
    running: tuple[str, ...]
    waiting: int


@dataclass
class Schedule:
    """Does the trials of a study.

    Args:
        trials: All of them; those that have ended are not done again.
        folder: Where theirs are; on a cluster of several hosts, one that all of them share.
        gpus: GPUs of each trial, or a part of one.
        jobs: Most at a time; 0 for as many as there is room for.
        attempts: How often a trial is begun whose process dies.
    """

    trials: Sequence[Trial]
    folder: Path
    gpus: float = 0.0
    jobs: int = 0
    attempts: int = 3
    _ended: list[str] = field(default_factory=list[str])
    _failed: dict[str, str] = field(default_factory=dict[str, str])
    _tried: dict[str, int] = field(default_factory=dict[str, int])
    _running: dict[Any, Trial] = field(default_factory=dict[Any, Trial])
    _waiting: deque[Trial] = field(default_factory=deque[Trial])

    def run(self, make_cluster: Callable[[], Cluster], show: Callable[[State], None]) -> State:
        """Does them.

        Args:
            make_cluster: Makes what they run on; called only where something is left to do.
            show: Called about once a second.

        Returns:
            How it ended.

        Raises:
            ConfigError: The cluster lacks what a trial needs: it would wait for ever.
        """
        for trial in self.trials:
            if result_of(self.folder / trial.name) is not None:
                self._ended.append(trial.name)
            else:
                self._waiting.append(trial)
        show(self._state())
        if not self._waiting:
            return self._state()
        guardian, cluster = Guardian(), make_cluster()
        if cluster.folder:
            guardian.watch(cluster.folder)
        try:
            cluster.start()
            self._check_room()
            shared = self.folder.resolve() if isinstance(cluster, JoinedCluster) else None
            while self._waiting or self._running:
                self._begin(shared)
                done, _ = ray.wait(list(self._running), timeout=TICK)
                for reference in done:
                    self._take(reference)
                show(self._state())
        finally:
            cluster.stop()
            guardian.dismiss()
        return self._state()

    def _state(self) -> State:
        return State(
            ended=tuple(self._ended),
            failed=dict(self._failed),
            running=tuple(trial.name for trial in self._running.values()),
            waiting=len(self._waiting),
        )

    def _check_room(self) -> None:
        """Each trial must fit on one host: Ray lets wait for ever what fits on none."""
        hosts = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        for trial in self._waiting:
            need = self._need(trial)
            for name, amount in need.items():
                most = max(float(host.get(name, 0.0)) for host in hosts)
                if amount > most:
                    allowed = f"is what a trial needs of one host, and the largest has {most:g}"
                    raise ConfigError(f"{trial.variant.name}: {name}", f"{amount:g}", allowed)

    def _begin(self, shared: Path | None) -> None:
        """Hands to Ray what there is room for, no more, so that what waits stays ours to order."""
        while self._waiting and (not self.jobs or len(self._running) < self.jobs):
            trial = self._waiting[0]
            asked = self._need(trial)
            free = self._free()
            if self._running and any(amount > free.get(name, 0.0) for name, amount in asked.items() if amount):
                return
            self._waiting.popleft()
            self._tried[trial.name] = self._tried.get(trial.name, 0) + 1
            options = {
                "num_cpus": asked["CPU"],
                "num_gpus": asked["GPU"],
                "memory": int(asked["memory"]),
                "max_retries": 0,
                "name": trial.name,
            }
            # Each in a process of its own: torch keeps what it took.
            reference = ray.remote(max_calls=1)(_do).options(**options).remote(trial, self.folder.resolve(), shared)
            self._running[reference] = trial

    def _need(self, trial: Trial) -> dict[str, float]:
        return {"CPU": float(trial.config.learner.threads), "GPU": self.gpus, "memory": float(memory_bytes(trial))}

    def _free(self) -> dict[str, float]:
        """What is left of the cluster's resources, by our own books: Ray's lag behind by a moment."""
        left = {name: float(amount) for name, amount in ray.cluster_resources().items()}
        for trial in self._running.values():
            for name, amount in self._need(trial).items():
                left[name] = left.get(name, 0.0) - amount
        return left

    def _take(self, reference: Any) -> None:
        trial = self._running.pop(reference)
        try:
            ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            self._give_up(trial, error.cause)
        except ray.exceptions.RayError as error:  # its process died
            if self._tried[trial.name] < self.attempts:
                self._waiting.append(trial)
            else:
                self._give_up(trial, error)
        else:
            self._ended.append(trial.name)

    def _give_up(self, trial: Trial, error: BaseException | None) -> None:
        text = str(error).strip().splitlines()
        said = text[0] if text else "no reason was given"
        reason = said if isinstance(error, EngramError) else f"{type(error).__name__}: {said}"
        self._failed[trial.name] = reason
        folder = self.folder / trial.name
        content = {"v": SCHEMA, "error": reason, "attempts": self._tried[trial.name]}
        with suppress(OSError):  # a folder that cannot be made may be why it failed; it is told at the end all the same
            folder.mkdir(parents=True, exist_ok=True)
            (folder / FAILURE).write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def _do(trial: Trial, folder: Path, shared: Path | None) -> None:
    """A trial, in a process of its own on whichever host has room."""
    if shared is not None and not shared.is_dir():
        raise EngramError(f"{shared} is not on this host: a study on several hosts needs a folder that all share")
    settle(part=f"trial {trial.name}", threads=trial.config.learner.threads, nice=trial.config.learner.nice)
    do_trial(trial, folder / trial.name)
