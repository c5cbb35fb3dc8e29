"""The dead man's handle: a small process beside an actor that lets its controls go when the actor no longer can.

    actor ── one byte a step ──► stdin ─► watch ─► release   at the pipe's end: the actor died
                                                             after `SILENCE` seconds without a byte: it hangs
                                                             at a rest: it paused; and at SIGTERM

The kernel closes the pipe however the actor dies, kill -9 included. The process has a session of its own, so that a
Ctrl-C in the terminal reaches the actor and not its handle. It imports nothing heavy.
"""

import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import IO

SILENCE = 0.7
"""Seconds without a sign of life after which controls are let go: with the way to the program, under one second."""
_BEAT, _REST, _READY = b".", b"|", b"R"
_STARTUP = 20.0

_log = logging.getLogger(__name__)


class DeadMan:
    """The actor's end.

    Args:
        module: Module that is run as the process; it calls `watch`.
        arguments: For it.

    Attributes:
        losses: How often the process itself had died and was started anew.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self.losses = 0
        self._beat = -math.inf

    @property
    def process(self) -> int | None:
        """Id of the process while there is one."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Starts the process and waits until it watches; does nothing where it does already.

        Raises:
            RuntimeError: It did not come up.
        """
        if self._process is not None:
            return
        process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, bufsize=0
        )
        late = threading.Timer(_STARTUP, process.kill)
        late.start()
        word = _end(process.stdout).read(1)
        late.cancel()
        if word != _READY:
            process.kill()
            process.wait()
            raise RuntimeError(f"the dead-man process does not start: {' '.join(self._command[1:])}")
        self._process = process

    def beat(self) -> bool:
        """Says that the actor lives and that controls may be in use.

        Returns:
            Whether they may have been let go since the last beat: it was long ago.
        """
        last, self._beat = self._beat, time.monotonic()
        self._say(_BEAT)
        return self._beat - last > SILENCE / 2

    def rest(self) -> None:
        """Has all controls let go now; the next `beat` begins anew."""
        self._say(_REST)

    def close(self) -> None:
        """Has all controls let go and ends the process; a second call does nothing."""
        if self._process is None:
            return
        process, self._process = self._process, None
        _end(process.stdin).close()
        _end(process.stdout).close()
        try:
            process.wait(_STARTUP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _say(self, word: bytes) -> None:
        if self._process is None:
            return
        try:
            _end(self._process.stdin).write(word)
        except OSError:
            _log.warning("the dead-man process has died; it is started anew")
            self.losses += 1
            self.close()
            self.start()


def _end(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _leave(number: int, frame: object) -> None:
    sys.exit(0)


def watch(release: Callable[[], None], silence: float = SILENCE) -> None:
    """Runs in the process until the actor's end of the pipe is closed: see the module.

    Args:
        release: Lets all controls go; may be called any number of times. What it raises is logged.
        silence: Seconds without a sign of life.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    heard: SimpleQueue[bytes] = SimpleQueue()

    def listen() -> None:
        while words := os.read(0, 4096):
            heard.put(words)
        heard.put(b"")

    def let_go() -> None:
        try:
            release()
        except Exception:
            _log.exception("controls could not be let go")

    # A thread, since Windows cannot wait for a pipe with a timeout.
    threading.Thread(target=listen, daemon=True).start()
    try:
        os.write(1, _READY)
        armed = False
        while True:
            try:
                words = heard.get(timeout=silence if armed else None)
            except Empty:
                words = _REST
            if not words:
                return
            armed = words.endswith(_BEAT)
            if not armed:
                let_go()
    finally:
        let_go()
