"""Where an actor was, in a file of its own: two lines a second, for pictures of its ways."""

import json
from pathlib import Path

from actors.coverage import Spot


class TrackLog:
    """Appends lines of JSON, each flushed, so that a killed actor leaves all but its last.

    Args:
        path: File to append to; made with its first line.
        generation: Which life of the actor this is: visits are numbered anew in each.
    """

    def __init__(self, path: Path, *, generation: int) -> None:
        self._path = path
        self._generation = generation
        self._file = None

    def add(self, spot: Spot) -> None:
        """Appends where the actor is: generation, visit, world, seconds, x, y."""
        if self._file is None:
            self._file = self._path.open("a", buffering=1, encoding="utf-8")
        place = [round(spot.time, 2), round(spot.x, 1), round(spot.y, 1)]
        self._file.write(f"{json.dumps([self._generation, spot.visit, spot.world, *place], ensure_ascii=False)}\n")

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
