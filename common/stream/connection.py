"""Connections to the Redis server, and the check that it can carry a replay stream."""

import ipaddress
from collections.abc import Generator
from contextlib import contextmanager
from typing import cast
from urllib.parse import parse_qs, urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from common.config import Durability
from common.errors import ConfigError
from common.stream.keys import StreamKeys

_OPTIONS = ("db", "username", "password")
_TLS_OPTIONS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
MIN_VERSION = (6, 2)
"""First Redis whose XADD and XINFO do what is needed."""


def redact(url: str) -> str:
    """Leaves scheme, host, port and path of a URL; user, password and options are left out of messages and files."""
    parts = urlsplit(url)
    if "@" in parts.path:  # an unescaped character has cut the password in two
        return f"{parts.scheme}://***"
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, f"***@{host}" if "@" in parts.netloc else host, parts.path, "", ""))


def is_loopback(host: str) -> bool:
    """Says whether a host's name or address is this machine's loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_local(url: str) -> bool:
    """Says whether a server's URL stays on this machine."""
    found = urlsplit(url)
    return found.scheme == "unix" or found.hostname is None or is_loopback(found.hostname)


def is_plain(url: str) -> bool:
    """Says whether frames and password go over a network unencrypted, unless a tunnel or a VPN is in between."""
    return url.startswith("redis://") and not is_local(url)


def connect(url: str, *, timeout: float = 2.0) -> redis.Redis:
    """Opens a client that fails fast: retries are the caller's, who knows what may be sent twice.

    Args:
        url: `redis://…`, `rediss://…` or `unix://…`.
        timeout: Longest wait for a connection or a reply, seconds.
    """
    return redis.Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        driver_info=None,  # no CLIENT SETINFO, which Redis before 7.2 does not know and no role needs
        protocol=2,  # protocol 3 begins with HELLO, unknown to the old servers that are to be refused by name
    )


def _configured(client: redis.Redis, name: str) -> str | None:
    """Reads a server setting; None where the server does not tell (managed services forbid CONFIG)."""
    try:
        reply = cast(dict[str, str], client.config_get(name))  # pyright: ignore[reportUnknownMemberType]
    except redis.ResponseError:
        return None
    return reply.get(name)


def remove(client: redis.Redis, keys: StreamKeys) -> None:
    """Removes everything of one stream from the server.

    Raises:
        redis.RedisError: The server does not answer.
    """
    actors = cast(set[bytes], client.smembers(keys.actors))
    names = [actor.decode(errors="replace") for actor in actors]
    of_actors = [key for name in names for key in (keys.frames(name), keys.read(name))]
    of_run = (keys.quarantine, keys.heartbeats, keys.statuses, keys.control, keys.run, keys.written, keys.actors)
    for key in (*of_actors, *of_run):
        client.unlink(key)


def _client(url: str) -> redis.Redis:
    """Opens a client of a URL that somebody wrote.

    Raises:
        ConfigError: It is none, has options that would change how clients wait, retry or decode, or leads to another
            machine without any authentication.
    """
    try:
        parts, client = urlsplit(url), connect(url)
        options = parse_qs(parts.query, keep_blank_values=True)
        allowed = (*_OPTIONS, *(_TLS_OPTIONS if parts.scheme == "rediss" else ()))
        if unknown := [name for name in options if name not in allowed]:
            raise ConfigError(
                "redis_url", redact(url), f"has the option {unknown[0]}; {', '.join(allowed)} are allowed"
            )
        if parts.scheme != "unix" and not (parts.path.strip("/") or "0").isdigit():
            raise ConfigError("redis_url", redact(url), "must end with the number of a database, or with none")
        secrets = [parts.password, *options.get("password", ()), *options.get("ssl_certfile", ())]
        if not is_local(url) and not any(secrets):
            raise ConfigError(
                "redis_url",
                redact(url),
                "has no password: whoever reaches that server could read and forge everything. Set one there (`engram "
                "keys` makes a configuration) and in the URL",
            )
        return client
    except (ValueError, TypeError) as error:
        reason = "" if "@" in url else f" ({error})"
        scheme = url.partition("://")[0]
        raise ConfigError(
            "redis_url", f"{scheme}://***", f"is no URL{reason}: write special characters as %XX"
        ) from None


