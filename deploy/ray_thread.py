"""The thread that starts Ray, and shuts it down.

Ray numbers a thread's calls. Who starts it counts as the job's first task, and goes on counting so when another cluster
follows. Is that one started by another thread, two threads count as one task, and when both have a call of the same
number Ray ends the process without a word. So every cluster has a thread of its own, which makes no calls. It lives as
long as the cluster: on Linux the processes that a thread has started end with that thread.
"""

import logging
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
        """Starts Ray, and waits until it is up; what `ray.init` raises is raised here."""
        self._thread.start()
        self._started.result()

    def stop(self) -> None:
        """Shuts Ray down, if it was started."""
        if self._thread.is_alive():
            self._over.set()
            self._thread.join()

    def _live(self) -> None:
        logging.getLogger("ray").setLevel(logging.ERROR)  # it would say that it takes no signals here, as is wanted
        try:
            ray.init(logging_level=logging.ERROR, **self._options)  # pyright: ignore[reportUnknownMemberType]
            self._started.set_result(None)
            self._over.wait()
        except BaseException as error:  # for whoever waits
            self._started.set_exception(error)
        finally:
            ray.shutdown()  # pyright: ignore[reportUnknownMemberType]
