"""The dead-man process of a desktop's keys and mouse buttons: `python -m actors.deadman.keys CONTROL…`."""

import sys
from contextlib import suppress

from actors.deadman import watch
from actors.desktop import DesktopError, open_desktop


def main(*controls: str) -> None:
    """Watches, and lets these keys and buttons go."""
    desktop = open_desktop()

    def release() -> None:
        for control in controls:
            with suppress(DesktopError):  # the others are to be let go all the same
                desktop.press(control, False)

    watch(release)


if __name__ == "__main__":
    main(*sys.argv[1:])
