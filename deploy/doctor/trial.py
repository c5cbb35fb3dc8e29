"""Tries what may hang or take its process along: in a process of its own, which ends with it.

`python -m deploy.doctor.trial` takes `doom WORLD`, `camera NAME` or `ray`.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import deploy
from deploy.doctor.finding import Verdict, fine, wrong

_WORDS = 300


def attempt(*words: str, patience: float, fix: str) -> Verdict:
    """Tries something.

    Args:
        *words: What, as this module's command line has it.
        patience: Seconds until it is ended.
        fix: What to do where it fails.
    """
    home = str(Path(deploy.__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.doctor.trial", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": f"{home}{os.pathsep}{inherited}" if inherited else home},
    )
    try:
        said, complaint = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        _end(process)
        return wrong(f"hangs: nothing within {patience:g} s", fix)
    _end(process)
    if process.returncode == 0:
        return fine(said.strip())
    last = next((line for line in reversed(complaint.splitlines()) if line.strip()), "")
    return wrong((last or f"its process ended with {process.returncode}").strip()[:_WORDS], fix)


def _end(process: subprocess.Popen[str]) -> None:
    """Ends what it has started too."""
    with suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _doom(world: str) -> str:
    from actors.worlds.doom_game import Doom

    began = time.monotonic()
    game = Doom(world, image_size=(48, 48), seed=0)
    try:
        shape = game.look().frame.shape
    finally:
        game.close()
    return f"ViZDoom starts {world} within {time.monotonic() - began:.1f} s and shows {shape[1]} x {shape[0]} pixels"


def _camera(name: str) -> str:
    from actors.worlds.vrchat.camera import open_source

    pixels = open_source(name).read()
    return f"camera {name} shows {pixels.shape[1]} x {pixels.shape[0]} pixels"


def _ray() -> str:
    import ray

    from deploy.cluster import LocalCluster, prepare_environment

    prepare_environment()
    began = time.monotonic()
    cluster = LocalCluster(256 * 2**20)
    try:
        cluster.start()
    finally:
        cluster.stop()
    return f"{ray.__version__}; a local one starts and ends within {time.monotonic() - began:.0f} s"


def main(words: list[str]) -> int:
    """Tries one thing and says how it went."""
    match words:
        case ["doom", world]:
            print(_doom(world))
        case ["camera", name]:
            print(_camera(name))
        case ["ray"]:
            print(_ray())
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
