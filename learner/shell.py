"""The learner as a Ray actor: settles the process and passes every call on."""

import os
from typing import Any, Protocol, cast

import numpy as np
import ray
from numpy.typing import NDArray
from pamiq_core import time

from common.config import RunConfig
from common.process import settle
from common.signing import adopt
from common.status import LearnerStatus
from common.stream import Heartbeat, StreamKeys, connect
from common.system_clock import Stood, set_behind
from common.weights import PayloadKind, WeightSink
from learner.checkpoint import Checkpoint
from learner.device import choose_device
from learner.group import Place, join
from learner.learner import Learner
from learner.ranks import Ranks, part_name


class FetchableSink(WeightSink, Protocol):
    """A sink from which the registry comes to fetch what was offered."""

    def payload(self, version: int, kind: PayloadKind) -> NDArray[np.uint8]:
        """The bytes of a payload offered lately, uint8 [bytes]."""
        ...


class LearnerShell:
    """Runs one `Learner` in a process of its own.

    Args:
        place: Where several ranks meet; None for a learner that trains alone.
        member: Its name, where several learners train on the stream.
        acts: Whether it is this learner's weights that act.
        key: Key that the run signs with; None for none.
        behind: Seconds that the run has stood still before, and since when it does so now, as `set_behind` takes them.
            The others as there.
    """

    def __init__(
        self,
        run: RunConfig,
        *,
        stream: str,
        sink: FetchableSink,
        checkpoint: Checkpoint | None,
        version: int,
        place: Place | None = None,
        member: str = "",
        acts: bool = True,
        key: bytes | None = None,
        behind: Stood = (0.0, None),
    ) -> None:
        part = part_name(place.rank if place else 0, member)
        settle(part=part, threads=run.learner.threads, nice=run.learner.nice, apart=bool(member))
        adopt(key)
        set_behind(*behind)
        self._sink = sink
        self._learner = Learner(
            run,
            stream=stream,
            sink=sink,
            checkpoint=checkpoint,
            version=version,
            ranks=_ranks(run, place),
            part=part,
            acts=acts,
        )
        if behind[1] is not None:
            self._learner.pause()
        self._learner.start()
        self._port = self._learner.metrics.serve()
        self._heartbeat = Heartbeat(
            connect(run.redis_url),
            keys=StreamKeys(stream),
            part=part,
            every=run.stream.heartbeat,
            progress=lambda: self._learner.progress,
        )

    def process(self) -> int:
        """Id of this process."""
        return os.getpid()

    def metrics_port(self) -> int:
        """TCP port of this process's Prometheus endpoint."""
        return self._port

    def exposition(self) -> bytes:
        """What the endpoint shows, for who cannot reach this host's loopback."""
        return self._learner.metrics.exposition()

    def status(self) -> LearnerStatus:
        """Says how the learner does; raises what ended it."""
        return self._learner.status()

    def payload(self, version: int, kind: PayloadKind) -> NDArray[np.uint8]:
        """Gives the registry what was offered; the object belongs to the caller and outlives this process."""
        return self._sink.payload(version, kind)

    def published(self) -> dict[int, str]:
        """Hash of the encoder's parameters by published version."""
        return self._learner.published()

    def snapshot(self, written: int) -> Checkpoint:
        """Takes a consistent checkpoint; see `Learner.snapshot`."""
        return self._learner.snapshot(written)

    def pause(self) -> None:
        """Stops training; system time of this process stands still."""
        self._learner.pause()
        time.pause()

    def resume(self) -> None:
        """Trains again."""
        time.resume()
        self._learner.resume()

    def stop(self, drain: float) -> tuple[LearnerStatus, Checkpoint]:
        """Reads what is left, for at most `drain` seconds, and hands over the last status and checkpoint."""
        self._learner.drain(drain)
        self._learner.pause()
        checkpoint = self._learner.snapshot()
        status = self._learner.status()
        self._learner.close()
        self._learner.metrics.close()
        self._heartbeat.close()
        return status, checkpoint


def _ranks(run: RunConfig, place: Place | None) -> Ranks:
    if place is None:
        return Ranks()
    address = str(cast(Any, ray).util.get_node_ip_address())
    return join(place, choose_device(run.learner.device), address=address)
