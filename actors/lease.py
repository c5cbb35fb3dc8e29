"""Makes sure that nobody else is the same actor: two would write over each other."""

import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import psutil
import redis

from common.config import RunConfig
from common.errors import ConfigError
from common.stream import StreamKeys
from common.wire import MAX_NAME

TTL = 600
"""Seconds for which a number stays taken after its actor's last sign: longer than a network is usually gone."""


class Lease:
    """A number that this process has, until it gives it back.

    Args:
        client: The stream's server.
        keys: Names of the stream's keys.
        index: Number of the actor.
    """

    def __init__(self, client: redis.Redis, keys: StreamKeys, index: int) -> None:
        self._client = client
        self._key = keys.lease(f"actor-{index}")
        self.index = index
        self._mine = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(8)}".encode()

    def take(self) -> str:
        """Takes the number, or keeps it; from a process of this host that is gone at once.

        Returns:
            Who has it; empty if this process does now.

        Raises:
            redis.RedisError: The server does not answer.
        """
        for _ in range(2):
            if self._client.set(self._key, self._mine, nx=True, ex=TTL):
                return ""
            holder = cast("bytes | None", self._client.get(self._key)) or b""
            if holder == self._mine:
                self._client.expire(self._key, TTL)
                return ""
            if not _gone(holder):
                who = " process ".join(holder[:MAX_NAME].decode(errors="replace").split(" ")[:2])
                return "".join(character for character in who if character.isprintable())
            self._free(holder)
        return "another process"

    def give_back(self) -> None:
        """Lets others have it.

        Raises:
            redis.RedisError: The server does not answer.
        """
        self._free(self._mine)

    def _free(self, holder: bytes) -> None:
        """Takes the number from this holder, unless somebody else has it by now."""
        with cast(Any, self._client).pipeline() as pipeline, suppress(redis.WatchError):
            pipeline.watch(self._key)
            if cast("bytes | None", pipeline.get(self._key)) == holder:
                pipeline.multi()
                pipeline.delete(self._key)
                pipeline.execute()


def _gone(holder: bytes) -> bool:
    host, _, rest = holder.decode(errors="replace").partition(" ")
    pid = rest.partition(" ")[0]
    return host == socket.gethostname() and pid.isdecimal() and not psutil.pid_exists(int(pid))


def take_number(client: redis.Redis, keys: StreamKeys, run: RunConfig, *, folder: Path, number: int | None) -> Lease:
    """Takes a number of those that the run keeps for hosts outside Ray.

    Args:
        client: The stream's server.
        keys: Names of the stream's keys.
        run: The run.
        folder: Where earlier actors of this host keep their journals: one of theirs is taken first.
        number: Which, from 0; None for any that is free.

    Raises:
        ConfigError: None is free.
        redis.RedisError: The server does not answer.
    """
    first, count = run.actors.count, run.actors.edge
    if number is not None and not 0 <= number < count:
        raise ConfigError("number", number, f"must be from 0 to {count - 1}: the run has actors.edge = {count}")
    numbers = [number] if number is not None else list(range(count))
    numbers.sort(key=lambda one: not (folder / f"actor-{first + one}.journal").exists())
    holders: list[str] = []
    for one in numbers:
        lease = Lease(client, keys, first + one)
        if not (holder := lease.take()):
            return lease
        holders.append(f"{one} by {holder}")
    raise ConfigError("number", numbers if number is None else number, f"is taken: {', '.join(holders)}")
