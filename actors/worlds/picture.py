"""How a rendered screen becomes a frame of the wanted size: cut to its shape, then averaged by area.

Legend: H, W height and width of the frame; h, w of the screen, after the cut; C = 3 colours.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
