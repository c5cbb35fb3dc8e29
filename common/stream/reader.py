"""The reading end of the replay stream: several actors' streams at once, each entry once, every gap counted.

A reader owns its positions (no consumer group), so any number of readers at any pace leave each other alone. Entries
carry `ord`, the number of entries that their actor had written before: a jump of it is exactly what was trimmed away,
or lost with a restarted server, before this reader came by.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import redis

from common.errors import WireError
from common.messages import Datum
from common.stream.keys import StreamKeys
from common.stream.readahead import ReadAhead
from common.wire import Fields, decode

COUNT = 32
"""Entries a read takes from one stream at most: a greedy reader holds up the writers."""

QUARANTINE_LENGTH = 100

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Position:
    """Where a reader stands in one actor's stream.

    Attributes:
        seq: Last entry read; its id is `seq-0`.
        ordinal: The `ord` that is expected next.
        damaged: Entries since then that did not decode, so that their `ord` is not known.
        missed: Entries gone before they were read.
        quarantined: Entries that did not decode.
        duplicates: Entries seen before and dropped.
    """

    seq: int = 0
    ordinal: int = 0
    damaged: int = 0
    missed: int = 0
    quarantined: int = 0
    duplicates: int = 0


class StreamReader:
    """Reads all actors' streams from positions of its own.

    Args:
        client: Connection to the server, not shared with another thread.
        keys: Names of the stream's keys.
        positions: Where to go on from, as `state()` gave it; empty starts at the oldest entry.
    """

    def __init__(
        self, client: redis.Redis, *, keys: StreamKeys, positions: Mapping[str, Mapping[str, int]] | None = None
    ) -> None:
        self._client = client
        self._keys = keys
        self._ahead = ReadAhead(client, COUNT)
        self._positions = {actor: Position(**state) for actor, state in (positions or {}).items()}
        self._server = ""
        self.resets = 0

    @property
    def positions(self) -> Mapping[str, Position]:
        """Where this reader stands, by actor."""
        return self._positions

    def state(self) -> dict[str, dict[str, int]]:
        """Gives the positions as plain numbers, for a checkpoint."""
        return {actor: asdict(position) for actor, position in self._positions.items()}

    def refresh(self) -> None:
        """Looks for actors that are new, and whether the server was restarted.

        Raises:
            redis.RedisError: The server does not answer.
        """
        for name in cast(Iterable[bytes], self._client.smembers(self._keys.actors)):
            self._positions.setdefault(name.decode(errors="replace"), Position())
        server = str(self._client.info("server").get("run_id", ""))  # pyright: ignore[reportUnknownMemberType]
        if self._server and server != self._server:
            self.resets += 1
        self._server = server

    def read(self) -> list[Datum]:
        """Takes what is new, at most `COUNT` entries of each actor, in each actor's order; does not wait.

        Raises:
            redis.RedisError: The server does not answer; nothing was taken.
        """
        actors = {self._keys.frames(actor): actor for actor in self._positions}
        found = self._ahead.read({key: f"{self._positions[actor].seq}-0" for key, actor in actors.items()})
        data: list[Datum] = []
        broken: list[Fields] = []
        for key, entries in found.items():
            for entry_id, fields in entries:
                match self._take(actors[key], entry_id, fields):
                    case Datum() as datum:
                        data.append(datum)
                    case str() as reason:
                        broken.append(_labelled(fields, actors[key], entry_id, reason))
                    case None:
                        pass
        self._set_aside(broken)
        return data

    def unread(self) -> dict[str, int]:
        """Counts, by actor, what was written and not yet read.

        Raises:
            redis.RedisError: The server does not answer.
        """
        written = cast(dict[bytes, bytes], self._client.hgetall(self._keys.written))
        counts: dict[str, int] = {}
        for actor, position in self._positions.items():
            total = written.get(actor.encode(), b"")
            known = int(total) if total.isdigit() and len(total) < 20 else 0
            counts[actor] = max(0, known - position.ordinal - position.damaged)
        return counts

    def _take(self, actor: str, entry_id: bytes, fields: Fields) -> Datum | str | None:
        """Gives the datum; why it does not decode; or None for one that was seen before."""
        position = self._positions[actor]
        try:
            datum = decode(fields)
            _check_place(datum, actor, entry_id)
        except WireError as error:
            position.seq = int(entry_id.split(b"-")[0])
            position.quarantined += 1
            position.damaged += 1
            return str(error)
        position.seq = datum.seq
        if datum.ordinal < position.ordinal:
            position.duplicates += 1
            return None
        position.missed += max(0, datum.ordinal - position.ordinal - position.damaged)
        position.ordinal, position.damaged = datum.ordinal + 1, 0
        return datum

    def _set_aside(self, broken: list[Fields]) -> None:
        try:
            for kept in broken:
                self._client.xadd(self._keys.quarantine, cast(Any, kept), maxlen=QUARANTINE_LENGTH, approximate=False)  # pyright: ignore[reportUnknownMemberType]
        except redis.RedisError as error:  # they are counted; the copy for a person to look at is a courtesy
            _log.warning("cannot keep %d broken entries aside: %s", len(broken), error)


def _labelled(fields: Fields, actor: str, entry_id: bytes, reason: str) -> Fields:
    kept = {name[:64]: value[:65536] for name, value in list(fields.items())[:32]}
    return kept | {b"from": f"{actor} {entry_id.decode()}".encode(), b"reason": reason.encode()}


def _check_place(datum: Datum, actor: str, entry_id: bytes) -> None:
    if datum.actor != actor or entry_id != b"%d-0" % datum.seq:
        raise WireError(f"actor {datum.actor!r}, seq {datum.seq}: not the stream and id it was found under")
