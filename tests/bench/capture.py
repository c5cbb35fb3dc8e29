"""Seeing a window: from 1280×720 on a virtual screen to 144×144, beside the bare grab of mss in the same run.

The goal is the issue's: what we add to the grab is at most 2 ms.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownLambdaType=false
# mss is untyped in parts.

from collections.abc import Callable
from statistics import median

import mss

from actors.worlds.screen.capture import shrink
from actors.worlds.screen.target import Target
from common.config.screen import ScreenConfig
from tests.actors.screen.stage import Program, until, virtual_screen
from tests.bench.measure import Result, timed

WIDTH, HEIGHT, SIZE, GRABS = 1280, 720, (144, 144), 40
ROUNDS = 15
ADDED = 2.0
"""Milliseconds that a frame may take longer than a bare grab."""


def capture() -> list[Result]:
    """Milliseconds a frame: the whole way (window found where it is, grabbed, cut, averaged), and the bare grab."""
    with virtual_screen(WIDTH, HEIGHT):
        program = Program("A bench", WIDTH, HEIGHT)
        target = Target(ScreenConfig(title="A bench"))
        try:
            target.open()
            until(lambda: target.see()[0] is not None, "the window is seen")
            with mss.MSS() as screen:
                box = {"left": 0, "top": 0, "width": WIDTH, "height": HEIGHT}
                return [_compare(lambda: _frame(target), lambda: screen.grab(box))]
        finally:
            target.close()
            program.close()


def _frame(target: Target) -> None:
    pixels, _ = target.see()
    assert pixels is not None
    shrink(pixels, SIZE)


def _compare(ours: Callable[[], object], grab: Callable[[], object]) -> Result:
    pairs = [(_milliseconds(ours), _milliseconds(grab)) for _ in range(ROUNDS + 1)][1:]
    own, bare = (median(values) for values in zip(*pairs, strict=True))
    added = median(a - b for a, b in pairs)
    return Result(
        what=f"window {WIDTH}×{HEIGHT} → {SIZE[0]}×{SIZE[1]}, added to a grab",
        ours=f"{own:.2f} ms",
        limit=f"{bare:.2f} ms grab",
        ratio=bare / own,
        value=added,
        most=ADDED,
    )


def _milliseconds(work: Callable[[], object]) -> float:
    def grabs() -> None:  # each picture goes before the next is taken, as in a life
        for _ in range(GRABS):
            work()

    return 1e3 / timed(grabs, GRABS)
