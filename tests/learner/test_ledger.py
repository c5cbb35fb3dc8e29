"""The ledger against a list of everything that happened, through rollbacks, checkpoints, deaths and gaps."""

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import RunError, WireError
from common.ledger import COLUMNS, ExposureTable, LedgerNews
from common.messages import Datum
from learner import archive
from learner import checkpoint as checkpoints
from learner.checkpoint import Checkpoint
from learner.ledger import LINGER, NEVER, Ledger, Table, joined

type Make = Callable[..., Datum]
CAPACITY = 40


class World:
    """One actor, a FIFO of frames, a ledger, and a log of all uses that a brute force can count."""

    def __init__(self, make_datum: Make) -> None:
        self._make = make_datum
        self.ledger = Ledger()
        self.frames: list[int] = []
        self.time, self.step, self.version, self.experience = 0, 0, 0, 0
        self.admitted: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self.uses: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self.undone: dict[str, int] = defaultdict(int)
        self.names: dict[int, str] = {}
        self.marked: tuple[int, dict[str, int]] = (0, {})

    def live(self, generator: np.random.Generator) -> None:
        """A few frames, perhaps of a new experience, then a gradient step."""
        for _ in range(generator.integers(4)):
            self.time += 1
            self.experience += bool(generator.random() < 0.2)
            name = f"visit/{self.experience:04d}"
            slot = self.ledger.admit(self._make(experience=name), step=self.step, now_ns=self.time)
            self.names[slot] = name
            self.frames = [*self.frames, slot][-CAPACITY:]
            self.admitted[name].append((self.step, self.time))
        if self.frames:
            self.time += 1
            self.step += 1
            batch = generator.choice(self.frames, size=8).astype(np.int32)
            self.ledger.expose(batch, step=self.step, now_ns=self.time)
            for slot in batch.tolist():
                self.uses[self.names[slot]].append((self.step, self.time))

    def news(self) -> LedgerNews:
        self.version += 1
        return LedgerNews.unpack(self.ledger.news(self.version).pack())

    def mark(self) -> None:
        self.ledger.mark()
        self.marked = (self.step, {name: len(uses) for name, uses in self.uses.items()})

    def roll_back(self) -> None:
        step, kept = self.marked
        taken = 0
        for name, uses in self.uses.items():
            gone = len(uses) - kept.get(name, 0)
            self.undone[name] += gone
            taken += gone
            del uses[kept.get(name, 0) :]
        assert self.ledger.undo(step) == taken
        self.step = step
        for name, frames in self.admitted.items():
            self.admitted[name] = [(min(at, step), moment) for at, moment in frames]

    def row(self, name: str) -> dict[str, int]:
        """What the ledger must say of an experience."""
        uses, frames = self.uses[name], self.admitted[name]
        first, last = (uses[0], uses[-1]) if uses else ((NEVER, NEVER), (NEVER, NEVER))
        return {
            "admitted_step": frames[0][0],
            "admitted_ns": frames[0][1],
            "frames": len(frames),
            "exposures": len(uses),
            "undone": self.undone[name],
            "first_step": first[0],
            "first_ns": first[1],
            "last_step": last[0],
            "last_ns": last[1],
        }

    def agrees(self, table: Table) -> None:
        assert sorted(table["experience"]) == sorted(self.admitted), "each exactly once"
        for row, name in enumerate(table["experience"]):
            assert {column: table[column][row] for column in COLUMNS} == self.row(name), name


@pytest.mark.parametrize("seed", range(3))
def test_rollbacks_take_back_what_they_undo_and_leave_their_mark(make_datum: Make, seed: int) -> None:
    generator, world = np.random.default_rng(seed), World(make_datum)
    world.mark()
    for _ in range(400):
        world.live(generator)
        chance = generator.random()
        if chance < 0.08:
            world.news()
            world.mark()
        elif chance < 0.16:
            world.roll_back()
    world.agrees(world.ledger.table())
    assert sum(world.ledger.table()["undone"]) > 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("marks", [False, True])
