"""Entries on their way to one stream, and the transaction that brings them there."""

import time
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from common.messages import Datum
from common.signing import SIGNATURE, Signer
from common.stream.keys import StreamKeys
from common.stream.transaction import Command, Transaction
from common.wire import Fields


class Waiting(NamedTuple):
    """One datum in the spool, with the bytes of its arrays."""

    seq: int
    size: int
    datum: Datum


class Packed(NamedTuple):
    """One entry ready to go."""

    seq: int
    captured_ns: int
    fields: Fields


@dataclass(slots=True)
class Batch:
    """Entries that go as one transaction, which is packed for the place in the stream that they should get.

    Attributes:
        entries: In the order of capture.
        ordinal: `ord` of the first, as the transaction has it.
        transaction: The packed commands; None when they must be packed anew.
        sent: How many of them, from the first, may have arrived.
    """

    entries: list[Packed]
    ordinal: int = -1
    transaction: Transaction | None = None
    sent: int = 0

    def address(
        self, ordinal: int, keys: StreamKeys, actor: str, length: int, signer: Signer | None = None
    ) -> Transaction:
        """Packs the commands that write the entries to their place.

        Args:
            ordinal: Entries of this actor before the first.
            keys: Names of the stream's keys.
            actor: The actor.
            length: Entries that its stream may keep.
            signer: Signs each entry; None for none.

        Returns:
            One XADD an entry, then the new total, and the actor's name for a server that came back empty.
        """
        key, now = keys.frames(actor), b"%d" % time.time_ns()
        commands: list[Command] = []
        for number, (seq, _, fields) in enumerate(self.entries, ordinal):
            fields |= {b"seq": b"%d" % seq, b"ord": b"%d" % number, b"st": now}
            if signer is not None:
                data = fields.pop(b"data")
                fields |= {SIGNATURE: signer.entry({**fields, b"data": data}), b"data": data}  # data stay last
            *words, data = chain.from_iterable(fields.items())
            commands.append(Command(("XADD", key, "MAXLEN", "~", length, f"{seq}-0", *words), data))
        commands.append(Command(("HSET", keys.written, actor, ordinal + len(self.entries))))
        commands.append(Command(("SADD", keys.actors, actor)))
        self.ordinal, self.transaction = ordinal, Transaction(commands)
        return self.transaction
