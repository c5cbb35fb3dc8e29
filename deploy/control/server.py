"""pamiq-core's own web API on the driver, closed to web pages and to other hosts.

    pamiq-console, pamiq-kbctl ─► Gate ─► WebApiServer (pamiq-core) ─► queue ─► driver, twice a second

On loopback a request must name loopback as its host, and as its origin where it has one: else any web page that is
open in a browser on this machine could press the buttons (DNS rebinding, cross-site requests). Beyond loopback it must
bear a token.
"""

import hmac
import ipaddress
import logging
import os
import socket
from collections.abc import Callable
from typing import override
from urllib.parse import urlsplit

import uvicorn
from pamiq_core.console import SystemStatus
from pamiq_core.console.system_status import SystemStatusProvider
from pamiq_core.console.web_api import WebApiServer
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from common.config.control import ControlConfig
from common.errors import ConfigError

TOKEN_VARIABLE = "ENGRAM_CONTROL_TOKEN"
"""Names the token that requests from beyond loopback must bear."""
_SHORTEST = 16
_WAITING = 16
"""Commands that wait for the driver, at most."""

_log = logging.getLogger(__name__)


def is_loopback(name: str) -> bool:
    """Says whether a host's name or address is this machine's loopback."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Gate:
    """Lets in whom it should: see the module.

    Args:
        app: What is behind it.
        token: That requests must bear; None on loopback, where they must name loopback instead.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, or passes a request on."""
        if scope["type"] == "http" and (wrong := self._refusal(Headers(scope=scope))):
            await JSONResponse({"error": wrong}, status_code=403)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, headers: Headers) -> str:
        origin = headers.get("origin")
        if self._token is not None:
            given = headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self._token.encode()):
                return f"a bearer token is needed: the run's {TOKEN_VARIABLE}"
            return "web pages may not steer a run" if origin is not None else ""
        if not is_loopback(_host(f"//{headers.get('host', '')}")):
            return "the Host header must name loopback"
        if origin is not None and not is_loopback(_host(origin)):
            return "the Origin header must name loopback"
        return ""


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

    Raises:
        ConfigError: The address cannot be had, or is beyond loopback and there is no token.
    """

    @override
    def __init__(self, config: ControlConfig, status: Callable[[], SystemStatus]) -> None:
        token = control_token(config)
        self._listener = _listen(config)
        port = int(self._listener.getsockname()[1])
        super().__init__(_Told(status), config.host, port, _WAITING)
        self.url = f"http://{f'[{config.host}]' if ':' in config.host else config.host}:{port}"
        """Where it is."""
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
    token = os.environ.get(TOKEN_VARIABLE, "")
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


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
