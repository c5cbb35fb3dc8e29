"""The new lines of a file of rows that somebody else writes, piece by piece."""

from pathlib import Path
from typing import Any

from deploy.rundir import parse_row

PIECE = 4 * 2**20
"""Bytes that are read at once, at most."""


class Tail:
    """Goes on where it stopped.

    Args:
        path: The file; it may not be there yet.
        piece: Bytes that are read at once, at most; a longer line is passed over.
    """

    def __init__(self, path: Path, *, piece: int = PIECE) -> None:
        self._path, self._piece = path, piece
        self._place = 0
        self._passing = False

    @property
    def behind(self) -> bool:
        """Whether there is more than was read; a last line that is still being written counts as well."""
        return self._path.exists() and self._place < self._path.stat().st_size

    def read(self) -> list[dict[str, Any]]:
        """Takes the next whole lines; what is no JSON object is left out.

        Raises:
            OSError: The file cannot be read.
        """
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._place)
            found = file.read(self._piece)
        end = found.rfind(b"\n") + 1
        if not end and len(found) == self._piece:
            self._place += len(found)
            self._passing = True
            return []
        self._place += end
        lines = found[:end].splitlines()
        if self._passing and lines:
            del lines[0]
            self._passing = False
        return [row for row in map(parse_row, lines) if row is not None]
