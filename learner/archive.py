"""Rows of the ledger that have left memory: Parquet parts inside each checkpoint, from which the whole is put together.

    checkpoints/step-000000100/retired-000000.parquet
    checkpoints/step-000000200/retired-000000.parquet   the same file, linked
                               retired-000001.parquet   what was retired since

A checkpoint has all that was retired before it, so a resume from any of them is exact. A part that has become as large
as the one before it is merged with it: there are about log₂ of the retired rows of them.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyarrow is untyped.

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet

from common.ledger import COLUMNS

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("experience", "visit", "world", "actor")]
    + [(name, pa.int64()) for name in ("started_ns", *COLUMNS)]
)
"""Columns of a part and of `ledger.parquet`: see `learner.ledger.Ledger`."""


def extend(before: Path | None, into: Path, retired: Mapping[str, list[Any]]) -> None:
    """Gives a checkpoint the rows that are retired.

    Args:
        before: Checkpoint that has the earlier ones; None where there are none.
        into: Folder of the new checkpoint.
        retired: Rows that have been retired since `before`, by column.
    """
    for part in parts(before) if before else []:
        try:
            os.link(part, into / part.name)
        except OSError:  # a file system without links
            shutil.copy(part, into / part.name)
    if not retired.get("experience"):
        return
    table = _table(retired)
    known = parts(into)
    while known and _rows(known[-1]) <= len(table):
        merged = known.pop()
        table = pa.concat_tables([_read(merged), table])
        merged.unlink()
    _write(into / f"retired-{len(known):06d}.parquet", table)


def parts(checkpoint: Path) -> list[Path]:
    """The parts of a checkpoint, oldest rows first."""
    return sorted(checkpoint.glob("retired-*.parquet"))


def write_whole(checkpoint: Path, ledger: Mapping[str, list[Any]], target: Path) -> None:
    """Writes the whole ledger as of a checkpoint, part by part: what is retired first, then what is in memory.

    Args:
        checkpoint: Where it lies.
        ledger: Its rows in memory.
        target: File to be written, replaced in one go.
    """
    partial = target.with_name(f".{target.name}")
    with pyarrow.parquet.ParquetWriter(partial, SCHEMA) as writer:
        for table in (*_tables(checkpoint), _table(ledger)):
            writer.write_table(table)
    partial.replace(target)


def read_whole(checkpoint: Path, ledger: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """The whole ledger as of a checkpoint, by column."""
    return cast(dict[str, list[Any]], pa.concat_tables([*_tables(checkpoint), _table(ledger)]).to_pydict())


def _tables(checkpoint: Path) -> Iterator[Any]:
    return (_read(part) for part in parts(checkpoint))


def _table(columns: Mapping[str, list[Any]]) -> Any:
    return pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA)


def _rows(part: Path) -> int:
    return pyarrow.parquet.read_metadata(part).num_rows


def _read(part: Path) -> Any:
    return pyarrow.parquet.read_table(part, schema=SCHEMA)


def _write(part: Path, table: Any) -> None:
    with part.open("wb") as file:
        pyarrow.parquet.write_table(table, file)
        file.flush()
        os.fsync(file.fileno())
