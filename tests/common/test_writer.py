# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Redis is untyped in parts.

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from common.codec import Codec
from common.errors import StreamError
from common.messages import Datum
from common.stream import CaptureJournal, DropCause, StreamWriter, connect
from common.stream.retention import ENTRY_OVERHEAD, Retention
from common.wire import encode
from tests.common.rig import KEYS, Rig, adds_up, read_all, until

type Make = Callable[..., Datum]


def test_the_length_follows_from_the_sizes_of_the_entries_held() -> None:
    retention = Retention(budget=10 * (1000 + ENTRY_OVERHEAD), length=100)
    for _ in range(20):
        retention.add(1000)
    assert retention.length == 10
    for _ in range(3):
        retention.add(3000 + 2 * ENTRY_OVERHEAD)
    assert retention.length == 3 + (10 * (1000 + ENTRY_OVERHEAD) - 3 * 3 * (1000 + ENTRY_OVERHEAD)) // (
        1000 + ENTRY_OVERHEAD
    )
    retention.add(10**9)
    assert retention.length == 1


def test_a_stream_that_is_taken_over_keeps_what_fits() -> None:
    retention = Retention(budget=10 * (1000 + ENTRY_OVERHEAD), length=100)
    retention.add(1000)
    retention.inherit(500, 1000)
    assert retention.length == 10
    small = Retention(budget=2**30, length=100)
    small.inherit(7, 1000)
    assert small.length == 7


@pytest.mark.parametrize("codec", [Codec.RAW, Codec.JPEG])
def test_the_server_holds_no_more_than_the_budget(rig: Rig, make_datum: Make, codec: Codec) -> None:
    budget = 4 * 2**20
    generator = np.random.default_rng(0)
    writer = StreamWriter(
        lambda: connect(rig.url), keys=KEYS, actor="actor-0", journal=rig.journal, budget=budget, spool=500, codec=codec
    )
    for number in range(300):
        side = 64 if number < 200 else 160  # the frames of a richer world: more bytes each
        writer.put(make_datum(data=generator.integers(0, 256, (side, side, 3), dtype=np.uint8)))
    until(lambda: writer.counts().spooled == 0)
    writer.close()
    held = rig.client.memory_usage(KEYS.frames("actor-0"), samples=0)
    assert held is not None
    assert 0.7 * budget < held < 1.1 * budget


def test_an_actor_whose_journal_was_lost_goes_on_behind_its_entries(rig: Rig, make_datum: Make) -> None:
    writer = rig.writer()
    for _ in range(30):
        writer.put(make_datum())
    until(lambda: writer.counts().spooled == 0)
    writer.close()
    reader = rig.reader()
    read = reader.read()
    successor = rig.writer(journal="another-host.journal")
    for _ in range(20):
        successor.put(make_datum())
        assert adds_up(successor.counts())
    until(lambda: successor.counts().spooled == 0)
    successor.close()
    assert adds_up(successor.counts())
    assert successor.counts().written == successor.counts().captured == 50
    read += read_all(reader)
    assert [(datum.seq, datum.ordinal) for datum in read] == [(n + 1, n) for n in range(50)]
    assert reader.positions["actor-0"].missed == 0
    assert sum(reader.unread().values()) == 0


def test_a_lost_journal_on_a_trimmed_stream_with_a_lost_frame_adds_up(rig: Rig, make_datum: Make) -> None:
    for seq in (8, 9):  # nine captured, six written, of which two are left
        rig.client.sadd(KEYS.actors, "actor-0")
        rig.client.xadd(KEYS.frames("actor-0"), cast(Any, encode(make_datum(seq=seq, ordinal=seq - 4))), id=f"{seq}-0")
    rig.client.hset(KEYS.written, "actor-0", 6)
    writer = rig.writer()
    writer.put(make_datum())
    until(lambda: writer.counts().written == 7)
    writer.close()
    counts = writer.counts()
    assert (counts.captured, counts.dropped[DropCause.DIED]) == (10, 3)
    assert adds_up(counts)
    reader = rig.reader()
    assert [(datum.seq, datum.ordinal) for datum in read_all(reader)] == [(8, 4), (9, 5), (10, 6)]
    assert reader.positions["actor-0"].missed == 4


def test_two_processes_with_one_name_are_told_apart_and_stopped(rig: Rig, make_datum: Make) -> None:
    first, second = rig.writer(), rig.writer(journal="second.journal")
    first.put(make_datum())
    until(lambda: first.counts().written == 1)
    second.put(make_datum())
    second.put(make_datum())
    until(lambda: second.counts().spooled == 0)
    first.put(make_datum())
    until(lambda: first.failure is not None)
    assert isinstance(first.failure, StreamError)
    assert "another process writes the stream of actor-0" in str(first.failure)
    assert adds_up(first.counts())
    for writer in (first, second):
        writer.close()
        assert adds_up(writer.counts())


def test_frames_captured_while_the_server_was_away_are_packed_ahead_and_all_arrive(rig: Rig, make_datum: Make) -> None:
    writer = rig.writer(spool=500)
    for _ in range(400):
        writer.put(make_datum())
    until(lambda: writer.counts().spooled == 0)
    writer.close()
    assert [(datum.seq, datum.ordinal) for datum in read_all(rig.reader())] == [(n + 1, n) for n in range(400)]


def test_a_journal_is_unchanged_by_reopening(rig: Rig) -> None:
    rig.journal.captured = 5
    rig.journal.acknowledge(4)
    rig.journal.drop(DropCause.REJECTED, 2)
    rig.journal.close()
    again = CaptureJournal(rig.folder / "actor-0.journal")
    assert (again.captured, again.written, again.acked, again.dropped["rejected"]) == (5, 1, 4, 2)
    assert again.generation == 2


def test_what_is_not_fit_to_be_written_has_a_number_and_is_no_loss(rig: Rig, make_datum: Make) -> None:
    writer = rig.writer()
    writer.put(make_datum())
    writer.refuse()
    writer.put(make_datum())
    until(lambda: writer.counts().written == 2)
    counts = writer.counts()
    assert adds_up(counts)
    assert (counts.captured, counts.dropped[DropCause.UNFIT], counts.lost) == (3, 1, 0)
    assert [datum.seq for datum in read_all(rig.reader())] == [1, 3]
    writer.close()
