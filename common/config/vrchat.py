"""The world `vrchat`: where its picture, its log and its controls are."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from common.config import checks
from common.config.units import Seconds

type Patch = tuple[float, float, float, float]
"""Left, top, width and height of a part of a frame, as shares of its width and height."""


class Picture(StrEnum):
    """Where VRChat's picture is taken from."""

    CAMERA = "camera"
    """A camera: OBS's virtual one, or any that OpenCV opens."""
    WINDOW = "window"
    """VRChat's window on this desktop."""


class Look(StrEnum):
    """What turns the head."""

    OSC = "osc"
    """VRChat's axis `LookHorizontal`."""
    MOUSE = "mouse"
    """The mouse, which VRChat's window must hold."""


@dataclass(frozen=True, kw_only=True)
class VRChatConfig:
    """VRChat on this machine.

    Attributes:
        picture: Where it is taken from.
        camera: `obs` for OBS's virtual camera, the number of another, or whatever else OpenCV opens.
        window: Words of the window's title.
        control: Off to watch while somebody else plays; nothing is sent then.
        look: What turns the head.
        mouse: Pixels a second that the mouse moves at a full turn.
        osc_host: Where VRChat listens.
        osc_port: Where VRChat listens.
        feedback_port: Where VRChat sends to, on loopback; 0 listens to nothing, and neither AFK nor menus are noticed.
        logs: Folder of VRChat's own logs; empty finds it.
        log_silence: Seconds without a new line in VRChat's log, which grows all the time, after which VRChat counts as
            gone; 0 for never.
        settle: Seconds after the arrival in a world that are not learned from.
        frozen: Seconds after which a picture that stays the same, to the bit, is not learned from.
        redact: Parts of each frame that are painted over before anything sees it, for instance where a chat box shows.
    """

    GROUP: ClassVar[str] = "world.vrchat"

    picture: Picture = Picture.CAMERA
    camera: str = "obs"
    window: str = "VRChat"
    control: bool = True
    look: Look = Look.OSC
    mouse: float = 600.0
    osc_host: str = "127.0.0.1"
    osc_port: int = 9000
    feedback_port: int = 9001
    logs: str = ""
    log_silence: Seconds = 60.0
    settle: Seconds = 5.0
    frozen: Seconds = 5.0
    redact: tuple[Patch, ...] = ()

    def __post_init__(self) -> None:
        checks.positive(self, "frozen", "mouse")
        checks.not_negative(self, "log_silence", "settle")
        checks.between(self, 1, 65535, "osc_port")
        checks.between(self, 0, 65535, "feedback_port")
        if self.feedback_port == self.osc_port:
            raise checks.refuse(self, "feedback_port", "must be another port than osc_port")
        if not self.camera:
            raise checks.refuse(self, "camera", "must be obs, a number, or what OpenCV opens")
        if not self.window:
            raise checks.refuse(self, "window", "must be words of the window's title")
        for patch in self.redact:
            left, top, width, height = patch
            right, bottom = left + width, top + height
            if min(left, top) < 0 or min(width, height) <= 0 or max(right, bottom) > 1 + 1e-9:
                raise checks.refuse(self, "redact", "must be parts of a frame: left, top, width, height from 0 to 1")
