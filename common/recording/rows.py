"""Everything but pixels, as a table: one row a datum, columns that pandas, DuckDB or pyarrow read as they are."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyarrow is untyped.

from collections.abc import Sequence
from sys import intern
from typing import Any

import numpy as np
import pyarrow as pa

from common.codec import Codec, unpack_data
from common.errors import RecordingError, WireError
from common.messages import Data, Datum, Labels

_NAME: Any = pa.dictionary(pa.int32(), pa.string())
_MOMENT: Any = pa.timestamp("ns", tz="UTC")
_LABELS: Any = pa.struct(
    {
        "x": pa.float64(),
        "y": pa.float64(),
        "heading": pa.float64(),
        "depth": pa.list_(pa.float32()),
        "objects": pa.map_(pa.string(), pa.int64()),
    }
)
SCHEMA: Any = pa.schema(
    {
        "buffer": _NAME,
        "actor": _NAME,
        "seq": pa.int64(),
        "ordinal": pa.int64(),
        "visit": _NAME,
        "world": _NAME,
        "experience": _NAME,
        "captured": _MOMENT,
        "sent": _MOMENT,
        "system_time": pa.float64(),
        "visit_time": pa.float64(),
        "weights_version": pa.int64(),
        "action": pa.list_(pa.float32()),
        "labels": _LABELS,
        "video": _NAME,
        "frame": pa.int32(),
        "crc32": pa.uint32(),
        "shape": pa.string(),
        "data": pa.binary(),
    }
)
"""Columns of a segment's table; docs/recordings.md says what each holds."""

_INTEGERS = ("captured", "sent")


def row(datum: Datum, **place: Any) -> dict[str, Any]:
    """Makes a datum a row.

    Args:
        datum: The datum.
        **place: Where its data are: `video`, `frame` and `crc32`, or `shape` and `data`.
    """
    labels = datum.labels
    return {
        "buffer": datum.buffer,
        "actor": datum.actor,
        "seq": datum.seq,
        "ordinal": datum.ordinal,
        "visit": datum.visit,
        "world": datum.world,
        "experience": datum.experience,
        "captured": datum.captured_ns,
        "sent": datum.sent_ns,
        "system_time": datum.system_time,
        "visit_time": datum.visit_time,
        "weights_version": datum.weights_version,
        "action": np.asarray(datum.action, np.float32),
        "labels": None
        if labels is None
        else {
            "x": labels.x,
            "y": labels.y,
            "heading": labels.heading,
            "depth": np.asarray(labels.depth, np.float32).ravel(),
            "objects": list(labels.objects.items()),
        },
        **place,
    }


def table(rows: Sequence[dict[str, Any]]) -> Any:
    """Makes rows an Arrow table."""
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def read_rows(content: Any) -> list[dict[str, Any]]:
    """Reads an Arrow table's rows; equal names share memory.

    Raises:
        RecordingError: The table has other columns.
    """
    if content.schema.names != SCHEMA.names:
        raise RecordingError(f"has columns {', '.join(content.schema.names)}; expected {', '.join(SCHEMA.names)}")
    for name in _INTEGERS:
        place = SCHEMA.get_field_index(name)
        content = content.set_column(place, name, content.column(place).cast(pa.int64()))
    return content.to_pylist()


def datum(found: dict[str, Any], frame: Data | None) -> Datum:
    """Makes a row a datum again.

    Args:
        found: The row.
        frame: What the video holds of it; None where the row holds the data itself.

    Raises:
        RecordingError: The row's own data do not decode.
    """
    labels = found["labels"]
    if frame is None:
        try:
            frame = unpack_data(Codec.TENSORS, found["shape"].encode(), found["data"])
        except (WireError, AttributeError, TypeError) as error:
            raise RecordingError(f"data do not decode ({error})") from None
    return Datum(
        buffer=intern(found["buffer"]),
        actor=intern(found["actor"]),
        seq=found["seq"],
        visit=intern(found["visit"]),
        world=intern(found["world"]),
        experience=intern(found["experience"]),
        captured_ns=found["captured"],
        system_time=found["system_time"],
        visit_time=found["visit_time"],
        weights_version=found["weights_version"],
        action=np.array(found["action"], np.float32),
        labels=None
        if labels is None
        else Labels(
            x=labels["x"],
            y=labels["y"],
            heading=labels["heading"],
            depth=np.array(labels["depth"], np.float32).reshape(3, 3),
            objects=dict(labels["objects"]),
        ),
        data=frame,
        ordinal=found["ordinal"],
        sent_ns=found["sent"],
    )
