"""A camera that may be missing, unplugged or stuck, read by a thread so that nobody ever waits for it."""

import logging
import threading
import time
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

_PATIENCE = 1.0
"""Seconds between two tries to open the camera; and the age above which its last picture counts no more."""

_log = logging.getLogger(__name__)


class Shot(NamedTuple):
    """One picture.

    Attributes:
        pixels: Red, green, blue, uint8 [h, w, 3].
        captured_ns: Wall clock, nanoseconds since the epoch.
    """

    pixels: NDArray[np.uint8]
    captured_ns: int


class _Source(Protocol):
    def read(self) -> NDArray[np.uint8]: ...


class Camera:
    """Reads a camera for as long as it is open, and opens it anew whenever it is lost.

    Args:
        name: `obs` for OBS's virtual camera, the number of another, or what OpenCV opens: a device, an address, a file.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._last: tuple[Shot, float] | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._said = ""

    def open(self) -> None:
        """Begins to read."""
        self._thread.start()

    def look(self) -> Shot | None:
        """Gives the newest picture; None while there is none that is younger than a second."""
        last = self._last
        return last[0] if last is not None and time.monotonic() - last[1] <= _PATIENCE else None

    def close(self) -> None:
        """Ends reading; a camera that hangs is left behind."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(2 * _PATIENCE)

    def _run(self) -> None:
        source: _Source | None = None
        while not self._closing.is_set():
            try:
                source = None  # lets go of a device that only one may have
                source = open_source(self._name)
                while not self._closing.is_set():
                    pixels = source.read()
                    self._last = Shot(pixels, time.time_ns()), time.monotonic()
                    self._say("there")
            except Exception as error:  # drivers fail in any way; whatever it is, the camera is opened anew
                self._say(f"not there ({str(error).strip() or type(error).__name__}); it is tried once a second")
                self._closing.wait(_PATIENCE)

    def _say(self, what: str) -> None:
        if what != self._said:
            (_log.info if what == "there" else _log.warning)("camera %r is %s", self._name, what)
            self._said = what


def open_source(name: str) -> _Source:
    """Opens a camera, named as `Camera` has it; drivers may hang here, or raise anything."""
    from pamiq_io.video import OpenCVVideoInput
    from pamiq_vrchat.sensors import ImageSensor

    if name == "obs" or name.isdecimal():
        return cast(_Source, ImageSensor(None if name == "obs" else int(name)))
    import cv2

    # One try: where it fails, the camera is opened anew.
    return cast(Any, OpenCVVideoInput(cv2.VideoCapture(name), num_trials_on_read_failure=1))
