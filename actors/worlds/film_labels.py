"""Ground truth of a film, from a table beside it: `NAME.labels.csv` or `NAME.labels.parquet` for `NAME.mp4`.

| column | content |
|---|---|
| `time` | seconds since the film's first frame, rising |
| `x`, `y`, `heading` | pose, as `common.messages.Labels` has it |
| `depth0` … `depth8` | the depth grid, row by row |
| `n_NAME` | how many objects of this category are visible; any number of such columns |
| `world` | name of the world; a change of it begins a new visit. Without the column, the film's name |

Pose and depth are there together or not at all. A row holds until the next one, and for at most one second: a frame for
which nothing was noted has no label.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyarrow is untyped.

from bisect import bisect_right
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from common.errors import ConfigError
from common.messages import Labels

HOLD = 1.0
"""Seconds that a row holds at most."""
_POSE = ("x", "y", "heading", *(f"depth{cell}" for cell in range(9)))


class FilmLabels:
    """What a table beside a film says of its moments.

    Args:
        path: The film.

    Raises:
        ConfigError: The table cannot be read, or says what cannot be.
    """

    def __init__(self, path: Path) -> None:
        self._times: list[float] = []
        self._columns: dict[str, list[Any]] = {}
        tables = [found for kind in ("csv", "parquet") if (found := path.with_suffix(f".labels.{kind}")).exists()]
        if tables:
            self._read(tables[0])

    def at(self, seconds: float | None) -> tuple[Labels | None, str | None]:
        """Labels and world at a moment of the film; None for what is not known then."""
        if seconds is None:
            return None, None
        place = bisect_right(self._times, seconds + 1e-6) - 1
        if place < 0:
            return None, None
        world = self._columns["world"][place] if "world" in self._columns else None
        if seconds - self._times[place] > HOLD or "x" not in self._columns:
            return None, world
        values = [self._columns[name][place] for name in _POSE]
        if any(value is None for value in values):
            return None, world
        counts = {name[2:]: int(column[place]) for name, column in self._columns.items() if name[:2] == "n_"}
        return (
            Labels(
                x=float(values[0]),
                y=float(values[1]),
                heading=float(values[2]),
                depth=np.array(values[3:], np.float32).reshape(3, 3),
                objects={name: count for name, count in counts.items() if count},
            ),
            world,
        )

    def _read(self, path: Path) -> None:
        def refuse(reason: str) -> ConfigError:
            return ConfigError("world.worlds", str(path), reason)

        try:
            table: Any = pyarrow.csv.read_csv(path) if path.suffix == ".csv" else pyarrow.parquet.read_table(path)
        except (pa.ArrowException, OSError) as error:
            raise refuse(f"cannot be read: {str(error).splitlines()[0]}") from None
        self._columns = {name: table.column(name).to_pylist() for name in table.schema.names}
        if "time" not in self._columns:
            raise refuse("must have a column time, in seconds since the film's first frame")
        if 0 < sum(name in self._columns for name in _POSE) < len(_POSE):
            raise refuse(f"must have all of {', '.join(_POSE)}, or none")
        numbers = [name for name in self._columns if name in ("time", *_POSE) or name.startswith("n_")]
        for name in numbers:
            for row, value in enumerate(self._columns[name]):
                missing = value is None and name in _POSE
                if not missing and not (isinstance(value, int | float) and np.isfinite(value)):
                    raise refuse(f"row {row}: {name} = {value!r} is no finite number")
        self._times = [float(value) for value in self._columns["time"]]
        for row in range(1, len(self._times)):
            if self._times[row] <= self._times[row - 1]:
                raise refuse(f"row {row}: time = {self._times[row]:g} must be above {self._times[row - 1]:g}")
        for row, value in enumerate(self._columns.get("world", [])):
            if not (isinstance(value, str) and 0 < len(value.encode()) <= 200 and value.isprintable()):
                raise refuse(f"row {row}: world = {value!r} must be a printable name of at most 200 bytes")
