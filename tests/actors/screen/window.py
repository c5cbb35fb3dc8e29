"""A small X11 program for tests: a window in one colour that obeys its input and tells every key, button and motion.

`python -m tests.actors.screen.window TITLE WIDTH HEIGHT` reads commands, a line each: `move X Y`, `size W H`, `hide`,
`show`, `paint RRGGBB`, `quit`; and writes a line for each event: `ready`, `key N 1`, `button N 0`, `motion DX DY`.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

import os
import select
import sys
from typing import Any

import xcffib
import xcffib.xproto as core

EVENTS = (
    core.EventMask.KeyPress
    | core.EventMask.KeyRelease
    | core.EventMask.ButtonPress
    | core.EventMask.ButtonRelease
    | core.EventMask.PointerMotion
)


def main(title: str, width: int, height: int) -> None:
    x: Any = xcffib.connect()
    screen = x.get_screen_pointers()[x.pref_screen]
    window = x.generate_id()
    mask = core.CW.BackPixel | core.CW.EventMask
    x.core.CreateWindow(
        screen.root_depth, window, screen.root, 0, 0, width, height, 0, 1, screen.root_visual, mask, [0xFFFFFF, EVENTS]
    )
    name = title.encode()
    x.core.ChangeProperty(core.PropMode.Replace, window, core.Atom.WM_NAME, core.Atom.STRING, 8, len(name), name)
    x.core.MapWindow(window, is_checked=True).check()
    print("ready", flush=True)
    last: tuple[int, int] | None = None
    while True:
        x.flush()
        while (event := x.poll_for_event()) is not None:
            match event:
                case core.KeyPressEvent() | core.KeyReleaseEvent():
                    print("key", event.detail, int(type(event) is core.KeyPressEvent), flush=True)
                case core.ButtonPressEvent() | core.ButtonReleaseEvent():
                    print("button", event.detail, int(type(event) is core.ButtonPressEvent), flush=True)
                case core.MotionNotifyEvent():
                    here = event.root_x, event.root_y
                    if last is not None:
                        print("motion", here[0] - last[0], here[1] - last[1], flush=True)
                    last = here
                case _:
                    pass
        if not select.select([0, x.get_file_descriptor()], [], [], 0.05)[0]:
            continue
        if not select.select([0], [], [], 0)[0]:
            continue
        for line in os.read(0, 4096).decode().splitlines():
            obey(x, window, *line.split())


def obey(x: Any, window: int, word: str, *values: str) -> None:
    match word:
        case "move":
            x.core.ConfigureWindow(window, core.ConfigWindow.X | core.ConfigWindow.Y, [int(v) for v in values])
        case "size":
            x.core.ConfigureWindow(window, core.ConfigWindow.Width | core.ConfigWindow.Height, [int(v) for v in values])
        case "hide":
            x.core.UnmapWindow(window)
        case "show":
            x.core.MapWindow(window)
        case "paint":
            x.core.ChangeWindowAttributes(window, core.CW.BackPixel, [int(values[0], 16)])
            x.core.ClearArea(False, window, 0, 0, 0, 0)
        case _:
            sys.exit(0)
    x.flush()
    print("did", word, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
