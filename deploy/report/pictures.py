"""Pictures inside the page, as data URIs."""

import base64
import io

import matplotlib.image
import numpy as np
import simplejpeg
from numpy.typing import NDArray

QUALITY = 85
"""JPEG quality of frames: a fifth of the bytes, and no difference that matters at their size on the page."""


def exact(pixels_HWC: NDArray[np.uint8]) -> str:
    """Writes a picture without loss, as PNG: for maps whose pixels are patches."""
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, pixels_HWC, format="png")  # pyright: ignore[reportUnknownMemberType]
    return _uri("png", buffer.getvalue())


def frame(pixels_HWC: NDArray[np.uint8]) -> str:
    """Writes a frame as JPEG."""
    return _uri("jpeg", simplejpeg.encode_jpeg(np.ascontiguousarray(pixels_HWC), quality=QUALITY))


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
