"""The dead-man process of VRChat's OSC inputs: `python -m actors.deadman.osc HOST PORT`."""

import sys

from pythonosc.udp_client import SimpleUDPClient

from actors.deadman import watch

AXES = (
    "Vertical",
    "Horizontal",
    "LookHorizontal",
    "UseAxisRight",
    "GrabAxisRight",
    "MoveHoldFB",
    "SpinHoldCwCcw",
    "SpinHoldUD",
    "SpinHoldLR",
)
"""Floats from -1 to 1, neutral at 0 (docs.vrchat.com, OSC as input controller)."""
BUTTONS = (
    "MoveForward",
    "MoveBackward",
    "MoveLeft",
    "MoveRight",
    "LookLeft",
    "LookRight",
    "Jump",
    "Run",
)
"""Integers, 1 while pressed; they must go back to 0 before they count again."""
NEUTRAL: dict[str, float | int] = {f"/input/{axis}": 0.0 for axis in AXES} | {f"/input/{name}": 0 for name in BUTTONS}
"""Every input that an actor may use, at rest; the microphone and the menus, which are the user's, are left alone."""


def main(host: str, port: str) -> None:
    """Watches, and sends every input its neutral value."""
    client = SimpleUDPClient(host, int(port))

    def release() -> None:
        for address, value in NEUTRAL.items():
            client.send_message(address, value)  # pyright: ignore[reportUnknownMemberType]

    watch(release)


if __name__ == "__main__":
    main(*sys.argv[1:])
