"""The Ray cluster of a run: one of its own on this machine, on loopback and gone with it, or one that is joined."""

import logging
import os
import shutil
import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import ray.exceptions

from common.config import LearnerConfig, RunConfig
from common.errors import ConfigError, RunError
from common.process import undisturbed
from common.stream import redact
from common.stream.connection import is_loopback
from deploy.loopback import LOOPBACK, confine, release, start_only_when_asked
from deploy.nodes import address as own_address
from deploy.nodes import here, logs_of, nodes
from deploy.placement import ClusterPlacement, LocalPlacement, Placement
from deploy.ray_thread import RayThread
from deploy.ray_token import make_token, token_path
from deploy.version import code_version

TRIES = 3
"""Times that a cluster is started whose processes do not come up within the half minute that Ray gives them."""
ANSWERS_WITHIN = 5.0
"""Seconds that a cluster's address has to take a connection."""
LOGS_WITHIN = 30.0
"""Seconds that hosts have to hand over what a part has said: one that has gone is asked in vain."""

_LATE = "timed out during startup"
_log = logging.getLogger(__name__)

_ENVIRONMENT = {
    # Inherited by every process of the run. Spinning OpenMP workers slow the neighbours on shared cores ten times.
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_NUM_THREADS": "1",
    # Ray would give all its processes niceness 15, above what the learner asks for: actors would lose their precedence.
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}


def prepare_environment() -> None:
    """Sets what all processes of the run inherit; call it before torch computes and before Ray starts."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    start_only_when_asked()


def check_ranks(learner: LearnerConfig, *, cpus: int, gpus: int) -> None:
    """Makes sure that several ranks do not share a GPU or a CPU, where they would only wait for each other.

    Args:
        learner: Ranks, device and threads.
        cpus: CPUs of all nodes together.
        gpus: GPUs likewise.

    Raises:
        ConfigError: There are not enough.
    """
    ranks = learner.ranks
    if ranks == 1:
        return
    if learner.device != "cpu" and gpus:
        if gpus < ranks:
            allowed = f"each rank needs a GPU of its own and there are {gpus}; learner.device cpu trains on CPUs"
            raise ConfigError("learner.ranks", ranks, allowed)
    elif (needed := ranks * learner.threads) > cpus:
        allowed = f"with learner.threads = {learner.threads} they need {needed} CPUs, and there are {cpus}"
        raise ConfigError("learner.ranks", ranks, allowed)


class LocalCluster:
    """A Ray cluster of one node.

    Args:
        objects: Bytes of its object store.
        talkative: What parts print comes to this process's output too.
    """

    def __init__(self, objects: int, *, talkative: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="engram-"))
        self._objects = objects
        self._talkative = talkative
        self._ray: RayThread | None = None

    def start(self) -> None:
        """Brings it up; bare `ray.init()` could join any other cluster on this host.

        Raises:
            RunError: It does not come up, because the machine is too busy.
        """
        make_token(token_path())
        confine()
        with undisturbed():
            for attempt in range(1, TRIES + 1):
                self._ray = self._on_a_thread()
                try:
                    self._ray.start()
                    return
                except Exception as error:  # of no class of its own
                    if _LATE not in str(error):
                        raise
                    self._end_processes()
                    self._ray.stop()
                    if attempt == TRIES:
                        raise RunError(f"Ray did not come up in {TRIES} times 30 s: the machine is busy") from None
                    _log.warning("Ray did not come up within 30 s: trying again")

    def _on_a_thread(self) -> RayThread:
        return RayThread(
            address="local",
            num_cpus=os.cpu_count(),
            include_dashboard=False,
            log_to_driver=self._talkative,
            object_store_memory=self._objects,
            _temp_dir=str(self.folder),
            _node_ip_address=LOOPBACK,
        )

    def _end_processes(self) -> None:
        """Ends what a start that failed has left: Ray leaves it until the end of this process."""
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if any(str(self.folder) in word for word in process.cmdline()):
                    process.kill()
                    process.wait(5.0)

    def gpus(self) -> int:
        """How many GPUs there are."""
        import torch  # not of all who need a cluster

        return torch.cuda.device_count()

    def placement(self, run: RunConfig, *, gpus: float | None = None, learners: int = 1) -> Placement:
        """Where the parts of a run are to live; its learner takes `gpus` of a GPU, by default all that is left."""
        return LocalPlacement(run, gpus=gpus)

    def stop(self) -> None:
        """Ends all of its processes and removes its files; logs of parts that failed were kept by the run directory."""
        if self._ray is not None:
            self._ray.stop()
        release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self) -> list[Path]:
        """What the parts have written to their standard error."""
        return sorted(self.folder.glob("session_*/logs/worker-*.err"))

    def keep_logs(self, part: str, folder: Path) -> None:
        """Copies what a part has said to a folder: Ray's own logs vanish with the run."""
        folder.mkdir(exist_ok=True)
        for log in self.logs():
            if f" {part} " in log.read_text("utf-8", "replace")[:4000]:
                shutil.copy(log, folder / f"{part}-{log.name}")


