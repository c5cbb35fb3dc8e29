"""The thread that starts Ray, and shuts it down.

Ray numbers the calls of a task, and each thread that calls counts as a task. The thread that starts Ray counts as the
driver's, and still does so when the process has another cluster later. If another thread starts that one, there are
two with the same name, and as soon as both have made a call of the same number Ray ends the process without a word. So
every cluster has a thread of its own, which makes no calls. It lives as long as the cluster: on Linux the processes
that a thread has started end with that thread.
"""

import logging
import signal
import threading
from concurrent.futures import Future
from typing import Any

import ray


class RayThread:
    """One start of Ray, and its end.

    Args:
        options: As `ray.init` takes them.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._started: Future[None] = Future()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, name="ray", daemon=True)

    def start(self) -> None:
        """Starts Ray, and waits until it is up; what `ray.init` raises is raised here.

        Signals mean what they meant before, if this is the main thread: Ray's core would abort the process at SIGTERM.
        """
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self._thread.start()
        try:
            self._started.result()
        finally:
            if threading.current_thread() is threading.main_thread():
                for number, handler in handlers.items():
                    signal.signal(number, handler)

    def stop(self, *, hasty: bool = False) -> None:
        """Shuts Ray down, if it was started, or was to be.

        Args:
            hasty: Leave a start alone that is still going on: the end of this process is its end too.
        """
        if self._thread.is_alive() and (self._started.done() or not hasty):
            self._over.set()
            self._thread.join()

    def _live(self) -> None:
        try:
            ray.init(logging_level=logging.ERROR, **self._options)  # pyright: ignore[reportUnknownMemberType]
            self._started.set_result(None)
        except BaseException as error:  # for whoever waits, and stops what has come up all the same
            self._started.set_exception(error)
        self._over.wait()
        ray.shutdown()  # pyright: ignore[reportUnknownMemberType]
