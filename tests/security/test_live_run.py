"""A real run on a server of the user's own: each part with its own rights, and no secret where it does not belong."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Redis is untyped in parts.

import stat
import time
import urllib.request
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import psutil
import pytest
import redis
from redis.exceptions import NoPermissionError

from common.broadcast import WeightKeys
from common.config.curiosity import CuriosityConfig, DynamicsConfig, PolicyConfig
from common.signing import KEY_VARIABLE
from common.status import RunStatus
from common.stream import StreamKeys, connect
from common.weights import PayloadKind
from deploy.access import VIEWER, Access
from tests.runs import LiveRun, live, small_run, wait_until
from tests.security.servers import own_server

pytestmark = pytest.mark.timeout(900)

KEY = "5ec0" * 16


@dataclass
class Lived:
    """What was seen of a run that is over."""

    folder: Path
    stream: str
    final: RunStatus
    secrets: list[str]
    users: list[str]
    users_after: list[str]
    denied: list[dict[str, Any]]
    said: dict[str, str]
    processes: dict[str, str]
    logs: dict[str, str]
    ours: list[int]
    listening: dict[int, set[str]]


def urls_of(run: LiveRun) -> dict[str, str]:
    access = run.driver._server and run.driver._server.access  # pyright: ignore[reportPrivateUsage]
    assert isinstance(access, Access)
    assert access.shared == ""
    return {part: access.url(part) for part in ("actor-0", "actor-1", "learner", "evaluator", "curiosity", VIEWER)}


def processes_of(run: LiveRun) -> dict[str, str]:
    """Command line of each process of this machine, and the environment of each of the run."""
    found: dict[str, str] = {}
    family = {process.pid for process in run.family()}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            folder = Path("/proc") / str(process.pid)
            shown = (folder / "cmdline").read_bytes()
            if process.pid in family:
                shown += b"\0" + (folder / "environ").read_bytes()
            found[f"{process.pid} {process.name()}"] = shown.decode(errors="replace")
    assert len(family & {int(name.split()[0]) for name in found}) > 5
    return found


def logs_of(run: LiveRun) -> dict[str, str]:
    """What Ray has written down of the run's processes."""
    folder = run.driver._cluster.folder  # pyright: ignore[reportPrivateUsage]
    assert folder is not None
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_socket()]
    return {path.name: path.read_bytes().decode(errors="replace") for path in files}


def listening(run: LiveRun) -> dict[int, set[str]]:
    """Addresses at which processes of the run listen, Ray's among them, by port."""
    found: dict[int, set[str]] = {}
    for process in [psutil.Process(), *run.family()]:
        with suppress(psutil.Error):
            for one in process.net_connections("inet"):
                if one.status == psutil.CONN_LISTEN:
                    found.setdefault(one.laddr.port, set()).add(one.laddr.ip.removeprefix("::ffff:"))
    return found


def said_by(run: LiveRun) -> dict[str, str]:
    """What the run's servers answer."""
    status = run.status
    base = status.metrics_url.rpartition("/sd")[0] or status.metrics_url.rstrip("/")
    said = {"status": repr(status), "stream.json": (run.directory.path / "stream.json").read_text()}
    pages = [f"{base}/{page}" for page in ("sd", "metrics", "status")]
    pages += [f"{status.control_url}/{page}" for page in ("", "api/status", "live/status", "live/history")]
    pages += [
        f"http://127.0.0.1:{run.ask(part, 'metrics_port')}/metrics" for part in ("actor-0", "learner", "evaluator")
    ]
    for page in pages:
        with urllib.request.urlopen(page, timeout=10) as answer:
            said[page] = answer.read().decode()
    return said


