"""What an actor's stream says of those who wrote it before: this actor's earlier processes, and strangers.

Entries are ours when they stand where they say: id `seq-0`, this actor's name, a plain `ord`. Anybody else's entry at
the end of the stream with a higher id would keep ours out for good, since ids must rise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import redis

_FENCE = "engram-fence"
"""Consumer group that lives for the moment in which an empty stream is made."""


@dataclass(frozen=True, slots=True)
class Remains:
    """What stands at the end of a stream.

    Attributes:
        seq: Of our newest entry; 0 without one.
        ordinal: Its `ord`; −1 without one.
        length: Entries that the stream holds.
        size: Bytes of values of the newest.
    """

    seq: int = 0
    ordinal: int = -1
    length: int = 0
    size: int = 0


def place(entry_id: bytes) -> tuple[int, int]:
    """Splits an id into its two numbers."""
    first, _, second = entry_id.partition(b"-")
    return int(first), int(second)


def is_own(actor: bytes, entry_id: bytes, fields: Mapping[bytes, bytes]) -> bool:
    """Says whether an entry was written by this actor, whatever else it holds."""
    return entry_id == fields.get(b"seq", b"") + b"-0" and fields.get(b"actor") == actor


def survey(client: redis.Redis, key: str, actor: str) -> Remains | None:
    """Looks at the newest entry.

    Returns:
        None where it is not ours.

    Raises:
        redis.RedisError: The server does not answer.
    """
    newest = cast(list[tuple[bytes, dict[bytes, bytes]]], cast(Any, client).xrevrange(key, count=1))
    if not newest:
        return Remains()
    entry_id, fields = newest[0]
    ordinal = fields.get(b"ord", b"")
    if not is_own(actor.encode(), entry_id, fields) or not ordinal.isdigit():
        return None
    length = int(cast(Any, client).xlen(key))
    return Remains(place(entry_id)[0], int(ordinal), length, sum(map(len, fields.values())))


def arrived_since(client: redis.Redis, key: str, acked: int, given: int) -> list[int] | None:
    """Closes the stream to everything that earlier processes may still have on the wire, then lists what they had sent.

    Args:
        client: The server.
        key: The stream.
        acked: Last `seq` whose arrival is known.
        given: Last `seq` that earlier processes gave: no entry up to it can be written any more.

    Returns:
        The `seq` of each entry after `acked`, rising; None where the stream has had ids beyond `given`.

    Raises:
        redis.RedisError: The server does not answer.
    """
    with cast(Any, client).pipeline(transaction=True) as commands:
        if not client.exists(key):
            commands.xgroup_create(key, _FENCE, id="0", mkstream=True)
            commands.xgroup_destroy(key, _FENCE)
        commands.execute_command("XSETID", key, f"{given}-0")
        commands.xrange(key, min=f"({acked}-0")
        try:
            *_, found = commands.execute()
        except redis.ResponseError as error:
            if "smaller" in str(error):
                return None
            raise
    return [place(entry_id)[0] for entry_id, _ in found]
