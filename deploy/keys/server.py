"""What the stream's server is told: its configuration, and its users by role."""

import hashlib
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from common.stream import StreamKeys, rollouts_of
from deploy.access import CONNECTION, LOOKER, TRANSACTION, WRITER

PORT = 6380
"""Not 6379, which Ray takes for itself."""
DRIVER, ACTOR, VIEWER = "engram", "actor", "viewer"
_DANGERS = (
    "flushall",
    "flushdb",
    "shutdown",
    "debug",
    "monitor",
    "module",
    "replicaof",
    "migrate",
    "config|set",
    "keys",
)
"""What not even the driver needs."""
_ANY = "*"


def configuration(*, folder: Path, hosts: Sequence[str], port: int, memory: int) -> str:
    """Writes `redis.conf`.

    Args:
        folder: Where the server finds its files.
        hosts: Names or addresses that it listens at, beside loopback.
        port: For TLS; there is no other.
        memory: Bytes that it may use.
    """
    template = Template((files("deploy") / "redis" / "redis.conf").read_text("utf-8").replace("$…", "$$…"))
    bind = " ".join(dict.fromkeys(("127.0.0.1", *hosts)))
    return template.substitute(bind=bind, port=port, folder=folder, memory=memory)


def users(passwords: dict[str, str]) -> str:
    """Writes `users.acl`, one line a user; of passwords it holds SHA-256 alone, and nobody gets in without one.

    Args:
        passwords: By user.
    """
    lines = ["user default off resetpass sanitize-payload resetkeys resetchannels -@all"]
    for user, password in passwords.items():
        digest = hashlib.sha256(password.encode()).hexdigest()
        lines.append(f"user {user} on sanitize-payload #{digest} resetchannels {' '.join(_RULES[user])}")
    return "\n".join(lines) + "\n"


def _edge_actor() -> list[str]:
    """An actor on a host outside Ray, of any run: which number it has is known only once it has asked."""
    frames, rollouts = StreamKeys(_ANY), StreamKeys(rollouts_of(_ANY))
    both = [frames, rollouts]
    written = [key for keys in both for key in (keys.frames("actor-*"), keys.written)]
    leases = frames.lease("actor-*")
    told = [*(keys.actors for keys in both), frames.heartbeats, frames.statuses]
    read = [frames.run, frames.control, "engram:*:weights:*"]
    return [
        *(f"%RW~{key}" for key in (*written, leases)),
        *(f"%W~{key}" for key in told),
        *(f"%R~{key}" for key in read),
        *_allowed(CONNECTION, TRANSACTION, WRITER, _EDGE),
    ]


_EDGE = ("exists", "unlink", "getrange", "set", "get", "del", "expire", "time", "scan")


def _allowed(*groups: Iterable[str]) -> list[str]:
    return ["-@all", *(f"+{name}" for group in groups for name in group)]


_RULES: dict[str, list[str]] = {
    DRIVER: ["~engram:*", "+@all", *(f"-{name}" for name in _DANGERS)],
    ACTOR: _edge_actor(),
    VIEWER: ["%R~engram:*", *_allowed(CONNECTION, LOOKER, ("scan", "time", "zrange"))],
}
