"""Where Prometheus, and anyone on this machine, finds the run: a small HTTP server of the driver on loopback.

    GET /sd              targets of all parts, as Prometheus' `http_sd_configs` wants them
    GET /metrics         the driver's own metrics
    GET /metrics/<part>  those of a part whose own endpoint is out of reach: on another host, or not there yet
    GET /status          the newest `RunStatus` as JSON

It only reads. The Host header must name loopback, so that no web page can reach it through a name of its own
(DNS rebinding).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

import logging
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, override
from urllib.parse import urlsplit

import ray
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from common.catalogue import Role
from common.cohort import of_member
from common.config import RunConfig
from common.errors import ConfigError
from common.metrics import Metrics
from common.status import RunStatus
from deploy.control.gate import names_loopback
from deploy.rundir import to_json
from deploy.supervision import Part

_log = logging.getLogger(__name__)

PATIENCE = 3.0
"""Seconds that a part on another host may take; Prometheus itself waits a second longer."""

type Source = int | Callable[[], bytes]
"""Where a part's metrics come from: a port on this host's loopback, or a call that returns the exposition."""


class Absent(Exception):
    """A part has no metrics to show just now, and nobody is to blame."""


def absent() -> bytes:
    """The source of a part that is being started.

    Raises:
        Absent: Always.
    """
    raise Absent("it is being started")


@dataclass(frozen=True, slots=True)
class Page:
    """An answer.

    Attributes:
        status: HTTP status.
        kind: Content type.
        body: The content; of an error, what is wrong.
    """

    status: HTTPStatus
    kind: str
    body: bytes


class MetricsDirectory:
    """Lists the endpoints of all parts of one run.

    A part on another host shows its metrics on that host's loopback, where Prometheus cannot see them: for those the
    list names the driver itself, which asks the part.

    Args:
        run: Name of the run, the label `run` of every target.
        metrics: The driver's own metrics; they are served here, the driver needs no second port.
        status: Returns the newest status; called from the server's threads.
        port: TCP port on 127.0.0.1; 0 takes a free one.
        model: The label `model` of every target: the size of the run's model, or who of a cohort acts.

    Raises:
        ConfigError: The port cannot be had.
    """

    def __init__(
        self, *, run: str, metrics: Metrics, status: Callable[[], RunStatus], port: int = 0, model: str = ""
    ) -> None:
        self._run = run
        self._model = model
        self._metrics = metrics
        self._status = status
        self._lock = threading.Lock()
        self._answered = threading.Condition(self._lock)
        self._asking = 0
        self._here = socket.gethostname()
        self._sources: dict[str, tuple[Source, dict[str, str]]] = {}
        self._unreachable: Counter[str] = Counter()
        try:
            self._server = _Server(("127.0.0.1", port), self)
        except OSError as error:
            allowed = f"cannot be had ({error.strerror}): choose another, or 0 for a free one"
            raise ConfigError("metrics_port", port, allowed) from None
        self.register("driver", self.port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="metrics-directory", daemon=True
        )
        self._thread.start()

    @classmethod
    def of(cls, run: RunConfig, name: str, status: Callable[[], RunStatus], *, member: str = "") -> Self:
        """The directory of a run, with the driver's own metrics read off its status.

        Args:
            run: The run's configuration.
            name: Name of the run.
            status: Returns the newest status; called from the server's threads.
            member: Who of a cohort acts.

        Raises:
            ConfigError: The port cannot be had.
        """
        metrics = Metrics(Role.DRIVER)
        metrics.follow(status)
        model = member or run.learner.model.size
        return cls(run=name, metrics=metrics, status=status, port=run.metrics_port, model=model)

    @property
    def port(self) -> int:
        """The TCP port taken."""
        return self._server.server_port

    @property
    def url(self) -> str:
        """What to write into Prometheus' `http_sd_configs`."""
        return f"http://127.0.0.1:{self.port}/sd"

    @property
    def unreachable(self) -> dict[str, int]:
        """Times that a part did not give its metrics when it was asked, by part."""
        with self._lock:
            return dict(self._unreachable)

    def register(self, part: str, source: Source, *, host: str | None = None, member: str = "") -> None:
        """Adds a part, or moves it after a restart.

        Args:
            part: Name of the part, for example `actor-0`; the label `part` of its target.
            source: A port on this host's loopback, or a call that returns the exposition, or raises TimeoutError, or
                `Absent`; it is made from the server's threads, at each scrape.
            host: The label `host` of its target; None for this one.
            member: Whose part it is in a cohort: the label `model` of its target.
        """
        labels = {"part": part, "host": host or self._here, "run": self._run, "model": member or self._model}
        with self._lock:
            self._sources[of_member(part, member)] = source, labels

    def forget(self, part: str, *, member: str = "") -> None:
        """Takes a part off the list; one that is not on it is no error."""
        with self._lock:
            self._sources.pop(of_member(part, member), None)

    def targets(self) -> list[dict[str, Any]]:
        """The target groups of `http_sd`, one a part."""
        with self._lock:
            sources = dict(self._sources)
        groups: list[dict[str, Any]] = []
        for name, (source, labels) in sorted(sources.items()):
            port, path = (
                (source, {}) if isinstance(source, int) else (self.port, {"__metrics_path__": f"/metrics/{name}"})
            )
            groups.append({"targets": [f"127.0.0.1:{port}"], "labels": {**labels, **path}})
        return groups

    def look(self, parts: Mapping[str, Part], *, here: str | None = None, member: str = "") -> None:
        """Lists all parts, those that are being started too: to Prometheus they are down.

        Args:
            parts: The parts by name.
            here: Address of the Ray node on this host; parts without one are on this host too.
            member: Whose parts they are in a cohort.
        """
        for name, part in parts.items():
            if part.port is None:
                self.register(name, absent, host=part.host, member=member)
            elif part.host in (None, here):
                self.register(name, part.port, member=member)
            else:
                self.register(name, partial(_fetch, part.handle), host=part.host, member=member)

    def page(self, path: str) -> Page:
        """The answer to a path."""
        match path:
            case "/sd":
                return Page(HTTPStatus.OK, "application/json", to_json(self.targets()).encode())
            case "/metrics":
                return Page(HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, self._metrics.exposition())
            case "/status":
                return Page(HTTPStatus.OK, "application/json", to_json(self._status()).encode())
            case _:
                return self._of_part(path.removeprefix("/metrics/"))

    def close(self) -> None:
        """Stops the server and frees the port; parts that are being asked may go away once it returns."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        with self._lock:
            self._sources.clear()
            self._answered.wait_for(lambda: not self._asking, 2 * PATIENCE)

    def _of_part(self, part: str) -> Page:
        with self._lock:
            source, _ = self._sources.get(part, (None, ""))
            if source is None or isinstance(source, int):
                return _error(HTTPStatus.NOT_FOUND, "try /sd, /metrics or /status")
            self._asking += 1
        try:
            return Page(HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, source())
        except Absent as reason:
            return _error(HTTPStatus.SERVICE_UNAVAILABLE, str(reason))
        except TimeoutError:
            status, reason = HTTPStatus.GATEWAY_TIMEOUT, f"no answer within {PATIENCE:g} s"
        except Exception as error:  # of a part that is dying, whatever it is
            _log.debug("%s gives no metrics", part, exc_info=True)
            status, reason = HTTPStatus.BAD_GATEWAY, type(error).__name__
        finally:
            with self._lock:
                self._asking -= 1
                self._answered.notify_all()
        with self._lock:
            self._unreachable[part] += 1
        return _error(status, reason)


def _fetch(handle: Any) -> bytes:
    return ray.get(handle.exposition.remote(), timeout=PATIENCE)


def _error(status: HTTPStatus, reason: str) -> Page:
    return Page(status, "text/plain; charset=utf-8", f"{reason}\n".encode())


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
        if not names_loopback(self.headers.get("Host", "")):
            self.send_error(HTTPStatus.FORBIDDEN, "Host must be loopback")
            return
        page = self.server.directory.page(urlsplit(self.path).path)
        self.send_response(page.status)
        self.send_header("Content-Type", page.kind)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(page.body)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Keeps the terminal for the live view."""
