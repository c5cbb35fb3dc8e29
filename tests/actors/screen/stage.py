"""A virtual screen and programs on it, for tests."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest


def until(condition: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"not within {timeout:g} s: {what}"
        time.sleep(0.02)


@contextmanager
def virtual_screen(width: int = 1280, height: int = 720) -> Generator[str]:
    """An Xvfb of its own; DISPLAY names it for as long as the block."""
    if shutil.which("Xvfb") is None:
        pytest.skip("no Xvfb: apt-get install xvfb")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp", "-r"],
        pass_fds=(write,),
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as answer:
        number = answer.readline().strip()
    assert number, "Xvfb did not start"
    before = os.environ.get("DISPLAY")
    os.environ["DISPLAY"] = f":{number}"
    try:
        yield f":{number}"
    finally:
        os.environ.pop("DISPLAY")
        if before is not None:
            os.environ["DISPLAY"] = before
        server.terminate()
        server.wait()


class Program:
    """The window program and what it has told so far."""

    def __init__(self, title: str = "A game", width: int = 640, height: int = 360) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.actors.screen.window", title, str(width), str(height)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.told: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()
        self.await_word("ready")

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.told.append(line.strip())

    def await_word(self, word: str) -> None:
        until(lambda: word in self.told, f"{word} in {self.told}")

    def do(self, command: str) -> None:
        """Commands the window and waits until it has obeyed."""
        assert self._process.stdin is not None
        self.told = [line for line in self.told if line != f"did {command.split(maxsplit=1)[0]}"]
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        if command != "quit":
            self.await_word(f"did {command.split(maxsplit=1)[0]}")
        else:
            self._process.wait()

    def held(self) -> set[str]:
        """Keys and buttons that the program takes to be down."""
        held: set[str] = set()
        for line in list(self.told):
            kind, *rest = line.split()
            if kind in ("key", "button"):
                (held.add if rest[1] == "1" else held.discard)(f"{kind} {rest[0]}")
        return held

    def turned(self) -> int:
        """Pixels that the pointer has moved to the right."""
        return sum(int(line.split()[1]) for line in list(self.told) if line.startswith("motion"))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
