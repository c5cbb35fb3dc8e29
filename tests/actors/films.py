"""Real video files for tests, as FFmpeg writes them."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray


def picture(value: int, size: tuple[int, int] = (48, 64)) -> NDArray[np.uint8]:
    """A grey picture, by whose brightness it is known again."""
    return np.full((*size, 3), value, np.uint8)


def film(
    path: Path, frames: Iterable[tuple[float, NDArray[np.uint8]]], codec: str = "ffv1", pixels: str = "bgr0"
) -> Path:
    """Writes a video of frames at moments, seconds."""
    frames = list(frames)
    with av.open(str(path), "w") as file:
        container: Any = file
        stream: Any = container.add_stream(codec, rate=1000)
        stream.height, stream.width = frames[0][1].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.gop_size = 5
        for moment, shown in frames:
            one = av.VideoFrame.from_ndarray(shown, format="rgb24").reformat(format=pixels, threads=1)
            one.pts, one.time_base = round(moment * 1000), Fraction(1, 1000)
            container.mux(stream.encode(one))
        container.mux(stream.encode(None))
    return path
