"""pamiq-core's control thread, whose web API lets in only whom it should (see `deploy.control.server`)."""

from functools import partial
from typing import Any, override

from pamiq_core.console.system_status import SystemStatusProvider
from pamiq_core.state_persistence import StateStore
from pamiq_core.thread.threads import ControlThread

from common.config.control import ControlConfig
from deploy.control.server import ControlServer
from deploy.launch.config import LaunchConfig


class Control(ControlThread):
    """Controls one system.

    Args:
        store: Saves and loads it.
        config: How it is launched.
    """

    @override
    def __init__(self, store: StateStore, config: LaunchConfig) -> None:
        super().__init__(
            store,
            save_state_condition=config.save_state_condition,
            states_keeper=config.states_keeper,
            timeout_for_all_threads_pause=config.timeout_for_all_threads_pause,
            max_attempts_to_pause_all_threads=config.max_attempts_to_pause_all_threads,
            max_uptime=config.max_uptime,
            web_api_address=None,
        )
        if config.web_api_address is not None:
            host, port = config.web_api_address
            self._partial_web_api_server: Any = partial(_guarded, ControlConfig(host=host, port=port))

    @override
    def on_finally(self) -> None:
        super().on_finally()
        server = getattr(self, "_web_api_server", None)
        if isinstance(server, ControlServer):
            server.close()


def _guarded(config: ControlConfig, provider: SystemStatusProvider) -> ControlServer:
    return ControlServer(config, provider.get_current_status)
