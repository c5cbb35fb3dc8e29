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
        trusting: Without it the picture counts as frozen until it changes for the first time, as that of a camera must
            whose source may not have been started.
    """

    def __init__(self, frozen: float, *, trusting: bool = True) -> None:
        self._frozen = frozen
        self._trusting = trusting
        self._moved = trusting
        self._last: Frame | None = None
        self._since = 0.0

    def judge(self, frame: Frame, now: float) -> Unfit | None:
        """Says what is wrong with a picture, uint8 [H, W, 3], seen at `now` seconds; None if nothing is."""
        if self._last is None:
            self._since = now
        elif not np.array_equal(frame, self._last):
            self._since = now
            self._moved = True
        self._last = frame
        if frame.max() <= _BLACK:
            return Unfit.BLACK
        return Unfit.FROZEN if not self._moved or now - self._since >= self._frozen else None

    def restart(self) -> None:
        """Begins anew, for instance after a pause."""
        self._last = None
        self._moved = self._trusting
