"""Frames as video: lossless (FFV1 in Matroska, bit for bit) or lossy (H.264 in MP4), readable by any player.

Lossy video keeps full colour resolution (4:4:4): in pictures as small as an encoder sees, halved colour costs more than
it saves. Times in the file are those of capture, to the millisecond; the exact ones are in the table beside it.
"""

from collections.abc import Generator
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import av.error
import numpy as np

from common.errors import RecordingError
from common.messages import Frame

_MILLISECONDS = Fraction(1, 1000)
_BT601, _LIMITED = 6, 1

THREADS = 1
"""Threads of a conversion between pixel formats. By itself it would start some, which no fork survives: a child that
collects such a converter as garbage waits for them for ever (Ray forks to start its servers)."""


class Quality(StrEnum):
    """How the frames of a recording are kept."""

    LOSSLESS = "lossless"
    """Every bit as captured; about a third of the bytes of raw frames."""
    LOSSY = "lossy"
    """About a tenth of raw frames, by what is in them."""

    @property
    def suffix(self) -> str:
        """Ending of the file."""
        return ".mkv" if self is Quality.LOSSLESS else ".mp4"


CRF = 10
"""Constant rate factor of lossy video, 0 to 51: less is better and larger."""


class VideoWriter:
    """Writes one video file, frame by frame.

    Args:
        path: The file; its name need not end as its kind would.
        quality: What is kept.
        size: Height and width, pixels.
        crf: Constant rate factor of lossy video.

    Raises:
        RecordingError: The file cannot be made.
    """

    def __init__(self, path: Path, quality: Quality, size: tuple[int, int], crf: int = CRF) -> None:
        self.path = path
        self.frames = 0
        lossless = quality is Quality.LOSSLESS
        codec, self._format = ("ffv1", "bgr0") if lossless else ("libx264", "yuv444p")
        options = {"level": "3", "slicecrc": "1"} if lossless else {"preset": "veryfast", "crf": str(crf)}
        try:
            self._file: Any = av.open(str(path), "w", format="matroska" if lossless else "mp4")
            self._stream: Any = self._file.add_stream(codec, rate=1000, options=options)
        except (OSError, av.error.FFmpegError) as error:
            raise RecordingError(f"cannot write {path}: {error}") from None
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = self._format
        context = self._stream.codec_context
        context.time_base = _MILLISECONDS
        context.thread_count = 1
        if not lossless:
            context.colorspace, context.color_range = _BT601, _LIMITED
        self._first_ns = self._last = -1

    def write(self, frame: Frame, captured_ns: int) -> int:
        """Appends a frame.

        Args:
            frame: uint8 [H, W, 3].
            captured_ns: When it was captured, ns; players show it so long after the file's first.

        Returns:
            Its number in the file, from 0.
        """
        if not self.frames:
            self._first_ns = captured_ns
        self._last = max(self._last + 1, round((captured_ns - self._first_ns) / 1e6))  # times must rise
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture = picture.reformat(format=self._format, threads=THREADS)
        picture.pts, picture.time_base = self._last, _MILLISECONDS
        self._file.mux(self._stream.encode(picture))
        self.frames += 1
        return self.frames - 1

    def close(self) -> None:
        """Ends the file."""
        if self.frames:
            self._file.mux(self._stream.encode(None))
        self._file.close()


def read_frames(path: Path) -> Generator[Frame]:
    """Decodes the frames of a video file in order, uint8 [H, W, 3] each; memory holds a few at a time.

    Raises:
        RecordingError: It is no video, or damaged.
    """
    try:
        with av.open(str(path)) as file:
            stream = file.streams.video[0]
            stream.thread_type = "NONE"
            for picture in file.decode(stream):
                yield np.array(picture.to_ndarray(format="rgb24", threads=THREADS), np.uint8, order="C")
    except (OSError, IndexError, av.error.FFmpegError) as error:
        raise RecordingError(f"{path} is no whole video ({cast(Exception, error)})") from None
