"""MULTI … EXEC in one write, packed by hiredis.

redis-py's pipeline checks every argument of every command in Python, which costs the writer more than its frames do
(measured: 1.5 times the rate at 28 kB). A connection's `send_packed_command` and `read_response` are public.
"""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, NamedTuple, cast

import hiredis
import redis

type Argument = str | bytes | int

_NOTHING = len(b"$0\r\n\r\n")
"""Length of an empty argument on the wire."""

_pack: Any = cast(Any, hiredis).pack_command


class Command(NamedTuple):
    """A command whose last argument may be large.

    Attributes:
        words: Name and arguments.
        data: One more argument, as bytes; None for none.
    """

    words: tuple[Argument, ...]
    data: bytes | memoryview | None = None

    def pieces(self) -> tuple[bytes | memoryview, ...]:
        """The command as it goes over the wire; `data` is not copied."""
        if self.data is None:
            return (_pack(self.words),)
        head = _pack((*self.words, b""))[:-_NOTHING]
        return head, b"$%d\r\n" % len(self.data), self.data, b"\r\n"


class Transaction:
    """Commands that are carried out all or none, packed once.

    Args:
        commands: What to do.
    """

    def __init__(self, commands: Iterable[Command]) -> None:
        whole = [Command(("MULTI",)), *commands, Command(("EXEC",))]
        self._replies = len(whole)
        # One buffer, so that sending it gives up the interpreter's lock once and not for each frame.
        self._packed = b"".join(chain.from_iterable(command.pieces() for command in whole))

    def execute(self, client: redis.Redis, meanwhile: Callable[[], None] = lambda: None) -> list[object]:
        """Carries the commands out.

        Args:
            client: Where; a connection is taken from its pool for the time of the call.
            meanwhile: Called when all is sent and the server is at work.

        Returns:
            Each command's reply; an exception where the server refused that one alone.

        Raises:
            redis.RedisError: Nothing was done (a command was refused beforehand, for example for want of memory), or
                the connection broke and it is not known.
        """
        pool = cast(Any, client.connection_pool)
        connection = pool.get_connection()
        refused: redis.ResponseError | None = None
        reply: object = None
        try:
            connection.send_packed_command([self._packed])
            meanwhile()
            for _ in range(self._replies):
                try:
                    reply = connection.read_response()
                except redis.ResponseError as error:
                    refused = refused or error
        except BaseException:  # replies still under way must not be taken for those of the next command
            connection.disconnect()
            raise
        finally:
            pool.release(connection)
        if refused is not None:
            raise refused
        return cast(list[object], reply)
