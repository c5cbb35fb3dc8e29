"""Readers that divide a stream: every entry has exactly one of them, whatever becomes of it."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import pytest

from common.messages import Datum
from common.stream import Share, StreamReader, connect
from common.wire import encode
from tests.common.rig import KEYS, Rig, read_all

type Make = Callable[..., Datum]


@pytest.mark.parametrize("readers", [1, 2, 3, 7])
def test_every_entry_has_one_owner_and_all_have_as_many(readers: int) -> None:
    shares = [Share(reader, readers) for reader in range(readers)]
    owned = Counter(share.reader for ordinal in range(1000) for share in shares if share.owns(ordinal))
    assert owned.total() == 1000
    assert max(owned.values()) - min(owned.values()) <= 1
    for start in range(12):
        for end in range(25):
            for share in shares:
                assert share.count(start, end) == sum(map(share.owns, range(start, end)))


def accounted(reader: StreamReader, data: list[Datum]) -> int:
    position = reader.positions["actor-0"]
    return len(data) + position.missed + position.quarantined + reader.unread()["actor-0"]


@pytest.mark.parametrize("readers", [2, 3])
@pytest.mark.parametrize("forged", [0, 1])
@pytest.mark.parametrize("seed", range(2))
def test_together_they_account_for_what_one_reader_does(
    rig: Rig, make_datum: Make, readers: int, seed: int, forged: int
) -> None:
    """Entries trimmed, broken, forged and foreign; readers of different pace, one of them started anew in between."""
    generator, key, seq, written = random.Random(seed), KEYS.frames("actor-0"), 0, 0
    rig.client.sadd(KEYS.actors, "actor-0")
    shares = [Share(), *(Share(reader, readers) for reader in range(readers))]
    reading = [StreamReader(connect(rig.url), keys=KEYS, share=share) for share in shares]
    seen: list[list[Datum]] = [[] for _ in shares]
    for _ in range(40):
        for _ in range(generator.randrange(8)):
            seq += 1
            match generator.choices(("whole", "broken", "trimmed", "foreign", "forged"), (12, 2, 2, 1, forged))[0]:
                case "foreign":
                    rig.client.xadd(key, {"v": "1"}, id=f"{seq}-3")
                case "forged":
                    rig.client.xadd(key, {"actor": "actor-0", "seq": str(seq)}, id=f"{seq}-0")
                case kind:
                    entry = encode(make_datum(seq=seq, ordinal=written))
                    written += 1
                    if kind == "broken":
                        entry[b"data"] = b"garbage"
                    if kind != "trimmed":
                        rig.client.xadd(key, cast(Any, entry), id=f"{seq}-0")
        rig.client.hset(KEYS.written, "actor-0", written)
        for number, reader in enumerate(reading):
            if generator.random() < 0.5:
                reader.refresh()
                seen[number] += read_all(reader)
                if not forged:  # one counts as broken until the next whole entry shows that its number was free
                    assert accounted(reader, seen[number]) == shares[number].count(0, written)
        if generator.random() < 0.2:
            reading[-1] = StreamReader(connect(rig.url), keys=KEYS, share=shares[-1], positions=reading[-1].state())
    rig.client.xadd(key, cast(Any, encode(make_datum(seq=seq + 1, ordinal=written))), id=f"{seq + 1}-0")
    rig.client.hset(KEYS.written, "actor-0", written + 1)
    for number, reader in enumerate(reading):
        reader.refresh()
        for _ in range(100):  # a read may find nothing but entries of others
            seen[number] += reader.read()
        assert reader.unread()["actor-0"] == 0
    places = [reader.positions["actor-0"] for reader in reading]
    for count in ("missed", "quarantined", "foreign"):
        assert sum(getattr(place, count) for place in places[1:]) == getattr(places[0], count) > 0, count
    shared = [accounted(reader, data) for reader, data in zip(reading, seen, strict=True)]
    assert shared[0] == sum(shared[1:]) == written + 1
    handed = sorted(datum.ordinal for data in seen[1:] for datum in data)
    assert handed == [datum.ordinal for datum in seen[0]]
    assert all(share.owns(datum.ordinal) for share, data in zip(shares, seen, strict=True) for datum in data)
