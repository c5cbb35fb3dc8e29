"""The training thread: round after round it answers what was asked of the learner, or trains for a slice, or rests.

    each round, on all ranks alike    all were asked something?  ─► each answers its oldest request
                                      all are closing?           ─► the end
                                      none is paused or closing? ─► work(), which comes back when something is asked

Requests come from other threads. With several ranks the same ones come to each, sooner or later; they are answered when
the last rank has heard of them, so that all answer after the same step. One that is paused pauses all.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from common.errors import CheckpointError
from learner.ranks import Ranks

IDLE = 0.02
"""Seconds of a rest."""

_log = logging.getLogger(__name__)


class Rounds:
    """Calls `work` again and again on a thread of its own.

    Args:
        work: Trains for a while; returns whether there was anything to do.
        ranks: Processes that train together.

    Attributes:
        count: Rounds begun.
        failure: What ended the thread.
    """

    def __init__(self, work: Callable[[], bool], ranks: Ranks) -> None:
        self._work = work
        self._ranks = ranks
        self._requests: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._closing = threading.Event()
        self._paused = threading.Event()
        self._thread = threading.Thread(target=self._run_safely, name="training", daemon=True)
        self.count = 0
        self.failure: BaseException | None = None

    @property
    def paused(self) -> bool:
        """Whether this rank was asked to pause."""
        return self._paused.is_set()

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def pause(self) -> None:
        """Stops work before its next step."""
        self._paused.set()

    def resume(self) -> None:
        """Works again."""
        self._paused.clear()

    def interrupted(self) -> bool:
        """Whether work should come back."""
        return not self._requests.empty() or self._closing.is_set() or self._paused.is_set()

    def ask[T](self, request: Callable[[], T]) -> T:
        """Has the training thread do something between two steps, and waits for what it returns.

        Raises:
            BaseException: What the request raised, or what ended the thread.
        """
        answer: Future[T] = Future()
        self._requests.put((request, answer))
        while True:
            try:
                return answer.result(timeout=1.0)
            except TimeoutError:
                if self.failure is not None:
                    raise self.failure from None
                if not self._thread.is_alive():
                    raise CheckpointError("the training thread has ended") from None

    def close(self) -> None:
        """Ends the thread, once every rank is closing."""
        self._closing.set()
        self._thread.join(10.0)

    def _run_safely(self) -> None:
        try:
            self._run()
        except BaseException as error:  # handed to whoever asks for the status, which ends or restarts the learner
            _log.exception("the training thread failed")
            self.failure = error

    def _run(self) -> None:
        while True:
            self.count += 1
            closing = self._closing.is_set()
            asked, ending, working = self._ranks.all(
                not self._requests.empty(), closing, not (closing or self._paused.is_set())
            )
            if asked:
                self._answer()
            elif ending:
                return
            elif not (working and self._work()):
                self._closing.wait(IDLE)

    def _answer(self) -> None:
        request, answer = self._requests.get_nowait()
        try:
            answer.set_result(request())
        except Exception as error:  # belongs to the one who asked
            answer.set_exception(error)
