"""The newest frame of each actor, as a picture: asked of the stream when somebody looks, and seldom.

Frames are what the agent sees; in VRChat that is people. They go where the page goes, to loopback, and nowhere else.
What the learner would refuse as written by somebody else is not shown either.
"""

import io
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import redis
from PIL import Image

from common.codec import frame_shape
from common.errors import WireError
from common.messages import Frame
from common.signing import Signer
from common.stream import StreamKeys, connect
from common.stream.takeover import is_own
from common.wire import decode

EVERY = 1.0
"""Seconds for which a picture is good."""
TIMEOUT = 0.5
"""Seconds that the server may take for an answer."""
LOOK_BACK = 8
"""Entries among which the newest frame is looked for: an actor may also write data that are none."""
LARGEST = 2**22
"""Pixels of a frame that is decoded, at most."""
SIDE = 480
"""Pixels of the longer side of a picture, at most."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Kept:
    picture: bytes | None = None
    due: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class NewestFrames:
    """Reads from a connection of its own, in the threads of whoever asks.

    Args:
        url: The stream's server.
        stream: Id of the stream.
        key: What the run signs with; None for nothing.
        now: Seconds of wall clock, monotonic.
    """

    def __init__(self, url: str, stream: str, *, key: bytes | None, now: Callable[[], float] = time.monotonic) -> None:
        self._client = connect(url, timeout=TIMEOUT)
        self._keys = StreamKeys(stream)
        self._signer = Signer.of(stream, key)
        self._now = now
        self._kept: dict[str, _Kept] = {}

    def picture(self, actor: str) -> bytes | None:
        """Gives the newest frame of an actor as JPEG; None where there is none.

        Args:
            actor: An actor of the run; the caller has made sure that it is one.
        """
        kept = self._kept.setdefault(actor, _Kept())
        # Whoever comes while another asks gets what there was: nobody waits twice for a server that is slow.
        if self._now() >= kept.due and kept.lock.acquire(blocking=False):
            try:
                kept.picture = self._read(actor)
            except redis.RedisError as error:
                _log.debug("no frame of %s: %s", actor, error)
            finally:
                kept.due = self._now() + EVERY
                kept.lock.release()
        return kept.picture

    def close(self) -> None:
        """Lets the server go."""
        self._client.close()

    def _read(self, actor: str) -> bytes | None:
        key = self._keys.frames(actor)
        for count in (1, LOOK_BACK):
            found = cast(Any, self._client).execute_command("XREVRANGE", key, "+", "-", "COUNT", count)
            for entry_id, fields in found:
                if is_own(actor.encode(), entry_id, fields, self._signer) and (frame := _frame(fields)) is not None:
                    return _jpeg(frame)
        return None


def _frame(fields: Mapping[bytes, bytes]) -> Frame | None:
    """Decodes an entry; None for what is no frame, no entry of ours, or too large to be shown."""
    sides = fields.get(b"shape", b"").split(b",")
    if len(sides) != 3 or not all(len(side) <= 4 and side.isdigit() for side in sides):
        return None
    if int(sides[0]) * int(sides[1]) > LARGEST:
        return None
    try:
        data = decode(fields).data
    except WireError:
        return None
    return cast(Frame, data) if frame_shape(data) is not None else None


def _jpeg(frame: Frame) -> bytes:
    picture = Image.fromarray(np.ascontiguousarray(frame))
    picture.thumbnail((SIDE, SIDE))
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=88)
    return written.getvalue()
