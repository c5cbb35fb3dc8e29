"""What `engram keys` makes, with a real server over TLS: who gets in, and what each role may do there."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Redis is untyped in parts.

import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from redis.exceptions import NoPermissionError

from common.broadcast import WeightKeys
from common.errors import ConfigError
from common.stream import StreamKeys, check_login, connect
from common.weights import PayloadKind
from deploy.access import with_user
from deploy.keys.command import Keys, write_keys
from tests.security.servers import free_port, running

KEYS = StreamKeys("run-1")
ROLES = ("learner", "actor", "viewer")
WEIGHTS = WeightKeys("run-1").manifest(PayloadKind.ENCODER)
MODEL = WeightKeys("run-1:model:policy").manifest(PayloadKind.ENCODER)


def environment(folder: Path, role: str) -> dict[str, str]:
    lines = (folder / f"{role}.env").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of keys of a server that runs, with something in it."""
    made = tmp_path_factory.mktemp("roles") / "keys"
    write_keys(Keys(folder=made, port=free_port(), memory=256 * 2**20))
    url = environment(made, "learner")["ENGRAM_REDIS_URL"]
    with running(made / "redis.conf", url):
        with connect(url) as client:
            client.xadd(KEYS.frames("actor-0"), {"v": "1"})
            client.set(WEIGHTS, b"weights")
            client.set(KEYS.run, b"run")
            client.set(KEYS.control, b"control")
        yield made


def url_of(folder: Path, role: str) -> str:
    return environment(folder, role)["ENGRAM_REDIS_URL"]


