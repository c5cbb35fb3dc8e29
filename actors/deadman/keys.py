"""The dead-man process of a desktop's keys and mouse buttons: `python -m actors.deadman.keys CONTROL…`."""

import sys

from actors.deadman import watch
from actors.desktop import open_desktop


def main(*controls: str) -> None:
    """Watches, and lets these keys and buttons go."""
    desktop = open_desktop()

    def release() -> None:
        for control in controls:
            desktop.press(control, False)

    watch(release)


if __name__ == "__main__":
    main(*sys.argv[1:])
