"""A stream on disk: the entries of the wire one after the other, to be lived through again as often as one likes.

The file is a row of msgpack maps: a head, then one map of bytes a datum, as Redis would hold it (see `common.wire`).
"""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import msgpack

from common import wire
from common.codec import Codec
from common.errors import RecordingError, WireError
from common.messages import Datum

SCHEMA = 1

_LONGEST = wire.MAX_DATA + 2**20
"""Bytes of the longest entry, its names included."""


class RecordingWriter:
    """Writes a recording; a reader sees the whole file or none.

    Used as a context manager: what is left by an exception is removed.

    Args:
        path: File to write; it must not exist.
        codec: How frames are packed.
        quality: Of JPEG, 1 to 100.

    Raises:
        RecordingError: The file exists, or cannot be made.
    """

    def __init__(self, path: Path, codec: Codec = Codec.RAW, quality: int = 95) -> None:
        if path.exists():
            raise RecordingError(f"{path} exists: choose another name, or remove it")
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._codec = codec
        self._quality = quality
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part.open("wb")
        except OSError as error:
            raise RecordingError(f"cannot write {self._part}: {error.strerror}") from None
        self._file.write(_packed({b"engram-recording": SCHEMA}))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()
        if kind is None:
            self._part.replace(self._path)
        else:
            self._part.unlink(missing_ok=True)

    def write(self, datum: Datum) -> None:
        """Appends a datum.

        Raises:
            WireError: Something that no reader would take.
        """
        self.append(pack(datum, self._codec, self._quality))

    def append(self, packed: bytes) -> None:
        """Appends what `pack` made of a datum."""
        self._file.write(packed)


def pack(datum: Datum, codec: Codec, quality: int) -> bytes:
    """Makes an entry of a datum.

    Args:
        datum: The datum.
        codec: How a frame is packed.
        quality: Of JPEG, 1 to 100.

    Raises:
        WireError: Something that no reader would take.
    """
    fields = wire.encode(datum, codec, quality)
    return _packed({name: bytes(value) for name, value in fields.items()})


def _packed(entry: dict[bytes, Any]) -> bytes:
    return cast(bytes, cast(Any, msgpack).packb(entry))


class Recording:
    """A recording; going through it gives its data in order, each time anew.

    Args:
        path: The file.

    Raises:
        RecordingError: There is no such file, or it is no recording of this schema.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        head = next(self._entries(), None)
        if not isinstance(head, dict) or cast(dict[Any, Any], head).get(b"engram-recording") != SCHEMA:
            raise RecordingError(f"{path} is no recording of schema {SCHEMA}: `engram record` makes one")

    def __iter__(self) -> Iterator[Datum]:
        """Reads the data.

        Raises:
            RecordingError: An entry is damaged.
        """
        entries = self._entries()
        next(entries)
        for number, entry in enumerate(entries):
            try:
                yield wire.decode(entry)
            except (WireError, AttributeError, TypeError) as error:
                raise RecordingError(f"{self.path}: entry {number} is damaged ({error})") from None

    def _entries(self) -> Iterator[Any]:
        try:
            with self.path.open("rb") as file:
                limits = {"max_buffer_size": _LONGEST, "max_bin_len": _LONGEST, "max_map_len": 64}
                yield from cast(Any, msgpack).Unpacker(file, raw=True, **limits)
        except OSError as error:
            raise RecordingError(f"cannot read {self.path}: {error.strerror}") from None
        except (ValueError, cast(type[Exception], cast(Any, msgpack).UnpackException)) as error:
            raise RecordingError(f"{self.path} is damaged ({type(error).__name__}: {error})") from None
