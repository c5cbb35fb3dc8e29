"""The reading end of the replay stream: several actors' streams at once, each entry once, every gap counted.

A reader owns its positions (no consumer group), so any number of readers at any pace leave each other alone. Entries
carry `ord`, the number of entries that their actor had written before: a jump of it is exactly what was trimmed away,
or lost with a restarted server, before this reader came by.

Several readers may divide a stream among them (`Share`): each goes past every entry, and hands out and counts its own.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import redis

from common.errors import WireError
from common.messages import Datum
from common.signing import SIGNATURE, Signer
from common.stream.keys import StreamKeys
from common.stream.readahead import Entries, ReadAhead
from common.stream.share import Share
from common.stream.takeover import WRONG_TYPE, is_own, place
from common.wire import Fields, checked_name, decode

COUNT = 32
"""Entries a read takes from one stream at most: a greedy reader holds up the writers."""
READ_BYTES = 8 * 2**20
"""Bytes that a read aims at, all streams together: so many may wait in the server for a reader that rests."""

QUARANTINE_LENGTH = 100
MOST_ACTORS = 4096
"""Actors that a reader follows: the set of their names can be added to by each of them."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Position:
    """Where a reader stands in one actor's stream; what it counts is of its share.

    Attributes:
        seq: Last entry read, its id's first number.
        sub: Its id's second number: 0 for the actor's own.
        whole: `seq` of the last entry that decoded.
        ordinal: The `ord` that is expected next.
        damaged: Entries since then that did not decode, so that their `ord` is not known.
        missed: Entries gone before they were read.
        quarantined: Entries that did not decode.
        duplicates: Entries numbered like earlier ones, and dropped.
        foreign: Entries that the actor did not write; in no sum.
    """

    seq: int = 0
    sub: int = 0
    whole: int = 0
    ordinal: int = 0
    damaged: int = 0
    missed: int = 0
    quarantined: int = 0
    duplicates: int = 0
    foreign: int = 0


