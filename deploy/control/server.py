"""pamiq-core's own web API on the driver, closed to other hosts and their pages, and the live page beside it.

    pamiq-console, pamiq-kbctl ─► Gate ─┬► WebApiServer (pamiq-core) ─► queue ─► driver, twice a second
    browser                             └► routes of the live page

Nobody gets past the gate who is not on this machine or has no token, and no page of elsewhere in any case.
"""

import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any, override

import uvicorn
from pamiq_core.console import SystemStatus
from pamiq_core.console.system_status import SystemStatusProvider
from pamiq_core.console.web_api import ERROR_INVALID_ENDPOINT, ERROR_INVALID_METHOD, WebApiServer
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from common.config.control import ControlConfig
from common.errors import ConfigError
from common.options import secret
from common.stream.connection import is_loopback
from deploy.control.gate import TOKEN_VARIABLE, Gate

_SHORTEST = 16
_WAITING = 16
"""Commands that wait for the driver, at most."""

_log = logging.getLogger(__name__)


class _Told(SystemStatusProvider):
    """Asks the run, where pamiq-core would ask its threads."""

    def __init__(self, ask: Callable[[], SystemStatus]) -> None:
        self._ask = ask

    @override
    def get_current_status(self) -> SystemStatus:
        return self._ask()


class ControlServer(WebApiServer):
    """Listens until it is closed.

    Args:
        config: Where.
        status: How the run is.
        routes: What it serves beside pamiq-core's API.

    Raises:
        ConfigError: The address cannot be had, or is beyond loopback and there is no token.
    """

    @override
    def __init__(self, config: ControlConfig, status: Callable[[], SystemStatus], routes: Sequence[Route] = ()) -> None:
        token = control_token(config)
        self._listener = _listen(config)
        port = int(self._listener.getsockname()[1])
        super().__init__(_Told(status), config.host, port, _WAITING)
        self.url = f"http://{f'[{config.host}]' if ':' in config.host else config.host}:{port}"
        """Where it is."""
        self._app.router.routes.extend(routes)
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(Gate(self._app, token), log_level="error", access_log=False, timeout_graceful_shutdown=1)
        )
        # pamiq-core's own log says each request at the level INFO; the terminal belongs to the live view.
        self._logger.setLevel(logging.WARNING)
        self.run_in_background()

    @override
    def run_in_background(self) -> None:
        """Listens from now on; pamiq-core's control thread asks for it a second time."""
        if not self._handler_thread.is_alive():
            super().run_in_background()

    @override
    def _run_server(self) -> None:
        self._uvicorn.run(sockets=[self._listener])

    # pamiq-core writes every path that it does not know into the log, as it was asked for.
    @override
    async def _error_404(self, request: Request, exc: Any) -> JSONResponse:
        return JSONResponse(ERROR_INVALID_ENDPOINT, status_code=404)

    @override
    async def _error_405(self, request: Request, exc: Any) -> JSONResponse:
        return JSONResponse(ERROR_INVALID_METHOD, status_code=405)

    def close(self) -> None:
        """Ends, and frees the port."""
        self._uvicorn.should_exit = True
        self._handler_thread.join(5.0)
        self._listener.close()


def control_token(config: ControlConfig) -> str | None:
    """Finds the token that requests must bear; None on loopback.

    Raises:
        ConfigError: There is none, or a short one, and the address is beyond loopback.
    """
    if is_loopback(config.host):
        return None
    token = secret(TOKEN_VARIABLE)
    if len(token) < _SHORTEST:
        raise ConfigError(
            "control.host",
            config.host,
            f"is beyond loopback: set {TOKEN_VARIABLE} to {_SHORTEST} characters or more, or use an SSH tunnel",
        )
    return token


def _listen(config: ControlConfig) -> socket.socket:
    # Another run may have the port, as when several share a machine: that is no reason not to begin.
    ports = [config.port, 0] if config.port and is_loopback(config.host) else [config.port]
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    refused: OSError | None = None
    for port in ports:
        try:
            return socket.create_server((config.host, port), family=family)
        except OSError as error:
            refused = error
            _log.info("control.port = %d cannot be had: %s", port, error.strerror)
    raise ConfigError("control.host", config.host, f"cannot be listened at: {refused and refused.strerror}")
