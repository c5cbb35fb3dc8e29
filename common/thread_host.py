"""A pamiq-core thread, steered from another process: pamiq-core's own loop, pause and order of events."""

import sys
from collections.abc import Callable
from typing import Any, override

from pamiq_core import time
from pamiq_core.thread import ThreadController
from pamiq_core.thread.threads import InferenceThread, TrainingThread
from pamiq_core.trainer import TrainersDict

from common.system_clock import ClockReading


class KeptInference(InferenceThread):
    """pamiq-core's thread of the interaction, which keeps what ended it."""

    failure: BaseException | None = None

    @override
    def on_exception(self) -> None:
        self.failure = sys.exception()
        super().on_exception()


class KeptTraining(TrainingThread):
    """pamiq-core's thread of the trainers, which keeps what ended it, and looks in between.

    Args:
        trainers: As there.
        look: Called before each tick.
    """

    failure: BaseException | None = None

    @override
    def __init__(self, trainers: TrainersDict, look: Callable[[], object]) -> None:
        super().__init__(trainers)
        self._look = look

    @override
    def on_tick(self) -> None:
        self._look()
        super().on_tick()

    @override
    def on_exception(self) -> None:
        self.failure = sys.exception()
        super().on_exception()


class ThreadHost:
    """Runs one such thread.

    Args:
        thread: It, not yet started.
        clock: System time of the control thread's process.
    """

    def __init__(self, thread: KeptInference | KeptTraining, clock: ClockReading) -> None:
        clock.apply()
        self._thread = thread
        self._controller = ThreadController()
        thread.attach_controller(self._controller.read_only)
        self._started = False

    def start(self, clock: ClockReading) -> None:
        """Begins."""
        clock.apply()
        self._started = True
        self._thread.start()

    def pause(self, timeout: float) -> bool:
        """Has the thread stand still, and system time with it.

        Returns:
            Whether it does after so many seconds; if not, it will still do so unless it is resumed.
        """
        self._controller.pause()
        if self._thread.is_alive() and not self._thread.thread_status.wait_for_pause(timeout):
            return False
        time.pause()
        return True

    def resume(self, clock: ClockReading) -> None:
        """Goes on, by the control thread's clock."""
        time.resume()
        clock.apply()
        self._controller.resume()

    def check(self) -> None:
        """Looks whether all is well.

        Raises:
            BaseException: What ended the thread.
        """
        if self._thread.failure is not None:
            raise self._thread.failure

    def stop(self, timeout: float) -> None:
        """Ends the thread.

        Raises:
            TimeoutError: The step under way did not end.
        """
        self._controller.shutdown()
        if self._started:
            thread: Any = self._thread._thread  # pyright: ignore[reportPrivateUsage]
            thread.join(timeout)
            if thread.is_alive():
                raise TimeoutError(f"the step under way did not end within {timeout:g} s")
