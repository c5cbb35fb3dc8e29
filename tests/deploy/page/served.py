"""A server with the page of a run that stands still, over a real stream."""

import http.client
import json
from pathlib import Path
from typing import Any

from pamiq_core.console import SystemStatus

from common.codec import Codec
from common.config.control import ControlConfig
from common.messages import Datum
from common.signing import SIGNATURE, Signer
from common.status import ActorStatus, EvaluatorStatus, LearnerStatus, RunStatus, StudyStatus
from common.stream import StreamKeys, connect
from common.wire import encode
from deploy.control.server import ControlServer
from deploy.page.live import LivePage
from deploy.store import EmbeddedStore

STREAM = "test"
KEY = bytes(range(32))
NASTY = "<img src=x onerror=alert(1)>"
RUN = RunStatus(
    elapsed=12.0,
    run_dir="/somewhere/private/demo",
    phase="running",
    actors=(ActorStatus(name="actor-0", frames=3, world=NASTY), ActorStatus(name="actor-1")),
    learner=LearnerStatus(step=5, loss=0.5),
    evaluator=EvaluatorStatus(),
    study=StudyStatus(),
    restarts={"actor-0": 1, "learner": 0},
    messages=tuple(f"message {number} {NASTY}" for number in range(50)),
)


def signed(fields: Any, key: bytes = KEY) -> Any:
    """An entry of the run, whatever it holds."""
    return {**fields, SIGNATURE: Signer(key, STREAM).entry(fields)}


class Served:
    """A server with the page of a run that stands still."""

    def __init__(self, store: EmbeddedStore, folder: Path, **where: Any) -> None:
        self.page = LivePage(lambda: RUN, url=store.url, stream=STREAM, key=KEY, run_dir=folder)
        routes = self.page.routes(lambda: SystemStatus.PAUSED)
        self.server = ControlServer(ControlConfig(port=0, **where), lambda: SystemStatus.PAUSED, routes)
        self.port = int(self.server.url.rpartition(":")[2])
        self.client = connect(store.url)

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def json(self, path: str) -> Any:
        status, headers, body = self.ask(path)
        assert (status, headers["content-type"]) == (200, "application/json")
        return json.loads(body)

    def write(self, datum: Datum, codec: Codec = Codec.RAW) -> None:
        self.put(datum.actor, f"{datum.seq}-0", signed(encode(datum, codec)))

    def put(self, actor: str, entry_id: str, fields: Any) -> None:
        self.client.xadd(StreamKeys(STREAM).frames(actor), fields, id=entry_id)  # pyright: ignore[reportUnknownMemberType]

    def close(self) -> None:
        self.server.close()
        self.page.close()
        self.client.close()
