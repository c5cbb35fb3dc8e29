"""Augmented views of frames, by which LiDAR tells what a feature keeps of a frame from what it makes of chance.

Shapes: N frames, Q views, H×W pixels.
"""

import numpy as np
from numpy.typing import NDArray

SMALLEST = 0.6
"""Smallest area of a crop, as a share of the frame."""
BRIGHTNESS = 0.25
"""Most that the brightness is changed, as a share."""


def augment(frames_NHWC: NDArray[np.uint8], views: int, *, seed: int) -> NDArray[np.uint8]:
    """Makes views of each frame: a random crop back to full size, nearest pixel, and a random brightness.

    No flips: left and right differ in a world that is walked through.

    Args:
        frames_NHWC: uint8 RGB.
        views: Views of each.
        seed: Equal seeds give equal views of equal numbers of frames.

    Returns:
        views_NQHWC, uint8.
    """
    generator = np.random.default_rng(seed)
    count, height, width, _ = frames_NHWC.shape
    views_NQHWC = np.empty((count, views, height, width, 3), np.uint8)
    for frame, into_QHWC in zip(frames_NHWC, views_NQHWC, strict=True):
        for into in into_QHWC:
            side = np.sqrt(generator.uniform(SMALLEST, 1.0))
            gain = generator.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS)
            rows = _places(height, side, generator)
            columns = _places(width, side, generator)
            into[:] = np.clip(frame[rows][:, columns] * gain, 0, 255).astype(np.uint8)
    return views_NQHWC


def _places(length: int, share: float, generator: np.random.Generator) -> NDArray[np.int64]:
    """Pixels along one side that a crop of this share of it shows."""
    start = generator.uniform(0, (1 - share) * length)
    return np.minimum((start + (np.arange(length) + 0.5) * share).astype(np.int64), length - 1)
