"""The journey of one actor: which game is on, since when, and the next one made ready in time."""

import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from actors.worlds.doom_game import Doom
from actors.worlds.visits import VisitSchedule

type Clock = Callable[[], float]
"""Seconds from any fixed moment."""

_AHEAD = 5.0
"""Seconds before the end of a visit at which the next world is made ready."""


@dataclass(frozen=True, slots=True)
class Stay:
    """A visit that is going on.

    Attributes:
        game: The world as it runs.
        visit: Number of the visit.
        began: Clock at its beginning, seconds.
    """

    game: Doom
    visit: int
    began: float


class DoomTour:
    """Goes from world to world after a schedule; what sensor and actuator share.

    Every visit has an engine of its own. The next one starts in a thread while the visit before it
    ends, so that a change of worlds costs the loop no more than a swap.

    Args:
        schedule: Which worlds, and how long.
        image_size: Height and width of a frame, pixels.
        seed: With the number of the visit, decides everything random in a visit.
        clock: What visits are measured by.

    Attributes:
        clock: What visits are measured by.
    """

    def __init__(self, schedule: VisitSchedule, *, image_size: tuple[int, int], seed: int, clock: Clock) -> None:
        self.clock = clock
        self._schedule = schedule
        self._image_size = image_size
        self._seed = seed
        self._stay: Stay | None = None
        self._next_visit = 0
        self._ready: Future[Doom] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._past_restarts = 0

    @property
    def restarts(self) -> int:
        """How often a map had to be started again within a visit."""
        return self._past_restarts + (self._stay.game.restarts if self._stay else 0)

    def start(self) -> None:
        """Enters the first world."""
        assert self._stay is None, "the tour is going on already"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="doom-ahead")
        self._prepare()
        self._enter()

    def stay(self) -> Stay:
        """Returns the visit that is going on, after moving on if its time is over."""
        stay = self._current()
        left = stay.began + self._schedule.seconds - self.clock()
        if left <= 0:
            self._prepare()
            self._enter()
            return self._current()
        if left <= min(_AHEAD, self._schedule.seconds / 2):
            self._prepare()
        return stay

    @property
    def game(self) -> Doom:
        """The game that is on."""
        return self._current().game

    def close(self) -> None:
        """Ends all games; a second call does nothing."""
        if self._thread is None:
            return
        self._discard()
        self._leave()
        self._thread.shutdown(wait=True)
        self._thread = None

    def save(self, path: Path) -> None:
        """Writes the number of the next visit to a JSON file."""
        path.write_text(json.dumps({"next_visit": self._next_visit}))

    def load(self, path: Path) -> None:
        """Goes on with the visit after the one in which the state was saved."""
        self._next_visit = int(json.loads(path.read_text())["next_visit"])
        if self._thread is not None:
            self._discard()
            self._prepare()
            self._enter()

    def _current(self) -> Stay:
        assert self._stay is not None, "the tour has not started"
        return self._stay

    def _prepare(self) -> None:
        assert self._thread is not None
        if self._ready is None:
            world = self._schedule.at(self._next_visit)
            seed = hash((self._seed, self._next_visit))
            self._ready = self._thread.submit(Doom, world, image_size=self._image_size, seed=seed)

    def _enter(self) -> None:
        assert self._ready is not None
        ready, self._ready = self._ready, None
        game = ready.result()
        self._leave()
        self._stay = Stay(game, self._next_visit, self.clock())
        self._next_visit += 1

    def _leave(self) -> None:
        if self._stay is not None and self._thread is not None:
            self._past_restarts += self._stay.game.restarts
            self._thread.submit(self._stay.game.close)
            self._stay = None

    def _discard(self) -> None:
        if self._ready is not None and self._thread is not None:
            ready, self._ready = self._ready, None
            self._thread.submit(lambda: ready.result().close())
