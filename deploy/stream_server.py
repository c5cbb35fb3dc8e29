"""The server side of a run's stream: which server, which stream on it, whether it answers, and what is left there.

user's server, or embedded one ◄── look(), twice a second: entries, memory, shares; an embedded one that died comes back
                               ◄── snapshot(), after each checkpoint, where `stream.durability` asks for it
                               ◄── weight relay, where `stream.weights` asks for it
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Redis is untyped in parts.

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast
from urllib.parse import urljoin

import redis

from common.broadcast import WeightKeys
from common.broadcast import remove as remove_weights
from common.config import Durability, RunConfig
from common.curiosity.models import MODELS
from common.model_channel import remove_models
from common.signing import given_key
from common.status import StoreStatus
from common.stream import StreamKeys, check_server, connect, last_beats, remove, rollouts_of
from common.weights import WeightSource
from deploy.access import VIEWER, Access, parts_of
from deploy.address import StreamAddress, withdraw
from deploy.memory import relay_bytes
from deploy.relay import WeightRelay
from deploy.rundir import RunDirectory
from deploy.shares import Shares
from deploy.store import EmbeddedStore, save_snapshot
from deploy.supervision import Deaths

_log = logging.getLogger(__name__)


class StreamServer:
    """Where the stream of one run lives.

    Args:
        run: The run's configuration; an empty `redis_url` starts an embedded server.
        directory: The run directory, which also knows the streams of the run's earlier parts.
        say: Notes an event of a kind, with details.
        members: Names of those who learn from the stream; the one learner of a run has none.

    Raises:
        EngramError: The server does not come up, or cannot carry the stream.
    """

    def __init__(
        self, run: RunConfig, directory: RunDirectory, *, say: Callable[..., object], members: Sequence[str] = ("",)
    ) -> None:
        given = given_key()
        self._run = run
        self._directory = directory
        self._say = say
        self._keeps = run.stream.durability is not Durability.MEMORY
        self._embedded: EmbeddedStore | None = None
        self._relay: WeightRelay | None = None
        self._deaths = Deaths("the embedded server", run.restarts)
        self._status = StoreStatus(budget=run.stream.budget)
        self._process = ""
        if not run.redis_url:
            self._embedded = EmbeddedStore(
                run.stream.budget,
                extra=relay_bytes(run),
                durability=run.stream.durability,
                folder=directory.path.resolve() / "store" if self._keeps else None,
            )
        self.url = run.redis_url if self._embedded is None else self._embedded.url
        """Where the stream is, password included: never logged."""
        key = given or (self._embedded.key if self._embedded else None)
        self._client = connect(self.url)
        try:
            self._earlier = [str(row["stream"]) for row in directory.read_events() if "stream" in row]
            self.stream = self._survivor() or f"{directory.path.name}-{secrets.token_hex(4)}"
            """Id of the stream."""
            check_server(self.url, budget=run.stream.budget, stream=self.stream, durability=run.stream.durability)
            parts = parts_of(run, members)
            self.access = Access(self.url, self.stream, parts, earlier=self._earlier, key=key, say=say)
            """Who may do what; what the run signs with, if it has a key."""
        except BaseException:
            self._client.close()
            if self._embedded is not None:
                self._embedded.stop(keep=self._keeps)
            raise
        self._keys = StreamKeys(self.stream)
        names = [f"actor-{index}" for index in range(run.actors.total)]
        self._shares = Shares(self._client, self._keys, names, budget=run.stream.budget, say=say)
        known = {} if run.redis_url else {"url": self.access.url(VIEWER), "key": (key or b"").hex()}
        self._address = StreamAddress.publish(directory.path, stream=self.stream, **known)

    @property
    def temporary(self) -> EmbeddedStore | None:
        """The embedded server, where nothing of it is to outlive the run."""
        return None if self._keeps else self._embedded

    def announce(self, *, metrics_url: str, control_url: str) -> None:
        """Writes beside the stream's address where the run takes commands, and where it says how it does.

        Args:
            metrics_url: Where Prometheus finds the run; its status is beside that.
            control_url: Where the run takes commands; empty where it takes none.
        """
        told = replace(self._address, status_url=urljoin(metrics_url, "status"), control_url=control_url)
        told.write(self._directory.path)

    def relay(self, source: WeightSource) -> None:
        """Copies the weights to the server from now on, where the configuration asks for it."""
        if self._run.stream.weights or self._run.actors.edge:
            self._relay = WeightRelay(
                source,
                lambda: connect(self.url),
                WeightKeys(self.stream),
                every=self._run.learner.publish_every / 4,
                key=self.access.key,
            )

    def stop_relay(self) -> None:
        """Ends the copying of weights; to be called while Ray is still up."""
        if self._relay is not None:
            self._relay.close()

    def look(self) -> StoreStatus:
        """Asks the server how it does; brings an embedded one back.

        Raises:
            RunError: It died too often.
        """
        if self._embedded is not None and self._embedded.revive():
            self._deaths.count()
            self._status = replace(self._status, restarts=self._status.restarts + 1)
            self._say("restart", part="store", reason="its process died")
        try:
            client = cast(Any, self._client)
            names = [f"actor-{index}" for index in range(self._run.actors.total)]
            entries = {name: int(client.xlen(self._keys.frames(name))) for name in names}
            info = client.info("memory")
            if (process := str(client.info("server").get("run_id"))) != self._process:
                self._process = process
                self.access.renew()  # users live in the memory of a server's process
            self._status = replace(
                self._status,
                up=True,
                entries=entries,
                memory=int(info["used_memory"]),
                limit=int(info["maxmemory"]),
                relayed=self._relay.version if self._relay else 0,
            )
            self._shares.look(self._status.memory, self._status.limit)
        except redis.RedisError:
            self._status = replace(self._status, up=False)
        return self._status

    def beats(self) -> dict[str, Mapping[str, Any]] | None:
        """Each part's last sign of life; None while the server does not answer."""
        try:
            return last_beats(self._client, self._keys)
        except redis.RedisError:
            return None

    def snapshot(self) -> None:
        """Has the server save itself, where the configuration asks for it; to be called when a checkpoint is saved."""
        if self._run.stream.durability is Durability.SNAPSHOT and (reason := save_snapshot(self.url)):
            self._say("no_snapshot", reason=reason)

    def close(self, *, done: bool) -> None:
        """Lets the server go.

        Args:
            done: All is read and saved, so that nothing need be left behind; else a durable stream stays for a resume.
        """
        withdraw(self._directory.path)
        keep = self._keeps and not done
        if not keep and self._embedded is None:
            for stream in {*self._earlier, self.stream}:
                self._remove(stream)
        self.access.revoke()
        self._client.close()
        if self._embedded is not None:
            self._embedded.stop(keep=keep)

    def _survivor(self) -> str | None:
        """The stream of the run's last part, where the server still has it: what was unread there can still be read."""
        if not self._earlier:
            return None
        keys = StreamKeys(self._earlier[-1])
        if not self._client.exists(keys.actors):
            return None
        self._client.unlink(keys.heartbeats, keys.statuses)  # of processes that are gone
        return self._earlier[-1]

    def _remove(self, stream: str) -> None:
        try:
            remove(self._client, StreamKeys(stream))
            remove_weights(self._client, WeightKeys(stream))
            remove(self._client, StreamKeys(rollouts_of(stream)))
            remove_models(self._client, stream, MODELS)
        except redis.RedisError as error:
            _log.warning("cannot remove the stream %s from the server: %s", stream, error)
