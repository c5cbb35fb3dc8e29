"""The live page of a run: what a browser asks for, and where the answers come from.

    GET /                    the page; /static/… its parts
    GET /live/status         how the run is now             ◄─ RunStatus
    GET /live/history        its main numbers over time     ◄─ History, fed by the driver
    GET /live/frames/ACTOR   the newest frame, JPEG         ◄─ the stream
    GET /live/memory         rows and columns of the map    ◄─ evaluations.jsonl

Everything is read in the server's threads and none of it changes the run; its buttons press pamiq-core's own API.
"""

import math
import threading
from collections.abc import Callable
from pathlib import Path

from pamiq_core.console import SystemStatus
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from common.status import RunStatus
from deploy.page.frames import NewestFrames
from deploy.page.history import NAMES, History, sample
from deploy.page.memory_map import MemoryMap
from deploy.page.tail import Tail
from deploy.page.told import told
from deploy.rundir import to_json

STATIC = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "chart.js": "text/javascript",
    "heat.js": "text/javascript",
    "words.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""All that is served as it lies there, by name: no path of a request is ever joined to a folder."""
_FOLDER = Path(__file__).parent / "static"


class LivePage:
    """Answers for one run.

    Args:
        status: Returns the newest status; called from several threads.
        url: The stream's server.
        stream: Id of the stream.
        key: What the run signs with; None for nothing.
        run_dir: Where the evaluator's rows are written.
    """

    def __init__(
        self, status: Callable[[], RunStatus], *, url: str, stream: str, key: bytes | None, run_dir: Path
    ) -> None:
        self._status = status
        self._history = History()
        self._frames = NewestFrames(url, stream, key=key)
        self._tail = Tail(run_dir / "evaluations.jsonl")
        self._memory = MemoryMap()
        self._memory_lock = threading.Lock()
        self._files = {name: (_FOLDER / name).read_bytes() for name in ("index.html", *STATIC)}

    def look(self) -> None:
        """Takes a sample of the run; to be called about twice a second."""
        status = self._status()
        if status.elapsed > 0:
            self._history.add(status.elapsed, sample(status))

    def close(self) -> None:
        """Lets the stream go."""
        self._frames.close()

    def routes(self, state: Callable[[], SystemStatus]) -> list[Route]:
        """The page's routes.

        Args:
            state: How the run is steered just now.
        """

        def status(request: Request) -> Response:
            return _json(told(self._status(), state().status_name))

        return [
            Route("/", self._index),
            Route("/static/{name}", self._static),
            Route("/live/status", status),
            Route("/live/history", self._since),
            Route("/live/frames/{actor}", self._frame),
            Route("/live/memory", self._map),
        ]

    def _index(self, request: Request) -> Response:
        return Response(self._files["index.html"], media_type="text/html")

    def _static(self, request: Request) -> Response:
        name = str(request.path_params["name"])
        return Response(self._files[name], media_type=STATIC[name]) if name in STATIC else _none("no such file")

    def _since(self, request: Request) -> Response:
        try:
            after = float(request.query_params.get("after", "-inf"))
        except ValueError:
            after = math.nan
        if math.isnan(after):
            return JSONResponse({"error": "after: must be a number of seconds"}, status_code=400)
        found = self._history.since(after)
        return _json({"names": NAMES, "spacing": found.spacing, "points": found.points, "now": found.now})

    def _frame(self, request: Request) -> Response:
        actor = str(request.path_params["actor"])
        if actor not in {known.name for known in self._status().actors}:
            return _none("no such actor")
        picture = self._frames.picture(actor)
        return Response(status_code=204) if picture is None else Response(picture, media_type="image/jpeg")

    def _map(self, request: Request) -> Response:
        with self._memory_lock:
            self._memory.take(self._tail.read())
            behind = self._tail.behind
            if request.query_params.get("known") == str(self._memory.evaluations) and not behind:
                return Response(status_code=204)
            return _json({**self._memory.drawn(), "behind": behind})


def _json(content: object) -> Response:
    return Response(to_json(content), media_type="application/json")


def _none(why: str) -> JSONResponse:
    return JSONResponse({"error": why}, status_code=404)
