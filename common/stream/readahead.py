"""XREAD that asks for the next entries before it hands out the last ones: the server works while the reader decodes."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

import redis

type Entries = list[tuple[bytes, dict[bytes, bytes]]]
"""Id and fields of each entry."""


class ReadAhead:
    """Reads several streams, each from the last entry that the caller has.

    Args:
        client: Its pool lends a connection while an answer is under way.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._pool = cast(Any, client.connection_pool)
        self._asked: Any = None
        self._asked_count = 0

    def read(self, after: Mapping[str, str], count: int) -> dict[str, Entries]:
        """Takes what is new and waits for nothing else.

        Args:
            after: By key, the id of the last entry that the caller was given, or where it begins.
            count: Entries to ask of one stream at most; what is asked for ahead waits in the server.

        Returns:
            New entries by key; keys without any are left out.

        Raises:
            redis.RedisError: The server does not answer; nothing was taken.
        """
        if not after:
            return {}
        connection = self._asked or self._ask(after, count)
        self._asked = None
        try:
            reply: Any = connection.read_response() or []
        except BaseException:
            self._discard(connection)
            raise
        self._pool.release(connection)
        found: dict[str, Entries] = {}
        streams: Any = cast(dict[bytes, Any], reply).items() if isinstance(reply, dict) else reply  # protocol 3, 2
        for key, entries in streams:
            found[key.decode()] = [
                (entry_id, dict(zip(fields[::2], fields[1::2], strict=False))) for entry_id, fields in entries
            ]
        if any(len(entries) == self._asked_count for entries in found.values()):
            newest = {key: entries[-1][0].decode() for key, entries in found.items()}
            with suppress(redis.RedisError):  # the next call will meet it
                self._asked = self._ask({**after, **newest}, count)
        return found

    def close(self) -> None:
        """Gives up an answer that is under way."""
        if self._asked is not None:
            self._discard(self._asked)
            self._asked = None

    def _ask(self, after: Mapping[str, str], count: int) -> Any:
        self._asked_count = count
        connection = self._pool.get_connection()
        try:
            connection.send_command("XREAD", "COUNT", count, "STREAMS", *after.keys(), *after.values())
        except BaseException:
            self._discard(connection)
            raise
        return connection

    def _discard(self, connection: Any) -> None:
        connection.disconnect()  # an answer still under way must not be taken for that of the next command
        self._pool.release(connection)
