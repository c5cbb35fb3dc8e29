"""What an actor's stream says of those who wrote it before: this actor's earlier processes, and strangers.

Entries are ours when they stand where they say, id `seq-0`, have this actor's name, a plain `ord`, and, where the run
has a key, a signature that fits. Anybody else's entry at the end of the stream with a higher id would keep ours
out for good, since ids must rise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import redis

from common.signing import Signer

TAKEN, WRONG_TYPE = "equal or smaller", "wrong kind of value"
"""What a server says of an id that cannot be given any more, and of a key that holds something else than a stream."""
_FENCE = "engram-fence"
"""Consumer group that lives for the moment in which an empty stream is made."""


@dataclass(frozen=True, slots=True)
class Remains:
    """What stands at the end of a stream.

    Attributes:
        seq: Of our newest entry; 0 without one.
        ordinal: Its `ord`; −1 without one.
        length: Entries that the stream holds.
        size: Bytes of values of the newest, or of the oldest where the newest is a stranger's.
    """

    seq: int = 0
    ordinal: int = -1
    length: int = 0
    size: int = 0


def place(entry_id: bytes) -> tuple[int, int]:
    """Splits an id into its two numbers."""
    first, _, second = entry_id.partition(b"-")
    return int(first), int(second)


def is_own(actor: bytes, entry_id: bytes, fields: Mapping[bytes, bytes], signer: Signer | None = None) -> bool:
    """Says whether an entry was written by this actor, whatever else it holds."""
    placed = entry_id == fields.get(b"seq", b"") + b"-0" and fields.get(b"actor") == actor
    return placed and (signer is None or signer.wrote(fields))


def survey(
    client: redis.Redis, key: str, actor: str, *, below: int | None = None, signer: Signer | None = None
) -> Remains | None:
    """Looks at the newest entry.

    Args:
        client: The server.
        key: The stream.
        actor: Whose it should be.
        below: Looks at the newest entry with an id under this `seq` instead.
        signer: Knows the actor's signature; None where the run has no key.

    Returns:
        What stands there, without `seq` and `ordinal` where the newest is a stranger's; None where the key holds
        something else than a stream.

    Raises:
        redis.RedisError: The server does not answer.
    """
    newest = _entries(client, "XREVRANGE", key, "+" if below is None else f"({below}-0", "-", "COUNT", 1)
    if newest is None:
        return None
    if not newest:
        return Remains()
    entry_id, fields = newest[0]
    ordinal = fields.get(b"ord", b"")
    length = int(cast(Any, client).xlen(key))
    size = sum(map(len, fields.values()))
    if is_own(actor.encode(), entry_id, fields, signer) and ordinal.isdigit():
        return Remains(place(entry_id)[0], int(ordinal), length, size)
    oldest = _entries(client, "XRANGE", key, "-", "+", "COUNT", 1) or newest
    return Remains(length=length, size=max(size, sum(map(len, oldest[0][1].values()))))


def own_among(client: redis.Redis, key: str, actor: str, first: int, last: int, *, signer: Signer | None) -> set[int]:
    """Lists the `seq` of the actor's own entries from `first` to `last`.

    Raises:
        redis.RedisError: The server does not answer.
    """
    found = _entries(client, "XRANGE", key, f"{first}-0", f"{last}-0") or []
    return {place(entry_id)[0] for entry_id, fields in found if is_own(actor.encode(), entry_id, fields, signer)}


def _entries(client: redis.Redis, *command: str | int) -> list[tuple[bytes, dict[bytes, bytes]]] | None:
    """Ids and fields that a range command finds; None where the key holds something else than a stream."""
    try:
        return cast(Any, client).execute_command(*command)
    except redis.ResponseError as error:
        if WRONG_TYPE in str(error):
            return None
        raise


def arrived_since(
    client: redis.Redis, key: str, actor: str, *, acked: int, given: int, signer: Signer | None = None
) -> list[int] | None:
    """Closes the stream to everything that earlier processes may still have on the wire, then lists what they had sent.

    Args:
        client: The server.
        key: The stream.
        actor: Whose it is.
        acked: Last `seq` whose arrival is known.
        given: Last `seq` that earlier processes gave: no entry up to it can be written any more.
        signer: Knows the actor's signature; None where the run has no key.

    Returns:
        The `seq` of each own entry after `acked`, rising; None where the stream has had ids beyond `given`, or is none.

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
            if "smaller" in str(error) or WRONG_TYPE in str(error):
                return None
            raise
    return [place(entry_id)[0] for entry_id, fields in found if is_own(actor.encode(), entry_id, fields, signer)]