def test_each_file_holds_what_its_role_needs_and_its_owner_alone_may_read_it(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    written = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert "ca.key" not in written, "nothing more is ever to be signed with it"
    assert {mode for name, mode in written.items() if name != "server.log"} == {0o600}
    found = {role: environment(folder, role) for role in ROLES}
    assert set(found["learner"]) == {
        *("ENGRAM_REDIS_URL", "ENGRAM_STREAM_KEY", "ENGRAM_CONTROL_TOKEN", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")
    }
    assert set(found["actor"]) == set(found["viewer"]) == {"ENGRAM_REDIS_URL", "ENGRAM_STREAM_KEY"}
    passwords = {role: urlsplit(one["ENGRAM_REDIS_URL"]).password or "" for role, one in found.items()}
    assert len(set(passwords.values())) == 3
    assert min(map(len, passwords.values())) >= 43, "32 random bytes"
    for name in ("redis.conf", "users.acl", "server.log"):
        text = (folder / name).read_text("utf-8")
        assert not [role for role, password in passwords.items() if password in text], name
    with pytest.raises(ConfigError, match="keys are never written over"):
        write_keys(Keys(folder=folder, port=free_port(), memory=256 * 2**20))


def said_to_a_stranger(url: str, command: bytes) -> bytes:
    """The answer to who shows no password.

    By hand: redis-py takes the session tickets of TLS 1.3, which arrive before any answer, for a broken connection.
    """
    where = urlsplit(url)
    context = ssl.create_default_context(cafile=parse_qs(where.query)["ssl_ca_certs"][0])
    with (
        socket.create_connection((where.hostname or "", where.port or 0), 5) as plain,
        context.wrap_socket(plain, server_hostname=where.hostname) as encrypted,
    ):
        encrypted.sendall(command + b"\r\n")
        return encrypted.recv(4096)


def test_who_has_no_password_or_a_wrong_one_is_refused(folder: Path) -> None:
    good = url_of(folder, "actor")
    user = urlsplit(good).username or ""
    wrong = {
        "another password": with_user(good, user, "wrong"),
        "another role's password": with_user(good, user, urlsplit(url_of(folder, "viewer")).password or ""),
        "no such user": with_user(good, "mallory", urlsplit(good).password or ""),
        "the default user": with_user(good, "default", "default"),
    }
    for what, url in wrong.items():
        with pytest.raises(ConfigError, match="refuses the login") as refused:
            check_login(url)
        assert (urlsplit(url).password or "") not in str(refused.value).replace("wrong", ""), what
    assert said_to_a_stranger(good, b"PING").startswith(b"-NOAUTH")


def test_who_does_not_prove_itself_or_speaks_in_the_clear_is_not_spoken_to(folder: Path, tmp_path: Path) -> None:
    good = url_of(folder, "actor")
    with pytest.raises(ConfigError, match="certificate verify failed"):
        check_login(good.partition("?")[0])
    write_keys(Keys(folder=tmp_path / "others", port=free_port(), memory=256 * 2**20))
    with pytest.raises(ConfigError, match="certificate verify failed"):
        check_login(f"{good.partition('?')[0]}?ssl_ca_certs={tmp_path / 'others' / 'ca.crt'}")
    with pytest.raises(ConfigError, match="does not answer"):
        check_login(good.replace("rediss://", "redis://").partition("?")[0])
    check_login(good)


EVERYBODY: list[tuple[Any, ...]] = [
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("SHUTDOWN", "NOSAVE"),
    ("MONITOR",),
    ("KEYS", "*"),
    ("MODULE", "LIST"),
    ("REPLICAOF", "evil.example", "6379"),
    ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"),
    ("GET", "somebody-else"),
    ("SET", "somebody-else", "x"),
]
BUT_THE_DRIVER: list[tuple[Any, ...]] = [
    ("CONFIG", "GET", "*"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "other", "on", "nopass", "~*", "+@all"),
    ("CLIENT", "LIST"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("EVAL", "return 1", "0"),
    ("FUNCTION", "LIST"),
    ("SCRIPT", "FLUSH"),
    ("SAVE",),
    ("DUMP", WEIGHTS),
    ("RENAME", WEIGHTS, KEYS.run),
    ("COPY", WEIGHTS, KEYS.run),
    ("MIGRATE", "evil.example", "6379", WEIGHTS, "0", "100"),
    ("PUBLISH", "channel", "x"),
    ("SET", WEIGHTS, "x"),
    ("SET", MODEL, "x"),
    ("SET", KEYS.run, "x"),
    ("SET", KEYS.control, "x"),
    ("DEL", WEIGHTS),
    ("UNLINK", KEYS.run),
    ("EXPIRE", KEYS.control, "1"),
    ("XADD", KEYS.quarantine, "*", "v", "1"),
    ("XTRIM", KEYS.frames("actor-0"), "MAXLEN", "0"),
    ("HSET", KEYS.read("actor-0"), "learner", "1"),
]
OF_ROLE: dict[str, list[tuple[Any, ...]]] = {
    "learner": [],
    "actor": [
        ("HGETALL", KEYS.heartbeats),
        ("HGETALL", KEYS.statuses),
        ("SMEMBERS", KEYS.actors),
        ("XREAD", "STREAMS", KEYS.frames("actor-0"), "0"),
        ("XRANGE", KEYS.quarantine, "-", "+"),
        ("XADD", KEYS.frames("learner"), "*", "v", "1"),
        ("INFO",),
    ],
    "viewer": [
        ("XADD", KEYS.frames("actor-0"), "*", "v", "1"),
        ("UNLINK", KEYS.frames("actor-0")),
        ("SADD", KEYS.actors, "mallory"),
        ("HSET", KEYS.heartbeats, "actor-0", "x"),
        ("HSET", KEYS.statuses, "actor-0", "x"),
        ("HSET", KEYS.written, "actor-0", "1"),
        ("SET", KEYS.lease("actor-0"), "mine"),
    ],
}
MAY: dict[str, list[tuple[Any, ...]]] = {
    "learner": [("XLEN", KEYS.frames("actor-0")), ("ACL", "LIST"), ("MEMORY", "USAGE", KEYS.frames("actor-0"))],
    "actor": [
        ("XADD", KEYS.frames("actor-1"), "*", "v", "1"),
        ("SET", KEYS.lease("actor-1"), "mine", "NX", "EX", "9"),
        ("HSET", KEYS.statuses, "actor-1", "x"),
        ("GETRANGE", WEIGHTS, "0", "9"),
        ("GETRANGE", MODEL, "0", "9"),
        ("GETRANGE", KEYS.run, "0", "9"),
        ("TIME",),
    ],
    "viewer": [("XRANGE", KEYS.frames("actor-0"), "-", "+"), ("GETRANGE", WEIGHTS, "0", "9"), ("INFO", "server")],
}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_what_it_needs_and_nothing_else(folder: Path, role: str) -> None:
    with connect(url_of(folder, role)) as client:
        asked: Any = client
        for command in MAY[role]:
            asked.execute_command(*command)
        for command in EVERYBODY + OF_ROLE[role] + (BUT_THE_DRIVER if role != "learner" else []):
            with pytest.raises(NoPermissionError) as refused:
                asked.execute_command(*command)
            assert "no permissions" in str(refused.value), command
    with connect(url_of(folder, "learner")) as client:
        asked = client
        assert asked.get(WEIGHTS) == b"weights"
        assert asked.get(KEYS.run) == b"run"
        assert asked.get(KEYS.control) == b"control"
        assert asked.xlen(KEYS.frames("actor-0")) == 1


def test_a_name_that_is_none_makes_no_certificate(tmp_path: Path) -> None:
    for host in ("a,DNS:evil.example", "-evil", "evil example", "a\nb", "", "*.example", "x" * 300):
        with pytest.raises(ConfigError, match="must be a host's name or address"):
            write_keys(Keys(folder=tmp_path / "keys", host=(host,)))
    assert list(tmp_path.iterdir()) == []