def test_every_row_is_kept_once_though_memory_is_bounded(
    make_datum: Make, tmp_path: Path, seed: int, marks: bool
) -> None:
    """Checkpoints that are written, lost on their way, or known one later; each that is written has the whole."""
    generator, world = np.random.default_rng(seed), World(make_datum)
    written = known = 0
    most = 0
    for number in range(1, 31):
        for _ in range(30):
            world.live(generator)
            world.news()
            if marks and generator.random() < 0.1:
                world.mark()
            elif marks and world.marked[0] and generator.random() < 0.01:
                world.roll_back()
        world.ledger.forget(written)
        world.ledger.retire(world.ledger.unsettled(np.array(world.frames, np.int32)), checkpoint=number)
        taken = make_checkpoint(world, number, written)
        most = max(most, len(world.ledger))
        if generator.random() < 0.8:
            path = checkpoints.save(taken, tmp_path, keep=2)
            world.agrees(archive.read_whole(path, checkpoints.load(path).ledger))
            written, known = (number if generator.random() < 0.8 else known), number
    assert len(world.admitted) > 200
    assert world.ledger.total == len(world.admitted)
    assert most < 150, "rows of the buffer, of the last checkpoints, and of the last versions"
    assert len(archive.parts(checkpoints.latest(tmp_path) or tmp_path)) < 10


def make_checkpoint(world: World, number: int, extends: int) -> Checkpoint:
    return Checkpoint(
        step=number,
        model={"w": np.zeros(1, np.float32)},
        optimiser={"m": np.zeros(1)},
        replay={"rows": np.array(world.frames, np.int32)},
        ledger=world.ledger.table(),
        retired=world.ledger.retired(),
        state={"number": number, "extends": extends},
    )


def test_a_resumed_ledger_goes_on_in_the_same_slots(make_datum: Make, tmp_path: Path) -> None:
    generator, world = np.random.default_rng(5), World(make_datum)
    written = 0
    for number in range(1, 20):
        for _ in range(30):
            world.live(generator)
            world.news()
        world.ledger.forget(written)
        world.ledger.retire(world.ledger.unsettled(np.array(world.frames, np.int32)), checkpoint=number)
        path = checkpoints.save(make_checkpoint(world, number, written), tmp_path, keep=2)
        written = number
        if number % 5 == 0:  # dies here; nothing happened since
            loaded = checkpoints.load(path)
            gone = len(world.admitted) - len(loaded.ledger["experience"])
            world.ledger = Ledger.from_table(json.loads(json.dumps(loaded.ledger)), version=world.version, gone=gone)
        world.agrees(archive.read_whole(path, checkpoints.load(path).ledger))
    assert world.ledger.total == len(world.admitted)


