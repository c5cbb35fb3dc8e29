"""The driver's HTTP server, spoken to as Prometheus, a browser and a stranger would."""

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from threading import Event, Thread, Timer
from typing import Any

import pytest

from common.catalogue import Role
from common.errors import ConfigError
from common.metrics import Metrics
from common.status import ActorStatus, RunStatus
from deploy.discovery import MetricsDirectory
from deploy.supervision import Deaths, Part

STATUS = RunStatus(phase="running", run_dir="runs/one", actors=(ActorStatus(name="actor-0", fps=9.5),))


@pytest.fixture
def directory() -> Iterator[MetricsDirectory]:
    metrics = Metrics(Role.DRIVER)
    metrics.follow(lambda: STATUS)
    directory = MetricsDirectory(run="one", metrics=metrics, status=lambda: STATUS, model="vit-48x2")
    yield directory
    directory.close()


def ask(directory: MetricsDirectory, path: str, method: str = "GET", **headers: str) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", directory.port, timeout=5)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer, answer.read()


def sd(directory: MetricsDirectory) -> list[dict[str, Any]]:
    answer, body = ask(directory, "/sd")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    return json.loads(body)


HOST = socket.gethostname()
LABELS = {"run": "one", "model": "vit-48x2", "host": HOST}


def test_parts_come_move_and_go(directory: MetricsDirectory) -> None:
    driver = {"targets": [f"127.0.0.1:{directory.port}"], "labels": LABELS | {"part": "driver"}}
    assert sd(directory) == [driver]
    directory.register("actor-0", 4001)
    directory.register("actor-0", 4002)
    actor = {"targets": ["127.0.0.1:4002"], "labels": LABELS | {"part": "actor-0"}}
    assert sd(directory) == [actor, driver]
    directory.forget("actor-0")
    directory.forget("actor-0")
    assert sd(directory) == [driver]


def part(name: str, **fields: Any) -> Part:
    found = Part(name, lambda: None, Deaths(name, 1), name)
    for field, value in fields.items():
        setattr(found, field, value)
    return found


def test_a_part_is_listed_where_prometheus_can_reach_it(directory: MetricsDirectory) -> None:
    parts = [
        part("actor-0", port=4001),
        part("actor-1", port=4001, host="10.0.0.1"),
        part("actor-2", port=4001, host="10.0.0.2"),
        part("learner"),
    ]
    directory.look({one.name: one for one in parts}, here="10.0.0.1")
    found = {group["labels"]["part"]: group for group in sd(directory)}
    assert found["actor-0"] == {"targets": ["127.0.0.1:4001"], "labels": LABELS | {"part": "actor-0"}}
    assert found["actor-1"] == {"targets": ["127.0.0.1:4001"], "labels": LABELS | {"part": "actor-1"}}
    ours = [f"127.0.0.1:{directory.port}"]
    away = LABELS | {"part": "actor-2", "host": "10.0.0.2", "__metrics_path__": "/metrics/actor-2"}
    assert found["actor-2"] == {"targets": ours, "labels": away}
    starting = LABELS | {"part": "learner", "__metrics_path__": "/metrics/learner"}
    assert found["learner"] == {"targets": ours, "labels": starting}
    answer, body = ask(directory, "/metrics/learner")
    assert (answer.status, body) == (503, b"it is being started\n")
    assert directory.unreachable == {}


def test_the_driver_shows_what_is_out_of_reach(directory: MetricsDirectory) -> None:
    actor = Metrics(Role.ACTOR)
    actor.follow(lambda: STATUS.actors[0])
    directory.register("actor-7", actor.exposition, host="10.0.0.7")
    answer, body = ask(directory, "/metrics/actor-7")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "engram_actor_speed_frames_per_second 9.5" in body.decode()


def test_a_part_that_does_not_answer_is_counted(directory: MetricsDirectory) -> None:
    def late() -> bytes:
        raise TimeoutError

    def broken() -> bytes:
        raise RuntimeError("internals that are nobody's business")

    directory.register("actor-0", late)
    directory.register("learner", broken)
    assert [ask(directory, "/metrics/actor-0")[0].status for _ in range(2)] == [504, 504]
    answer, body = ask(directory, "/metrics/learner")
    assert (answer.status, body) == (502, b"RuntimeError\n")
    assert directory.unreachable == {"actor-0": 2, "learner": 1}


@pytest.mark.parametrize("name", ["actor-1", "../sd", "%2e%2e/sd", "driver", "actor-0/", "actor%2d0", ""])
def test_only_listed_names_lead_to_a_part(directory: MetricsDirectory, name: str) -> None:
    directory.register("actor-0", lambda: b"")
    assert ask(directory, f"/metrics/{name}")[0].status == 404


def test_the_drivers_own_metrics(directory: MetricsDirectory) -> None:
    answer, body = ask(directory, "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'engram_driver_phase{phase="running"} 1.0' in body.decode()


def test_status_is_strict_json(directory: MetricsDirectory) -> None:
    _, body = ask(directory, "/status?pretty=1")
    status = json.loads(body, parse_constant=pytest.fail)
    assert status["actors"][0]["fps"] == 9.5
    assert status["learner"]["loss"] is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2:80", "localhost:80", "LOCALHOST", "[::1]:8000"])
def test_loopback_names_may_ask(directory: MetricsDirectory, host: str) -> None:
    assert ask(directory, "/sd", Host=host)[0].status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "[::1", ""])
def test_other_names_may_not(directory: MetricsDirectory, host: str) -> None:
    answer, body = ask(directory, "/status", Host=host)
    assert answer.status == 403
    assert b"runs/one" not in body


def test_it_only_reads(directory: MetricsDirectory) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(directory, "/sd", method)[0].status == 501
    assert ask(directory, "/nothing")[0].status == 404


def test_a_port_that_is_taken_is_a_config_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match="cannot be had") as error:
            MetricsDirectory(run="one", metrics=Metrics(Role.DRIVER), status=lambda: STATUS, port=port)
    assert (error.value.field, error.value.value) == ("metrics_port", port)


def test_closing_frees_the_port(directory: MetricsDirectory) -> None:
    again = MetricsDirectory(run="one", metrics=Metrics(Role.DRIVER), status=lambda: STATUS)
    port = again.port
    again.close()
    second = MetricsDirectory(run="one", metrics=Metrics(Role.DRIVER), status=lambda: STATUS, port=port)
    assert second.port == port
    second.close()


def test_closing_waits_for_a_part_that_is_being_asked(directory: MetricsDirectory) -> None:
    asked, may_answer, answered = Event(), Event(), Event()

    def slow() -> bytes:
        asked.set()
        may_answer.wait(5)
        answered.set()
        return b"1"

    directory.register("actor-0", slow)
    asking = Thread(target=ask, args=(directory, "/metrics/actor-0"))
    asking.start()
    asked.wait(5)
    Timer(0.3, may_answer.set).start()
    directory.close()
    assert answered.is_set()
    asking.join(5)
