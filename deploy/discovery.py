"""Where Prometheus, and anyone on this machine, finds the run: a small HTTP server of the driver on loopback.

    GET /sd       targets of all parts, as Prometheus' `http_sd_configs` wants them
    GET /metrics  the driver's own metrics
    GET /status   the newest `RunStatus` as JSON

It only reads. The Host header must name loopback, so that no web page can reach it through a name of its own
(DNS rebinding).
"""

import logging
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, override
from urllib.parse import urlsplit

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from common.errors import ConfigError
from common.metrics import Metrics
from common.status import RunStatus
from deploy.rundir import to_json
from deploy.supervision import Part

_log = logging.getLogger(__name__)

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class MetricsDirectory:
    """Lists the endpoints of all parts of one run.

    Args:
        run: Name of the run, the label `run` of every target.
        metrics: The driver's own metrics; they are served here, the driver needs no second port.
        status: Returns the newest status; called from the server's threads.
        port: TCP port on 127.0.0.1; 0 takes a free one.

    Raises:
        ConfigError: The port cannot be had.
    """

    def __init__(self, *, run: str, metrics: Metrics, status: Callable[[], RunStatus], port: int = 0) -> None:
        self._run = run
        self._metrics = metrics
        self._status = status
        self._lock = threading.Lock()
        self._ports: dict[str, int] = {}
        try:
            self._server = _Server(("127.0.0.1", port), self)
        except OSError as error:
            allowed = f"cannot be had ({error.strerror}): choose another, or 0 for a free one"
            raise ConfigError("metrics_port", port, allowed) from None
        self._ports["driver"] = self.port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="metrics-directory", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The TCP port taken."""
        return self._server.server_port

    @property
    def url(self) -> str:
        """What to write into Prometheus' `http_sd_configs`."""
        return f"http://127.0.0.1:{self.port}/sd"

    def register(self, part: str, port: int) -> None:
        """Adds a part's endpoint, or moves it after a restart.

        Args:
            part: Name of the part, for example `actor-0`; the label `part` of its target.
            port: TCP port of its endpoint on loopback.
        """
        with self._lock:
            self._ports[part] = port

    def forget(self, part: str) -> None:
        """Takes a part off the list; one that is not on it is no error."""
        with self._lock:
            self._ports.pop(part, None)

    def targets(self) -> list[dict[str, Any]]:
        """The target groups of `http_sd`, one a part."""
        with self._lock:
            ports = dict(self._ports)
        return [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"part": part, "run": self._run}}
            for part, port in sorted(ports.items())
        ]

    def look(self, parts: Mapping[str, Part]) -> None:
        """Lists the parts whose port is known."""
        for name, part in parts.items():
            if part.port is None:
                self.forget(name)
            else:
                self.register(name, part.port)

    def page(self, path: str) -> tuple[str, bytes] | None:
        """Content type and body of a page, or None where there is none."""
        match path:
            case "/sd":
                return "application/json", to_json(self.targets()).encode()
            case "/metrics":
                return CONTENT_TYPE_PLAIN_0_0_4, self._metrics.exposition()
            case "/status":
                return "application/json", to_json(self._status()).encode()
            case _:
                return None

    def close(self) -> None:
        """Stops the server and frees the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _is_loopback(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").hostname in _LOOPBACK
    except ValueError:
        return False


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], directory: MetricsDirectory) -> None:
        self.directory = directory
        super().__init__(address, _Handler)

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keeps the terminal for the live view: a client that went away is not worth a traceback there."""
        _log.debug("no answer for %s", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = 10.0
    """Seconds after which a silent client is let go."""

    def do_GET(self) -> None:
        """Answers with a page, or says why not."""
        assert isinstance(self.server, _Server)
        if not _is_loopback(self.headers.get("Host", "")):
            self.send_error(HTTPStatus.FORBIDDEN, "Host must be loopback")
            return
        page = self.server.directory.page(urlsplit(self.path).path)
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND, "try /sd, /metrics or /status")
            return
        kind, body = page
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Keeps the terminal for the live view."""