class JoinedCluster:
    """A cluster of hosts that was there before the run and stays when it ends; `engram node` made it.

    Args:
        address: Where it is; `auto` on one of its hosts.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._ray: RayThread | None = None
        self.folder: Path | None = None
        """Nothing of the cluster's is the run's to remove."""

    def start(self) -> None:
        """Joins it.

        Raises:
            ConfigError: It is not there.
        """
        self._ray = RayThread(address=self._address, log_to_driver=False)
        try:
            _reach(self._address)
            self._ray.start()
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            allowed = f"cannot be joined ({reason}): start it by `ray up deploy/cluster.yaml`, and run on its head"
            raise ConfigError("cluster", self._address, allowed) from None

    def gpus(self) -> int:
        """How many GPUs its hosts have."""
        return int(sum(node.offers("GPU") for node in nodes()))

    def placement(self, run: RunConfig, *, gpus: float | None = None, learners: int = 1) -> Placement:
        """Where the parts of a run are to live.

        Args:
            run: The run's configuration.
            gpus: What its learner takes of a GPU; by default all that is left.
            learners: How many learners there are in all.

        Raises:
            ConfigError: The cluster lacks what the run needs, or its hosts cannot reach the run's Redis server.
        """
        host = urlsplit(run.redis_url).hostname or ""
        if len(nodes()) > 1 and (not host or is_loopback(host)):
            allowed = "must name a server that all hosts of the cluster reach; `engram keys` prepares one"
            raise ConfigError("redis_url", redact(run.redis_url), allowed)
        version = code_version()
        return ClusterPlacement(run, nodes=nodes, here=here(), version=version, gpus=gpus, learners=learners)

    def stop(self) -> None:
        """Leaves it; Ray ends the run's parts."""
        if self._ray is not None:
            self._ray.stop(hasty=True)  # Ray tries an address that does not answer for many minutes

    def keep_logs(self, part: str, folder: Path) -> None:
        """Copies what a part has said to a folder, from whichever host still has it and answers, by and by."""
        threading.Thread(target=_keep_logs, args=(part, folder), name=f"logs-{part}", daemon=True).start()


def _reach(address: str) -> None:
    """Sees to it that something listens at an address; `auto` is for Ray to find.

    Raises:
        ConnectionError: Nothing does.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return
    if is_loopback(host.strip("[]")):
        host = own_address()  # as Ray does: a head need not listen on loopback
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS_WITHIN).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(f"nothing answers there: {error}") from None


def _keep_logs(part: str, folder: Path) -> None:
    try:
        for name, text in logs_of(part, within=LOGS_WITHIN).items():
            folder.mkdir(exist_ok=True)
            (folder / f"{part}-{name}").write_text(text, "utf-8")
    except (ray.exceptions.RayError, OSError) as error:  # the run has ended, or the disk is full
        _log.warning("no logs of %s are kept: %s", part, error)


type Cluster = LocalCluster | JoinedCluster


def cluster_of(run: RunConfig, objects: int) -> Cluster:
    """The cluster that a configuration asks for.

    Args:
        run: The run's configuration.
        objects: Bytes of the object store, where it is made for this run.
    """
    return JoinedCluster(run.cluster) if run.cluster else LocalCluster(objects)
