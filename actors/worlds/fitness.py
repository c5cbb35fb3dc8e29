"""Judges pictures by themselves: black, or the same for too long."""

import numpy as np

from common.messages import Frame, Unfit

_BLACK = 3
"""No pixel of a black picture is brighter, of 255."""


class PictureJudge:
    """Looks at one picture after another.

    A live picture hardly ever repeats to the bit; that of a program that hangs, or of a camera without a source, does.

    Args:
        frozen: Seconds after which a picture that stays the same counts as frozen.
    """

    def __init__(self, frozen: float) -> None:
        self._frozen = frozen
        self._last: Frame | None = None
        self._since = 0.0

    def judge(self, frame: Frame, now: float) -> Unfit | None:
        """Says what is wrong with a picture, uint8 [H, W, 3], seen at `now` seconds; None if nothing is."""
        if self._last is None or not np.array_equal(frame, self._last):
            self._since = now
        self._last = frame
        if frame.max() <= _BLACK:
            return Unfit.BLACK
        return Unfit.FROZEN if now - self._since >= self._frozen else None

    def restart(self) -> None:
        """Begins anew, for instance after a pause."""
        self._last = None
