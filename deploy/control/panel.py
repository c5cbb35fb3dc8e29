"""What is asked of a run from outside, and what becomes of it."""

from collections.abc import Callable, Iterable

from pamiq_core.console import SystemStatus
from pamiq_core.console.web_api import ControlCommands

from common.config.control import ControlConfig
from common.status import ActorStatus
from common.stream.control import Control, Phase
from common.system_clock import Stood
from deploy.control.conductor import Conductor
from deploy.control.server import ControlServer
from deploy.page.live import LivePage
from deploy.supervision import Part


class ControlPanel:
    """Takes commands from pamiq-core's web API to the run.

    Args:
        config: Where it listens.
        stop: Ends the run.
        save: Writes everything to disk that a resume needs, soon.
        say: Notes an event of a kind.
        stood: Seconds that the run has stood still in its earlier parts and between them.
        page: What a browser finds there; None for the API alone.

    Raises:
        ConfigError: As `ControlServer`.
    """

    def __init__(
        self,
        config: ControlConfig,
        *,
        stop: Callable[[], None],
        save: Callable[[], None],
        say: Callable[..., object],
        stood: float = 0.0,
        page: LivePage | None = None,
    ) -> None:
        self._conductor = Conductor(stood)
        self._stop = stop
        self._save = save
        self._say = say
        self._generation = 0
        self._page = page
        routes = page.routes(self._conductor.status) if page else ()
        self._server = ControlServer(config, self._conductor.status, routes) if config.enabled else None

    @property
    def url(self) -> str:
        """Where it listens; empty where it does not."""
        return self._server.url if self._server else ""

    @property
    def paused(self) -> bool:
        """Whether all is to stand still."""
        return self._conductor.paused

    @property
    def stood(self) -> float:
        """Seconds that the run has stood still so far."""
        return self._conductor.stood

    @property
    def behind(self) -> Stood:
        """What a part that is about to start must know of it."""
        return self._conductor.behind

    @property
    def wanted(self) -> Control:
        """What hosts outside Ray are to do."""
        phase = Phase.PAUSED if self.paused else Phase.RUNNING
        return Control(phase=phase, stood=self.stood, generation=self._generation)

    def status(self) -> SystemStatus:
        """How the run is, in pamiq-core's words."""
        return self._conductor.status()

    def look(self, parts: Iterable[Part], others: Iterable[ActorStatus] = ()) -> None:
        """Does what was asked for since the last look.

        Args:
            parts: Parts of the run.
            others: Status of actors outside Ray.
        """
        while self._server is not None and self._server.has_commands():
            match self._server.receive_command():
                case ControlCommands.PAUSE:
                    self._note("paused", new=self._conductor.pause())
                case ControlCommands.RESUME:
                    self._note("went_on", new=self._conductor.resume())
                case ControlCommands.SAVE_STATE:
                    self._say("save_asked")
                    self._save()
                case ControlCommands.SHUTDOWN:
                    self._say("shutdown_asked")
                    self.end()
                    self._stop()
        self._conductor.look(parts, others)
        if self._page is not None:
            self._page.look()

    def end(self) -> None:
        """The run ends: the status says so, and nobody is paused or resumed any more."""
        self._conductor.end()

    def close(self) -> None:
        """Stops listening."""
        if self._server is not None:
            self._server.close()
        if self._page is not None:
            self._page.close()

    def _note(self, event: str, *, new: bool) -> None:
        if new:
            self._generation += 1
            self._say(event, stood=self.stood)