def test_a_checkpoint_whose_forerunner_is_gone_is_refused(make_datum: Make, tmp_path: Path) -> None:
    world = World(make_datum)
    with pytest.raises(RunError, match="which it extends"):
        checkpoints.save(make_checkpoint(world, 7, extends=6), tmp_path, keep=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", range(4))
def test_an_evaluator_that_pulls_now_and_then_has_the_exact_table(make_datum: Make, seed: int) -> None:
    generator, world, reader = np.random.default_rng(seed), World(make_datum), ExposureTable()
    pulls = last = 0
    for number in range(1, 40):
        for _ in range(30):
            world.live(generator)
            news = world.news()
            if generator.random() < 0.04 or world.version - last == LINGER:
                last = world.version
                reader.take(world.version, news)
                pulls += 1
                assert len(reader) == len(world.admitted)
                for name in world.admitted:
                    row = reader.get(name)
                    assert row is not None
                    assert {column: getattr(row, column) for column in COLUMNS} == world.row(name)
        world.ledger.retire(world.ledger.unsettled(np.array(world.frames, np.int32)), checkpoint=number)
        world.ledger.forget(number)
    assert pulls > 20
    assert reader.gaps == 0
    assert len(world.ledger) < len(world.admitted) / 2


def test_a_reader_that_was_away_too_long_knows_it_and_says_nothing_wrong(make_datum: Make) -> None:
    generator, world, reader = np.random.default_rng(0), World(make_datum), ExposureTable()
    for number in range(1, 30):
        for _ in range(30):
            world.live(generator)
            if number in (10, 25):
                reader.take(world.version, world.news())
            else:
                world.news()
        world.ledger.retire(world.ledger.unsettled(np.array(world.frames, np.int32)), checkpoint=number)
        world.ledger.forget(number)
    assert reader.gaps == 2, "the first look, and the one after the long absence"
    reader.take(world.version, world.news())
    known = [name for name in world.admitted if reader.get(name) is not None]
    assert len(known) == len(reader) < len(world.admitted)
    for name in known:
        row: Any = reader.get(name)
        assert {column: getattr(row, column) for column in COLUMNS} == world.row(name)


def test_a_learner_that_went_back_to_a_checkpoint_takes_its_rows_along(make_datum: Make) -> None:
    generator, world, reader = np.random.default_rng(0), World(make_datum), ExposureTable()
    for _ in range(40):
        world.live(generator)
    table, names = json.loads(json.dumps(world.ledger.table())), set(world.admitted)
    expected = {name: world.row(name) for name in names}
    for _ in range(40):
        world.live(generator)
    reader.take(world.version + 1, world.news())
    assert len(reader) > len(names)
    again = Ledger.from_table(table, version=world.version)
    reader.take(world.version + 1, again.news(world.version + 1))
    assert len(reader) == len(names)
    for name in names:
        row: Any = reader.get(name)
        assert {column: getattr(row, column) for column in COLUMNS} == expected[name]


def test_a_row_stays_until_evaluators_had_their_time(make_datum: Make) -> None:
    ledger = Ledger()
    slot = ledger.admit(make_datum(experience="a"), step=0, now_ns=0)
    ledger.admit(make_datum(experience="b"), step=0, now_ns=0)
    nowhere = np.array([], np.int32)
    for version in range(1, LINGER + 2):
        ledger.retire(ledger.unsettled(nowhere), checkpoint=version)
        assert not ledger.retired()["experience"]
        ledger.news(version)
    ledger.retire(ledger.unsettled(np.array([slot], np.int32)), checkpoint=100)
    assert not ledger.retired()["experience"], "a frame of it is in the buffer"
    ledger.retire(ledger.unsettled(nowhere), checkpoint=101)
    assert ledger.retired()["experience"] == ["a"], "b is its actor's newest: more of it may come"
    ledger.forget(100)
    assert len(ledger) == 2, "its checkpoint is not known to be on disk"
    ledger.forget(101)
    assert ledger.experiences == ["b"]


@pytest.mark.parametrize("harm", [b"", b"\x93\x01", b"\x93\x00\x91\xa1a\x99" + 9 * b"\xc4\x00"])
def test_broken_news_are_refused(harm: bytes) -> None:
    tensor = LedgerNews(columns={name: np.zeros(0, np.int64) for name in COLUMNS}).pack()
    assert LedgerNews.unpack(tensor).experiences == ()
    with pytest.raises(WireError, match="ledger"):
        LedgerNews.unpack(tensor.new_tensor(list(harm)))


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_ledgers_of_ranks_make_the_one_of_all_frames(make_datum: Make, ranks: int) -> None:
    """Each rank has a share of the frames and of every batch; an experience of few frames is not known to all."""
    generator = np.random.default_rng(ranks)
    whole, shares = Ledger(), [Ledger() for _ in range(ranks)]
    slots: list[list[tuple[int, int]]] = [[] for _ in range(ranks)]
    drawn: list[list[tuple[int, int]]]
    for number in range(300):
        rank, name = number % ranks, f"visit/{int(np.sqrt(number)):04d}"
        datum = make_datum(experience=name, visit="visit", world="w", captured_ns=number)
        kept = [book.admit(datum, step=number, now_ns=number) for book in (whole, shares[rank])]
        slots[rank].append((kept[0], kept[1]))
        if number % 7 == 6:
            drawn = [[of_rank[index] for index in generator.integers(len(of_rank), size=4)] for of_rank in slots]
            whole.expose(np.array([a for one in drawn for a, _ in one], np.int32), step=number + 1, now_ns=number)
            for book, one in zip(shares, drawn, strict=True):
                book.expose(np.array([b for _, b in one], np.int32), step=number + 1, now_ns=number)
    expected = whole.table()
    table = joined([book.table() for book in shares])
    assert len({len(book) for book in (whole, *shares)}) > 1, "some experiences had fewer frames than there are ranks"
    assert table == {name: column for name, column in expected.items() if name != "slot"}
    news, said = whole.news(1), LedgerNews.joined([LedgerNews.from_bytes(book.news(1).to_bytes()) for book in shares])
    assert said.experiences == news.experiences
    assert all(np.array_equal(said.columns[name], news.columns[name]) for name in COLUMNS)


def test_a_row_stays_while_another_rank_may_change_it(make_datum: Make) -> None:
    ours, theirs = Ledger(), Ledger()
    slot = theirs.admit(make_datum(experience="a"), step=0, now_ns=0)
    for book in (ours, theirs):
        for name in ("a", "b"):
            book.admit(make_datum(experience=name), step=0, now_ns=0)
        for version in range(1, LINGER + 2):
            book.news(version)
    nowhere, there = np.array([], np.int32), np.array([slot], np.int32)
    for buffer, retired in ((there, []), (nowhere, ["a"])):
        unsettled = ours.unsettled(nowhere) | theirs.unsettled(buffer)
        for book in (ours, theirs):
            book.retire(unsettled, checkpoint=1)
            assert book.retired()["experience"] == retired
