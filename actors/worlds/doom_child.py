"""Starts the game engine so that it dies with the process that owns it (Linux).

Run as a script of its own: `python -I -S doom_child.py OWNER_PID FOLDER ENGINE [ARGUMENT...]`. It becomes
the engine. ViZDoom alone leaves its engine running when the owner is killed; and the engine, in the
terminal's foreground group, would take a Ctrl-C before its owner could finish its work.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_INSTANCE = "+viz_instance_id"


def main(owner: int, folder: str, engine: str, *arguments: str) -> None:
    """Ties this process to its owner and replaces it with the engine, which runs in `folder`."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # An owner that died before the call above sends no signal any more.
    if os.getppid() != owner:
        return
    os.setsid()
    os.chdir(folder)
    if _INSTANCE in arguments:
        # For whoever removes what a killed engine leaves; the descriptor is closed as the engine takes over.
        instance = arguments[arguments.index(_INSTANCE) + 1]
        os.write(os.open("instance", os.O_WRONLY | os.O_CREAT, 0o600), instance.encode())
    os.execv(engine, [engine, *arguments])


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
