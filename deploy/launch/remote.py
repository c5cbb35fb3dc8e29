"""Hosts in other processes, as pamiq-core's control thread sees them: as two threads, and as things with a state."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, override

import ray
import ray.exceptions
from pamiq_core.state_persistence import PersistentStateMixin
from pamiq_core.thread import ReadOnlyController
from pamiq_core.thread.thread_types import ThreadTypes
from pamiq_core.thread.threads import BackgroundThread

from common import saved_files
from common.errors import RunError
from common.process import settle
from common.saved_files import SavedFiles
from common.system_clock import ClockReading

_PATIENCE = 600.0
"""Seconds that a host may take for anything that has no limit of its own: building models, saving buffers."""
_STEP = 0.5
"""Seconds of a single wait for a host to stand still."""
ENDING = 60.0
"""Seconds that the step or the training under way may take to end."""

_log = logging.getLogger(__name__)


class HostShell:
    """The Ray actor around a host; it is built by a call, so that what goes wrong is told like any other failure.

    Args:
        name: Name of the part.
        threads: CPU threads of torch.
    """

    def __init__(self, name: str, threads: int) -> None:
        settle(part=name, threads=threads)
        self._host: Any = None

    def build(self, host: type[Any], *positional: Any, **named: Any) -> None:
        """Makes the host."""
        self._host = host(*positional, **named)

    def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the host."""
        return getattr(self._host, method)(*arguments)


class Remote:
    """One host in its process.

    Args:
        name: Name of the part.
        threads: CPU threads of torch there.
        options: For Ray.
    """

    def __init__(self, name: str, *, threads: int, options: Mapping[str, Any]) -> None:
        self.name = name
        shell = ray.remote(HostShell).options(**{"num_cpus": 0, "max_concurrency": 4, "max_restarts": 0, **options})
        self.handle: Any = shell.remote(name, threads)

    def build(self, host: type[Any], *positional: Any, **named: Any) -> None:
        """Makes the host there.

        Raises:
            RunError: It cannot be made; says why.
        """
        try:
            made = self.handle.build.remote(host, *positional, **named)
        except TypeError as error:  # Ray's word for what cannot be pickled
            how = f"build everything inside the factory ({str(error).partition(chr(10))[0]})"
            raise RunError(f"{self.name} cannot be sent to its process: {how}") from error
        self._get(made, _PATIENCE)

    def call(self, method: str, *arguments: Any, timeout: float = _PATIENCE) -> Any:
        """Calls a method of the host.

        Raises:
            RunError: It failed, is gone, or does not answer.
        """
        return self._get(self.handle.call.remote(method, *arguments), timeout)

    def _get(self, answer: Any, timeout: float) -> Any:
        try:
            return ray.get(answer, timeout=timeout)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise RunError(f"{self.name} failed: {type(cause).__name__}: {cause}") from error
        except ray.exceptions.RayActorError as error:
            raise RunError(f"{self.name}: its process died") from error
        except ray.exceptions.GetTimeoutError as error:
            raise RunError(f"{self.name} does not answer for {timeout:g} s") from error


class RemoteThread(BackgroundThread):
    """Stands for the threads of all hosts of a kind.

    Args:
        hosts: They.
    """

    LOOP_DELAY: ClassVar[float] = 0.05

    @override
    def __init__(self, hosts: Sequence[Remote]) -> None:
        super().__init__()
        self._hosts = hosts
        self._controller: ReadOnlyController | None = None
        self.failure: BaseException | None = None
        self.last: dict[str, Any] = {}
        """What each host has counted."""

    @override
    def attach_controller(self, controller: ReadOnlyController) -> None:
        super().attach_controller(controller)
        self._controller = controller

    @override
    def on_start(self) -> None:
        super().on_start()
        for host in self._hosts:
            host.call("start", ClockReading.take())

    @override
    def on_tick(self) -> None:
        super().on_tick()
        for host in self._hosts:
            self.last[host.name] = host.call("check")

    @override
    def on_paused(self) -> None:
        """Pauses all hosts, for as long as the control thread wants it."""
        assert self._controller is not None
        left = list(self._hosts)
        while left and self._controller.is_pause():
            left = [host for host in left if not host.call("pause", _STEP)]
        if not left:
            super().on_paused()

    @override
    def on_resumed(self) -> None:
        for host in self._hosts:
            host.call("resume", ClockReading.take())
        super().on_resumed()

    @override
    def on_exception(self) -> None:
        self.failure = sys.exception()
        super().on_exception()

    @override
    def on_finally(self) -> None:
        super().on_finally()
        for host in self._hosts:
            try:
                host.call("stop", ENDING, timeout=2 * ENDING)
                self.last[host.name] = host.call("check")
            except RunError as error:
                if self.failure is None:
                    self.failure = error
                _log.error("%s", error)


class RemoteInteractions(RemoteThread):
    """All interactions."""

    THREAD_TYPE = ThreadTypes.INFERENCE


class RemoteTrainers(RemoteThread):
    """All trainers."""

    THREAD_TYPE = ThreadTypes.TRAINING


class InteractionStates(PersistentStateMixin):
    """States of all interactions: the first one's is named as pamiq-core names it, `interaction`, then `interaction-1`.

    Args:
        hosts: The interactions' hosts.
    """

    def __init__(self, hosts: Sequence[Remote]) -> None:
        self._hosts = hosts
        self.acting_models: SavedFiles = {}
        """Models that only ever act, as the first interaction saved them last."""

    @override
    def save_state(self, path: Path) -> None:
        for number, host in enumerate(self._hosts):
            files: SavedFiles = host.call("save")
            own = {inside: content for inside, content in files.items() if not inside.startswith("models/")}
            saved_files.write(path.parent, _renamed(own, path.name, _name(path.name, number)))
            if number == 0:
                self.acting_models = {inside: files[inside] for inside in files.keys() - own.keys()}

    @override
    def load_state(self, path: Path) -> None:
        for number, host in enumerate(self._hosts):
            name = _name(path.name, number)
            files = saved_files.read(path.parent / name)
            if not files:  # one state for all of them, or of fewer than there are now
                name, files = path.name, saved_files.read(path)
            host.call("load", _renamed(files, name, path.name))


class TrainerStates(PersistentStateMixin):
    """State of something of the trainers' process.

    Args:
        host: The trainers' host.
        what: `models`, `data` or `trainers`.
        interactions: Has the models that only ever act, which are not up to date over there.
    """

    def __init__(self, host: Remote, what: str, interactions: InteractionStates) -> None:
        self._host = host
        self._what = what
        self._interactions = interactions

    @override
    def save_state(self, path: Path) -> None:
        if self._what == "data":
            self._host.call("drain", ENDING)
        saved_files.write(path.parent, self._host.call("save", self._what))
        if self._what == "models":
            saved_files.write(path.parent, self._interactions.acting_models)

    @override
    def load_state(self, path: Path) -> None:
        self._host.call("load", self._what, saved_files.read(path))


def _name(base: str, number: int) -> str:
    return f"{base}-{number}" if number else base


def _renamed(files: SavedFiles, before: str, after: str) -> SavedFiles:
    return {after + inside.removeprefix(before): content for inside, content in files.items()}
