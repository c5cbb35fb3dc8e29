"""Who may do what in the run's Redis: a user for each part, with the rights that it needs and no others.

    driver (embedded server, or a user of yours that may ACL SETUSER) ── ACL SETUSER ─► engram-<stream>-<part>

    actor-N     adds to its own stream and reads it, says how it does          learner    reads all frames
    curiosity   reads all rollouts, writes models                              evaluator  reads all frames
    viewer      reads everything of the run, writes nothing

Users live in the server's memory alone, with random passwords that the run hands to its parts. They are made again when
the server comes back without them, and removed at the end of the run. Redis restricts keys, not fields of a hash: signs
of life and totals, which all parts write into one hash each, are beyond what it can keep apart (deploy/SECURITY.md).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Redis is untyped in parts.

import logging
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, cast
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import redis

from common.cohort import of_member
from common.config import RunConfig
from common.errors import RunError
from common.stream import StreamKeys, connect, rollouts_of
from learner.curiosity.shell import PART as CURIOSITY
from learner.ranks import part_name

VIEWER = "viewer"
"""Reads what there is: recordings of a live run, pages that show it."""

CONNECTION = ("ping", "select")
"""What a client asks for before anything else."""
TRANSACTION = ("multi", "exec", "discard", "watch", "unwatch")
READER = ("smembers", "info", "xread", "hgetall", "type", "hset", "xadd")
WRITER = ("sadd", "hget", "hset", "xadd", "xlen", "xrange", "xrevrange", "xsetid", "xgroup|create", "xgroup|destroy")
PUBLISHER = ("zrange", "zcount", "zadd", "zrem", "set", "exists", "persist", "expire", "unlink")
LOOKER = ("smembers", "info", "xread", "xrange", "xrevrange", "xlen", "hget", "hgetall", "getrange", "exists", "type")
_OLDEST = 7
"""First major version of Redis whose rules tell reading a key from writing it."""

_log = logging.getLogger(__name__)


def pattern(key: str) -> str:
    """Writes a key as a pattern that matches it alone; white space, which no rule may hold, as any one character."""
    return re.sub(r"\s", "?", re.sub(r"([\\*?\[\]])", r"\\\1", key))


def rights(part: str, stream: str) -> list[str]:
    """The rules of a part's user, as ACL SETUSER takes them.

    Args:
        part: Name of the part, or `VIEWER`.
        stream: Id of the run's stream.
    """
    frames, rollouts = StreamKeys(stream), StreamKeys(rollouts_of(stream))
    beats = f"%W~{pattern(frames.heartbeats)}"
    models = f"{pattern(f'engram:{stream}:model:')}*"
    if part == VIEWER:
        return [f"%R~{pattern(f'engram:{stream}:')}*", *_commands(CONNECTION, LOOKER)]
    if part.startswith("actor-"):
        own = [rule for keys in (frames, rollouts) for rule in _writing(keys, part)]
        commands = _commands(CONNECTION, TRANSACTION, WRITER, ("hgetall", "exists", "unlink", "getrange"))
        return [*own, f"%R~{pattern(frames.read(part))}", f"%R~{models}", beats, *commands]
    if part == CURIOSITY:
        commands = _commands(CONNECTION, TRANSACTION, READER, PUBLISHER)
        return [*_reading(rollouts), f"%RW~{models}", beats, *commands]
    return [*_reading(frames), beats, *_commands(CONNECTION, READER)]


def _writing(keys: StreamKeys, actor: str) -> list[str]:
    return [f"%RW~{pattern(keys.frames(actor))}", f"%W~{pattern(keys.actors)}", f"%RW~{pattern(keys.written)}"]


def _reading(keys: StreamKeys) -> list[str]:
    read = [f"%R~{pattern(key)}" for key in (keys.actors, keys.written)]
    every = f"%R~{pattern(keys.frames('|')).replace('|', '*')}"
    return [*read, every, f"%W~{pattern(keys.read('|')).replace('|', '*')}", f"%W~{pattern(keys.quarantine)}"]


def _commands(*groups: Iterable[str]) -> list[str]:
    return ["-@all", *(f"+{name}" for group in groups for name in group)]


def parts_of(run: RunConfig, members: Sequence[str] = ("",)) -> list[str]:
    """Names of the parts of a run that are given users: edge actors bring their own.

    Args:
        run: The run's configuration.
        members: Names of those who learn from its stream; the one learner of a run has none.
    """
    learners = [part_name(rank, member) for member in members for rank in range(run.learner.ranks)]
    evaluators = [of_member("evaluator", member) for member in members]
    curious = [CURIOSITY] if run.curious else []
    return [*(f"actor-{index}" for index in range(run.actors.count)), *learners, *curious, *evaluators, VIEWER]


class Access:
    """The users of one run.

    Args:
        url: The server, with the user that makes the others.
        stream: Id of the run's stream.
        parts: Names of those who get a user.
        earlier: Ids of the run's earlier streams, whose users a killed driver may have left behind.
        key: What the run signs with; None for nothing.
        say: Notes an event of a kind, with details.
    """

    def __init__(
        self,
        url: str,
        stream: str,
        parts: Sequence[str],
        *,
        earlier: Iterable[str] = (),
        key: bytes | None = None,
        say: Callable[..., object] = lambda *_, **__: None,
    ) -> None:
        self._url = url
        self._stream = stream
        self.key = key
        """What the run signs with; None for nothing."""
        self._passwords = {part: secrets.token_urlsafe(32) for part in parts}
        self.shared = ""
        """Why all parts use the driver's own user; empty where each has one."""
        try:
            with _client(url) as client:
                version = str(client.info("server").get("redis_version", "0"))
                if int(version.partition(".")[0]) < _OLDEST:
                    self.shared = f"Redis {version} has no rights to read alone: 7.0 has"
                else:
                    self._remove(client, {*earlier, stream})
                    self._make(client)
        except redis.ResponseError as error:  # it may not, or cannot
            self.shared = str(error)
        except redis.RedisError as error:
            raise RunError(f"users for the run's parts cannot be made: {error}") from error
        if self.shared:
            say("roles_shared", reason=self.shared)

    def url(self, part: str) -> str:
        """Where a part finds the server, its user and password included: never logged."""
        if self.shared:
            return self._url
        return with_user(self._url, _user(self._stream, part), self._passwords[part])

    def run(self, run: RunConfig, part: str) -> RunConfig:
        """The configuration as a part is to have it."""
        return replace(run, redis_url=self.url(part))

    def renew(self) -> None:
        """Makes the users again, as they were, on a server that has come back without them."""
        if not self.shared:
            try:
                with _client(self._url) as client:
                    self._make(client)
            except redis.RedisError as error:
                _log.warning("the users of the run's parts cannot be made again: %s", error)

    def revoke(self) -> None:
        """Removes the users."""
        if not self.shared:
            try:
                with _client(self._url) as client:
                    self._remove(client, {self._stream})
            except redis.RedisError as error:
                _log.warning("the users of the run's parts stay in the server: %s", error)

    def _make(self, client: Any) -> None:
        for part, password in self._passwords.items():
            rules = ("reset", "on", f">{password}", *rights(part, self._stream))
            client.execute_command("ACL SETUSER", _user(self._stream, part), *rules)

    def _remove(self, client: Any, streams: Iterable[str]) -> None:
        prefixes = tuple(_user(stream, "") for stream in streams)
        if left := [name for name in client.acl_users() if name.startswith(prefixes)]:
            client.execute_command("ACL DELUSER", *left)


def with_user(url: str, user: str, password: str) -> str:
    """Replaces user and password of a server's URL."""
    found = urlsplit(url)
    host = found.netloc.rpartition("@")[2]
    options = [(name, value) for name, value in parse_qsl(found.query) if name not in ("username", "password")]
    return urlunsplit(found._replace(netloc=f"{quote(user)}:{quote(password)}@{host}", query=urlencode(options)))


def _user(stream: str, part: str) -> str:
    return f"engram-{re.sub(r'[^A-Za-z0-9._-]', '_', stream)}-{part}"


def _client(url: str) -> Any:
    return cast(Any, connect(url))
