"""What engines leave on the machine when they, or their owners, are killed."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from actors.worlds.doom_folder import INSTANCE, EngineFolder, sweep_leftovers
from actors.worlds.doom_game import Doom

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="shared memory has names in a folder on Linux only")

PLAYS = """
from actors.worlds.doom_game import Doom
game = Doom("freedoom2:map01", image_size=(96, 96), seed=0)
game.look()
print("plays", flush=True)
input()
"""
OWNS = "from actors.worlds.doom_folder import EngineFolder; print(EngineFolder().path, flush=True); input()"


@contextmanager
def process(*words: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """A process that has said its first line, and waits."""
    started = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert started.stdout is not None
        yield started, started.stdout.readline().strip()
    finally:
        started.kill()
        started.communicate()


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process and those that it starts have their temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def blocks(folder: Path) -> list[Path]:
    """Shared memory of the engine that runs in a folder."""
    instance = (folder / INSTANCE).read_text("ascii")
    assert instance.isalnum()
    return list(Path("/dev/shm").glob(f"ViZDoom*{instance}"))


def test_a_killed_owner_s_engine_leaves_nothing_behind(folders: Path) -> None:
    with process(sys.executable, "-c", PLAYS) as (owner, said):
        assert said == "plays"
        (folder,) = folders.iterdir()
        left = blocks(folder)
        assert left
        sweep_leftovers()
        assert folder.exists()
        assert blocks(folder) == left
        (engine,) = psutil.Process(owner.pid).children()
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        psutil.wait_procs([engine], timeout=5)
    sweep_leftovers()
    assert not list(folders.iterdir())
    assert not [block for block in left if block.exists()]


def test_a_killed_engine_leaves_nothing_behind(folders: Path) -> None:
    game = Doom("freedoom2:map01", image_size=(96, 96), seed=0)
    (folder,) = folders.iterdir()
    left = blocks(folder)
    assert left
    (engine,) = [child for child in psutil.Process().children() if "vizdoom" in child.name()]
    engine.kill()
    engine.wait()
    game.close()
    assert not list(folders.iterdir())
    assert not [block for block in left if block.exists()]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="namespaces are made by root")
def test_an_owner_in_another_namespace_of_processes_keeps_its_folder(folders: Path) -> None:
    """Containers that share a folder for temporary files do not see each other's processes."""
    with process("unshare", "-fp", "--mount-proc", "--kill-child", sys.executable, "-c", OWNS) as (owner, said):
        assert Path(said).parent == folders
        sweep_leftovers()
        assert Path(said).exists()
        owner.kill()
        owner.wait()
    sweep_leftovers()
    assert not list(folders.iterdir())


@pytest.mark.parametrize("said", [b"*", b"??????????", b"", b"\xff" * 10, b"a" * 9])
def test_what_a_folder_says_is_a_name_and_no_pattern(folders: Path, said: bytes) -> None:
    (folders / "engram-game-x").mkdir()
    (folders / "engram-game-x" / INSTANCE).write_bytes(said)
    with tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="ViZDoomSM", suffix="a" * 10) as block:
        sweep_leftovers()
        assert Path(block.name).exists()
    assert not list(folders.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder away")
def test_another_user_s_folder_stays(folders: Path) -> None:
    (folders / "engram-game-x").mkdir()
    os.chown(folders / "engram-game-x", 65534, 65534)
    sweep_leftovers()
    assert (folders / "engram-game-x").exists()


def test_where_folders_have_no_locks_nothing_is_swept(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without)
    folder = EngineFolder()
    sweep_leftovers()
    assert folder.path.exists()
    folder.remove()
    assert not list(folders.iterdir())


def test_a_file_in_the_place_of_a_folder_stays(folders: Path) -> None:
    (folders / "engram-game-file").touch()
    target = folders / "target"
    target.mkdir()
    (folders / "engram-game-link").symlink_to(target)
    sweep_leftovers()
    assert {path.name for path in folders.iterdir()} == {"engram-game-file", "engram-game-link", "target"}
