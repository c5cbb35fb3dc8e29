"""Where VRChat's picture is taken from: a camera, or its window."""

import time
from typing import NamedTuple, Protocol, override

import numpy as np
from PIL import Image

from actors.worlds.picture import averaged
from actors.worlds.vrchat.camera import Camera
from common.config.screen import ScreenConfig
from common.config.vrchat import Picture, VRChatConfig
from common.messages import Frame, Unfit


class Seen(NamedTuple):
    """One look.

    Attributes:
        frame: uint8 [H, W, 3]; None if there was nothing to see.
        captured_ns: Wall clock, nanoseconds since the epoch.
        unfit: What is wrong with it, as far as its source tells.
    """

    frame: Frame | None
    captured_ns: int
    unfit: Unfit | None = None


class Eyes(Protocol):
    """A source of pictures."""

    def open(self) -> None:
        """Begins."""
        ...

    def look(self, image_size: tuple[int, int]) -> Seen:
        """Takes a picture of this height and width; never waits and never raises."""
        ...

    def close(self) -> None:
        """Ends."""
        ...


class CameraEyes(Eyes):
    """Looks through a camera.

    Args:
        name: See `Camera`.
    """

    def __init__(self, name: str) -> None:
        self._camera = Camera(name)

    @override
    def open(self) -> None:
        self._camera.open()

    @override
    def look(self, image_size: tuple[int, int]) -> Seen:
        shot = self._camera.look()
        if shot is None:
            return Seen(None, time.time_ns(), Unfit.MISSING)
        return Seen(averaged(Image.fromarray(shot.pixels), image_size), shot.captured_ns)

    @override
    def close(self) -> None:
        self._camera.close()


class WindowEyes(Eyes):
    """Looks at a window of this desktop, as the world `screen` does.

    Args:
        title: Its title, or words of it.
        control: Whether the avatar is steered: then the window is given the keyboard once, and what shows while another
            one has it, which may be that other one, is unfit.
    """

    def __init__(self, title: str, *, control: bool) -> None:
        from actors.worlds.screen.target import Target

        self._target = Target(ScreenConfig(title=title, control=control))

    @override
    def open(self) -> None:
        self._target.open()

    @override
    def look(self, image_size: tuple[int, int]) -> Seen:
        from actors.worlds.screen.capture import shrink

        pixels, unfit = self._target.see()
        captured_ns = time.time_ns()
        return Seen(None if pixels is None else shrink(pixels, image_size), captured_ns, unfit)

    @override
    def close(self) -> None:
        self._target.close()


def make_eyes(config: VRChatConfig) -> Eyes:
    """Makes the source that a configuration names; nothing is opened yet."""
    if config.picture is Picture.CAMERA:
        return CameraEyes(config.camera)
    return WindowEyes(config.window, control=config.control)


def paint_over(frame: Frame, parts: tuple[tuple[float, float, float, float], ...]) -> None:
    """Paints grey over parts of a frame, uint8 [H, W, 3], in place (see `VRChatConfig.redact`)."""
    height, width = frame.shape[:2]
    for left, top, wide, high in parts:
        rows = slice(int(top * height), int(np.ceil((top + high) * height)))
        frame[rows, int(left * width) : int(np.ceil((left + wide) * width))] = 128