@contextmanager
def _checked(url: str) -> Generator[redis.Redis]:
    """A client of a server that is to be judged: whatever goes wrong with it becomes a refusal.

    Raises:
        ConfigError: It does not answer, or refuses login or work.
    """

    def refuse(reason: str) -> ConfigError:
        return ConfigError("redis_url", redact(url), reason)

    client = _client(url)
    try:
        yield client
    except (redis.AuthenticationError, NoPermissionError) as error:
        raise refuse(f"refuses the login ({error}): check user and password") from None
    except redis.ConnectionError as error:
        raise refuse(f"does not answer ({error})") from None
    except redis.TimeoutError:
        raise refuse("does not answer in time") from None
    except redis.ResponseError as error:
        raise refuse(f"refuses to work: {error}") from None
    except redis.RedisError as error:
        raise refuse(f"does not answer as a Redis server ({error})") from None
    finally:
        client.close()


def check_login(url: str) -> None:
    """Makes sure that the server lets this process in, and answers: all that an actor of another host may ask.

    Raises:
        ConfigError: It does not, or whoever reaches it could do the same.
    """
    with _checked(url) as client:
        client.ping()  # pyright: ignore[reportUnknownMemberType]


def check_server(url: str, *, budget: int, stream: str, durability: Durability = Durability.MEMORY) -> None:
    """Makes sure that the server answers, is new enough, never evicts, has room, keeps what it should, takes writes.

    Args:
        url: The server.
        budget: Bytes that the streams may hold.
        stream: Id of the stream whose keys are tried.
        durability: What is expected to outlive the server.

    Raises:
        ConfigError: Any of these fails; the message says what to change on the server.
    """

    def refuse(reason: str) -> ConfigError:
        return ConfigError("redis_url", redact(url), reason)

    with _checked(url) as client:
        info = client.info()  # pyright: ignore[reportUnknownMemberType]
        version = str(info.get("redis_version", "0"))
        if tuple(int(part) for part in version.split(".")[:2]) < MIN_VERSION:
            raise refuse(f"is Redis {version}, at least {MIN_VERSION[0]}.{MIN_VERSION[1]} is needed")
        if info.get("cluster_enabled"):
            raise refuse("is a Redis Cluster, whose slots a run's transactions would cross: name a server by itself")
        policy = _configured(client, "maxmemory-policy") or str(info.get("maxmemory_policy", "noeviction"))
        limit = int(_configured(client, "maxmemory") or info.get("maxmemory", 0))
        if policy != "noeviction":
            raise refuse(f"evicts keys (maxmemory-policy {policy}): a whole stream could vanish; set it to noeviction")
        used = int(info.get("used_memory", 0))
        if limit and limit < used + budget:
            raise refuse(f"has maxmemory {limit} and uses {used} bytes: no room for stream.budget = {budget}")
        nodes = [_configured(client, f"stream-node-max-{what}") for what in ("bytes", "entries")]
        if nodes == ["0", "0"]:
            raise refuse("never trims (stream-node-max-bytes and -entries are both 0): set one of them")
        if durability is Durability.AOF and not info.get("aof_enabled"):
            raise refuse("keeps no append-only file, as stream.durability = 'aof' wants: set appendonly to yes")
        if durability is Durability.AOF and _configured(client, "appendfsync") == "no":
            raise refuse("leaves syncing its file to chance (appendfsync no): set it to everysec")
        probe = f"{StreamKeys(stream).quarantine}:probe"
        client.set(probe, b"", ex=1)
