"""A sensor's own log of what it captured: the independent side of the books that accounting tests compare."""

import os
import struct
from pathlib import Path

_RECORD = struct.Struct("<Q")
_BINARY: int = getattr(os, "O_BINARY", 0)
"""Keeps Windows from writing two bytes for each that looks like the end of a line."""


class SensorLog:
    """Appends one record (captured_ns, unsigned 64 bit, little endian) per frame, straight to the file.

    Nothing is buffered in the process, so that a record outlives any death that comes after `append`.

    Args:
        path: The file; made if missing, else appended to.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _BINARY, 0o644)

    def append(self, captured_ns: int) -> None:
        """Writes down that a frame was captured.

        Args:
            captured_ns: Wall clock at capture, nanoseconds since the epoch.
        """
        os.write(self._descriptor, _RECORD.pack(captured_ns))

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_sensor_log(path: Path) -> list[int]:
    """Returns the capture times of all whole records of a log, nanoseconds since the epoch, in order."""
    data = path.read_bytes()
    whole = len(data) - len(data) % _RECORD.size
    return [captured_ns for (captured_ns,) in _RECORD.iter_unpack(data[:whole])]
