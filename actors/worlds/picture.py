"""How a picture of any size becomes a frame of the wanted one: cut to its shape, then averaged by area.

Legend: H, W height and width of the frame; h, w of the screen, after the cut; C = 3 colours.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.messages import Frame


def _area_weights(source: int, target: int) -> NDArray[np.float32]:
    """Weights of averaging `source` pixels into `target`, float32 [target, source]; rows sum to one."""
    edges = np.linspace(0.0, source, target + 1)
    pixels = np.arange(source)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.clip(overlap, 0.0, None) * target / source).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the screen that is kept, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def centred(cls, screen: tuple[int, int], image_size: tuple[int, int]) -> "Window":
        """Returns the largest window of the image's shape in the middle of a screen (height, width)."""
        (height, width), (image_height, image_width) = screen, image_size
        scale = min(height / image_height, width / image_width)
        kept_height, kept_width = round(image_height * scale), round(image_width * scale)
        return cls((height - kept_height) // 2, (width - kept_width) // 2, kept_height, kept_width)

    def cut(self, screen: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns a view of the kept part of a buffer [screen height, screen width, ...]."""
        return screen[self.top : self.top + self.height, self.left : self.left + self.width]


def averaged(picture: Image.Image, image_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Cuts the middle of a picture and averages it down, fast rather than exact: within a grey level or two.

    Args:
        picture: Of any size.
        image_size: Height and width of the frame.

    Returns:
        uint8 [H, W, C], with the channels of the picture.
    """
    kept = Window.centred((picture.height, picture.width), image_size)
    box = (kept.left, kept.top, kept.left + kept.width, kept.top + kept.height)
    height, width = image_size
    if kept.height % height == kept.width % width == 0 and kept.height >= height:
        # Whole blocks of pixels: their exact mean, in a third of the time.
        return np.asarray(picture.reduce((kept.width // width, kept.height // height), box=box))
    # Of Pillow's filters the nearest to a mean by area: its box counts a pixel whole or not at all.
    return np.asarray(picture.resize((width, height), Image.Resampling.HAMMING, box=box, reducing_gap=3.0))


class Picture:
    """Cuts screens to the shape of the image and scales them down.

    Args:
        screen: Height and width of the screen, pixels.
        image_size: Height and width of the frame, pixels.

    Attributes:
        window: The part of the screen that a frame shows.
    """

    def __init__(self, screen: tuple[int, int], image_size: tuple[int, int]) -> None:
        self.window = Window.centred(screen, image_size)
        self._rows_Hh = _area_weights(self.window.height, image_size[0])
        self._columns_wW = _area_weights(self.window.width, image_size[1]).T
        self._size = image_size

    def frame(self, screen_hwC: NDArray[np.uint8]) -> Frame:
        """Makes a frame, uint8 [H, W, 3], its own memory, of a screen, uint8 [h, w, 3]."""
        kept_hwC = self.window.cut(screen_hwC)
        if kept_hwC.shape[:2] == self._size:
            return kept_hwC.copy()
        rows_HwC = self._rows_Hh @ kept_hwC.reshape(self.window.height, -1).astype(np.float32)
        rows_HCw = np.ascontiguousarray(rows_HwC.reshape(-1, self.window.width, 3).transpose(0, 2, 1))
        frame_HCW = rows_HCw @ self._columns_wW
        return np.ascontiguousarray((frame_HCW + 0.5).astype(np.uint8).transpose(0, 2, 1))
