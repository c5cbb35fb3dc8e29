"""How far readers are, for a writer that waits for them: `StreamReader.tell` says it in Redis."""

from collections.abc import Iterable
from typing import Any, cast

import redis

from common.stream.keys import StreamKeys


def slowest(client: redis.Redis, keys: StreamKeys, *, actor: str, readers: Iterable[str]) -> int:
    """Entries of an actor that all of these readers have gone past; 0 while one of them has said nothing.

    Raises:
        redis.RedisError: The server does not answer.
    """
    told = cast(dict[bytes, bytes], cast(Any, client).hgetall(keys.read(actor)))
    found = [told.get(reader.encode(), b"") for reader in readers]
    return min((int(number) if number.isdigit() else 0 for number in found), default=0)