class StreamReader:
    """Reads all actors' streams from positions of its own.

    Args:
        client: Connection to the server, not shared with another thread.
        keys: Names of the stream's keys.
        positions: Where to go on from, as `state()` gave it; empty starts at the oldest entry.
        share: The entries that this reader answers for; all by default. What no actor wrote is the first reader's.
        key: Key that entries must be signed with; that of this process by default, and none where it has none.
        keeps: Whether what is not fit to be handed out is kept aside in the server.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        keys: StreamKeys,
        positions: Mapping[str, Mapping[str, int]] | None = None,
        share: Share | None = None,
        key: bytes | None = None,
        keeps: bool = True,
    ) -> None:
        self._client = client
        self._keys = keys
        self._share = share or Share()
        self._signer = Signer.of(keys.stream, key)
        self._keeps = keeps
        self._ahead = ReadAhead(client)
        self._size = 64 * 2**10
        self._totals: dict[str, int] = {}
        self._strangers: dict[str, tuple[int, int]] = {}
        self._spoiled: set[str] = set()
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
            if (actor := _actor(name)) and (actor in self._positions or len(self._positions) < MOST_ACTORS):
                self._positions.setdefault(actor, Position())
        server = str(self._client.info("server").get("run_id", ""))  # pyright: ignore[reportUnknownMemberType]
        if self._server and server != self._server:
            self.resets += 1
        self._server = server

    def tell(self, name: str) -> None:
        """Says under this name how far the reader is, for a writer that waits for it (`common.stream.progress`).

        Raises:
            redis.RedisError: The server does not answer.
        """
        for actor, position in self._positions.items():
            cast(Any, self._client).hset(self._keys.read(actor), name, position.ordinal + position.damaged)

    def read(self) -> list[Datum]:
        """Takes what is new, at most `COUNT` entries of each actor and about `READ_BYTES`, in order; does not wait.

        Raises:
            redis.RedisError: The server does not answer; nothing was taken.
        """
        actors = {self._keys.frames(actor): actor for actor in self._positions}
        after = {key: f"{self._positions[actor].seq}-{self._positions[actor].sub}" for key, actor in actors.items()}
        count = max(1, min(COUNT, READ_BYTES // (self._size * max(1, len(after)))))
        found = self._read(after, count)
        data: list[Datum] = []
        broken: list[Fields] = []
        for key, entries in found.items():
            self._size = max(1, len(entries[-1][1].get(b"data", b"")), self._size * 7 // 8)
            position, name = self._positions[actors[key]], actors[key].encode()
            for entry_id, fields in entries:
                if is_own(name, entry_id, fields, self._signer):
                    taken = _take(position, fields, self._share)
                else:
                    taken = self._pass(actors[key], *place(entry_id), signed=SIGNATURE in fields)
                if isinstance(taken, Datum):
                    data.append(taken)
                elif taken is not None:
                    broken.append(_labelled(fields, actors[key], entry_id, taken))
        self._set_aside(broken)
        return data

    def _read(self, after: Mapping[str, str], count: int) -> dict[str, Entries]:
        try:
            return self._ahead.read(after, count)
        except redis.ResponseError as error:
            if WRONG_TYPE not in str(error):
                raise
        streams = {key for key in after if cast(Any, self._client).type(key) in (b"stream", b"none")}
        for key in after.keys() - streams - self._spoiled:
            _log.error("%s is no stream: nothing is read there", key)
        self._spoiled = after.keys() - streams
        return self._ahead.read({key: entry_id for key, entry_id in after.items() if key in streams}, count)

    def unread(self) -> dict[str, int]:
        """Asks the server how much it has had of each actor, and counts what of it was not read yet.

        Raises:
            redis.RedisError: The server does not answer.
        """
        for name, total in cast(dict[bytes, bytes], self._client.hgetall(self._keys.written)).items():
            if total.isdigit() and len(total) < 20:
                actor = name.decode(errors="replace")
                # A server that came back without its newest entries knows less than was written.
                self._totals[actor] = max(int(total), self._totals.get(actor, 0))
        return self.unread_lately()

    def unread_lately(self) -> dict[str, int]:
        """By actor, what was written by the last time that the server was asked, and not read yet."""
        return {
            actor: self._share.count(position.ordinal + position.damaged, self._totals.get(actor, 0))
            for actor, position in self._positions.items()
        }

    def _pass(self, actor: str, seq: int, sub: int, *, signed: bool) -> str | None:
        """Goes past a stranger's entry, unless that would go past ids that the actor may still use."""
        position = self._positions[actor]
        if seq <= position.seq:
            position.sub = sub
        elif (seq, sub) <= self._strangers.get(actor, (0, 0)):
            return None
        self._strangers[actor] = (seq, sub)
        if not self._share.owns(0):
            return None
        position.foreign += 1
        what = "" if self._signer is None else ", or changed" if signed else ": no signature"
        return f"id {seq}-{sub}: not written by {actor}{what}"

    def _set_aside(self, broken: list[Fields]) -> None:
        try:
            for kept in broken if self._keeps else ():
                self._client.xadd(self._keys.quarantine, cast(Any, kept), maxlen=QUARANTINE_LENGTH, approximate=False)  # pyright: ignore[reportUnknownMemberType]
        except redis.RedisError as error:  # they are counted; the copy for a person to look at is a courtesy
            _log.warning("cannot keep %d broken entries aside: %s", len(broken), error)


def _actor(name: bytes) -> str:
    """The name of an actor; empty for what is none, which would travel on into tables, logs and terminals."""
    try:
        return checked_name("actor", name)
    except WireError:
        return ""


def _labelled(fields: Fields, actor: str, entry_id: bytes, reason: str) -> Fields:
    kept = {name[:64]: value[:65536] for name, value in list(fields.items())[:32]}
    return kept | {b"from": f"{actor} {entry_id.decode()}".encode(), b"reason": reason.encode()}


def _take(position: Position, fields: Fields, share: Share) -> Datum | str | None:
    """Goes past an entry of the actor's own.

    Returns:
        The datum; why there is none; or None for one that is numbered like an earlier one, and for another reader's.
    """
    expected = position.ordinal + position.damaged
    try:
        found = decode(fields)
        # Between two entries an actor captures at least as many frames as it writes.
        seq, most = found.seq, position.ordinal + found.seq - position.whole
        reason = "" if found.ordinal < most else f"ord: {found.ordinal} cannot be, it must be below {most}"
    except WireError as error:
        found, seq, reason = None, int(fields[b"seq"]), str(error)
    position.seq, position.sub = seq, 0
    if found is None or reason:
        position.damaged += 1
        position.quarantined += share.owns(expected)
        return reason if share.owns(expected) else None
    if found.ordinal < position.ordinal:
        position.duplicates += share.owns(found.ordinal)
        return None
    position.missed += share.count(expected, found.ordinal)
    surplus = share.count(found.ordinal, expected)  # written by nobody: forged under a number that was free
    position.quarantined -= surplus
    position.foreign += surplus
    position.whole, position.ordinal, position.damaged = seq, found.ordinal + 1, 0
    return found if share.owns(found.ordinal) else None