def check_rights(url: str, stream: str, urls: dict[str, str]) -> None:
    """Tries what each role must not do; the log of refusals is emptied of it afterwards."""
    keys = StreamKeys(stream)
    weights = WeightKeys(stream).manifest(PayloadKind.ENCODER)
    everybody: list[tuple[Any, ...]] = [
        ("FLUSHALL",),
        ("FLUSHDB",),
        ("CONFIG", "GET", "*"),
        ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"),
        ("ACL", "LIST"),
        ("ACL", "SETUSER", "other", "on", "nopass", "~*", "+@all"),
        ("KEYS", "*"),
        ("SCAN", "0"),
        ("EVAL", "return 1", "0"),
        ("MONITOR",),
        ("SHUTDOWN", "NOSAVE"),
        ("GET", "somebody-else"),
        ("SET", weights, "x"),
        ("SET", keys.control, "x"),
        ("SET", keys.run, "x"),
        ("DEL", keys.frames("actor-1")),
        ("XTRIM", keys.frames("actor-1"), "MAXLEN", "0"),
    ]
    own: dict[str, list[tuple[Any, ...]]] = {
        "actor-0": [
            ("XRANGE", keys.frames("actor-1"), "-", "+"),
            ("XADD", keys.frames("actor-1"), "*", "v", "1"),
            ("UNLINK", keys.frames("actor-1")),
            ("XADD", keys.quarantine, "*", "v", "1"),
            ("SMEMBERS", keys.actors),
            ("HGETALL", keys.heartbeats),
        ],
        "learner": [
            ("XADD", keys.frames("actor-0"), "*", "v", "1"),
            ("UNLINK", keys.frames("actor-0")),
            ("HSET", keys.written, "actor-0", 1),
            ("SADD", keys.actors, "mallory"),
        ],
        "evaluator": [("XADD", keys.frames("actor-0"), "*", "v", "1"), ("HSET", keys.written, "actor-0", 1)],
        "curiosity": [("XREAD", "STREAMS", keys.frames("actor-0"), "0"), ("SET", f"engram:{stream}:run", "x")],
        VIEWER: [
            ("XADD", keys.frames("actor-0"), "*", "v", "1"),
            ("XADD", keys.quarantine, "*", "v", "1"),
            ("HSET", keys.heartbeats, "actor-0", "x"),
            ("SADD", keys.actors, "mallory"),
        ],
    }
    for part, commands in own.items():
        with connect(urls[part]) as client:
            for command in everybody + commands:
                with pytest.raises(NoPermissionError):
                    cast(Any, client).execute_command(*command)
    with connect(urls[VIEWER]) as client:
        assert client.xlen(keys.frames("actor-0")) > 0
        assert client.exists(weights)
    found = urlsplit(urls["actor-0"])
    with (
        connect(urls["actor-0"].replace(found.password or "", "wrong")) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()
    with connect(f"redis://{found.hostname}:{found.port}") as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    with connect(url) as client:
        client.execute_command("ACL", "LOG", "RESET")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Generator[Lived]:
    base = tmp_path_factory.mktemp("door")
    run = small_run(base / "a run", base / "cache")
    config = replace(
        run,
        actors=replace(run.actors, agent="curious"),
        curiosity=CuriosityConfig(
            rollout=8, dynamics=DynamicsConfig(dim=16), policy=PolicyConfig(dim=16, rollouts=4, minibatch=16)
        ),
    )
    with pytest.MonkeyPatch.context() as patch, own_server(base / "server") as url:
        key_file = base / "stream.key"
        key_file.write_text(f"{KEY}\n")
        patch.setenv(f"{KEY_VARIABLE}_FILE", str(key_file))
        with connect(url) as client, live(replace(config, redis_url=url)) as going:
            wait_until(lambda: going.status.learner.step > 5, 300, "the learner trains")
            wait_until(lambda: bool(going.status.trainers and going.status.trainers.trainings), 300, "the trainers too")
            wait_until(lambda: bool(going.status.evaluator and going.status.evaluator.version), 300, "it evaluates")
            wait_until(lambda: going.status.store.relayed > 0, 60, "weights reach Redis")
            stream = going.driver.stream
            urls = urls_of(going)
            users = cast("list[str]", cast(Any, client).acl_users())
            denied = cast("list[dict[str, Any]]", client.acl_log())
            check_rights(url, stream, urls)
            said, processes, open_ports = said_by(going), processes_of(going), listening(going)
            ours = [urlsplit(one).port for one in (going.status.metrics_url, going.status.control_url)]
            ours += [going.ask(part, "metrics_port") for part in ("actor-0", "actor-1", "learner", "evaluator")]
            logs = logs_of(going)
            time.sleep(2.0)
            final = going.stop()
            yield Lived(
                folder=going.directory.path,
                stream=stream,
                final=final,
                secrets=[KEY, *(urlsplit(one).password or "" for one in (url, *urls.values()))],
                users=users,
                users_after=cast("list[str]", cast(Any, client).acl_users()),
                denied=denied + cast("list[dict[str, Any]]", client.acl_log()),
                said=said,
                processes=processes,
                logs=logs,
                ours=[port for port in ours if port is not None],
                listening=open_ports,
            )


def test_each_part_has_rights_for_all_that_it_does(lived: Lived) -> None:
    assert lived.denied == []
    assert all(counts.admitted > 0 for counts in lived.final.learner.counts.values())
    assert lived.final.restarts == {}
    assert not [row for row in (lived.folder / "events.jsonl").read_text().splitlines() if "roles_shared" in row]


def test_everything_is_signed_and_nothing_refused(lived: Lived) -> None:
    for counts in lived.final.learner.counts.values():
        assert (counts.foreign, counts.quarantined, counts.missed, counts.unread) == (0, 0, 0, 0)
    assert all(actor.counts.written for actor in lived.final.actors)


def test_users_live_as_long_as_the_run(lived: Lived) -> None:
    assert len(lived.users) == 1 + 6
    assert all(name == "default" or name.startswith("engram-") for name in lived.users)
    assert lived.users_after == ["default"]


def test_no_secret_is_in_lists_of_processes(lived: Lived) -> None:
    assert len(lived.processes) > 5
    for process, shown in lived.processes.items():
        for secret in lived.secrets:
            assert secret not in shown, process


def test_no_secret_is_in_what_servers_answer(lived: Lived) -> None:
    assert len(lived.said) == 12
    for page, text in lived.said.items():
        for secret in lived.secrets:
            assert secret not in text, page


def test_no_secret_is_in_the_run_directory(lived: Lived) -> None:
    files = [path for path in lived.folder.rglob("*") if path.is_file()]
    assert {"config.yaml", "events.jsonl", "metrics.jsonl"} <= {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        for secret in lived.secrets:
            assert secret.encode() not in content, path
            assert bytes.fromhex(KEY) not in content, path


def test_no_secret_is_in_logs(lived: Lived) -> None:
    assert [name for name in lived.logs if name.startswith("worker-")]
    assert any("actor-0" in text for text in lived.logs.values())
    for name, text in lived.logs.items():
        for secret in lived.secrets:
            assert secret not in text, name


def test_others_cannot_write_into_the_run_directory(lived: Lived) -> None:
    for path in (lived.folder, *lived.folder.rglob("*")):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o022, path


def test_everything_listens_on_loopback_alone(lived: Lived) -> None:
    assert len(lived.ours) == 6
    assert set(lived.ours) <= lived.listening.keys()
    assert len(lived.listening) > 12, "Ray's too"
    assert {port: where for port, where in lived.listening.items() if where != {"127.0.0.1"}} == {}
