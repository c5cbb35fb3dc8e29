"""The actor as a Ray actor: settles the process and passes every call on."""

import os
from collections.abc import Sequence
from pathlib import Path

from actors.belongings import Belongings, pack, remove, state_folder, unpack
from actors.host import ActorHost
from actors.playback import Playback
from common.config import RunConfig
from common.process import settle
from common.signing import adopt
from common.status import ActorStatus
from common.system_clock import Stood, set_behind
from common.weights import WeightSource


class ActorShell:
    """Runs one `ActorHost`, or one recorded actor's `Playback`, in a process of its own.

    Args:
        folder: Where it keeps its files; None for this host's own place for them.
        belongings: What it brings along there, in a cluster.
        key: Key that the run signs with; None for none.
        readers: Names of those that read the stream: a recording that waits waits for them.
        behind: Seconds that the run has stood still before, and since when it does so now, as `set_behind` takes them.
        state: What `state` of an earlier process of this actor gave. The others as there.
    """

    def __init__(
        self,
        run: RunConfig,
        *,
        index: int,
        stream: str,
        source: WeightSource,
        folder: Path | None,
        belongings: Belongings | None = None,
        readers: Sequence[str] = (),
        key: bytes | None = None,
        behind: Stood = (0.0, None),
        state: bytes | None = None,
    ) -> None:
        settle(part=f"actor-{index}", threads=run.actors.threads)
        adopt(key)
        set_behind(*behind)
        self._folder = folder = folder or state_folder() / stream
        brought = belongings or Belongings(life=0)
        unpack(folder, brought.files)
        self._name = f"actor-{index}"
        self._host = (
            Playback(run, index=index, stream=stream, folder=folder, readers=readers)
            if run.playback.recording
            else ActorHost(
                run, index=index, stream=stream, source=source, folder=folder, state=state, life=brought.life
            )
        )
        if behind[1] is not None:
            self._host.pause()
        self._host.start()

    def status(self) -> ActorStatus:
        """Says how the actor does; raises what ended it."""
        return self._host.status()

    def process(self) -> int:
        """Id of this process."""
        return os.getpid()

    def metrics_port(self) -> int:
        """TCP port of this process's Prometheus endpoint."""
        return self._host.metrics_port

    def exposition(self) -> bytes:
        """What the endpoint shows, for who cannot reach this host's loopback."""
        return self._host.metrics.exposition()

    def intervals(self) -> list[float]:
        """Times between the captures of the last minute, seconds."""
        return self._host.intervals()

    def acting_digest(self) -> tuple[int, str]:
        """Names the weights version that acts, and hashes the parameters that do."""
        return self._host.acting_digest()

    def state(self) -> bytes | None:
        """Everything to go on from, between two steps; a recording has none."""
        return self._host.state() if isinstance(self._host, ActorHost) else None

    def pause(self) -> None:
        """Stops acting."""
        self._host.pause()

    def resume(self) -> None:
        """Acts again."""
        self._host.resume()

    def stop(self) -> ActorStatus:
        """Stops capture, writes what waits, and says how it ended."""
        return self._host.close()

    def belongings(self, *, leave: bool = False) -> dict[str, bytes]:
        """Hands over the actor's files by name; with `leave`, it does not come back to this host."""
        files = pack(self._folder, self._name)
        if leave:
            remove(self._folder, self._name)
        return files
