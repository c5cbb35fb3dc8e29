"""From pixels of the screen to a frame: grabbed, cut to its shape in the middle, averaged by area."""

from typing import Any

import mss
import numpy as np
from mss.exception import ScreenShotError
from numpy.typing import NDArray
from PIL import Image

from actors.desktop import DesktopError
from actors.worlds.picture import averaged
from common.messages import Frame

type Box = tuple[int, int, int, int]
"""Left, top, width, height, in pixels."""


def shrink(screen_hw4: NDArray[np.uint8], image_size: tuple[int, int]) -> Frame:
    """Cuts the middle of a grabbed picture and averages it down.

    Args:
        screen_hw4: Blue, green, red and one byte to spare, uint8 [h, w, 4].
        image_size: Height and width of the frame.

    Returns:
        Red, green, blue, uint8 [H, W, 3].
    """
    return np.ascontiguousarray(averaged(Image.fromarray(screen_hw4, "RGBX"), image_size)[:, :, 2::-1])


def within(box: Box, region: Box) -> Box:
    """Gives the part of a box that a region in it names, in the coordinates that the box has.

    A region whose width or height is 0 reaches to the end of the box.
    """
    left, top, width, height = region
    return (
        box[0] + left,
        box[1] + top,
        min(width or box[2], box[2] - left),
        min(height or box[3], box[3] - top),
    )


class Grabber:
    """Takes pictures of the screen.

    Raises:
        DesktopError: There is no screen.
    """

    def __init__(self) -> None:
        try:
            self._screen: Any = mss.MSS()
            whole = self._screen.monitors[0]
        except ScreenShotError as error:
            raise DesktopError(f"the screen cannot be read: {error}") from None
        self.whole: Box = (whole["left"], whole["top"], whole["width"], whole["height"])
        """All monitors together."""

    def grab(self, box: Box) -> NDArray[np.uint8] | None:
        """Takes a picture of a box, as far as it is on the screen: uint8 [h, w, 4] (see `shrink`), or None."""
        left, top = max(box[0], self.whole[0]), max(box[1], self.whole[1])
        right = min(box[0] + box[2], self.whole[0] + self.whole[2])
        bottom = min(box[1] + box[3], self.whole[1] + self.whole[3])
        width, height = right - left, bottom - top
        if width <= 0 or height <= 0:
            return None
        try:
            shot = self._screen.grab({"left": left, "top": top, "width": width, "height": height})
        except ScreenShotError:
            return None
        return np.frombuffer(shot.raw, np.uint8).reshape(height, width, 4)

    def close(self) -> None:
        """Lets the screen go."""
        self._screen.close()
