"""The Redis server: whether it can carry the stream, how fast it is, and who else could read it."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Redis is untyped in parts.

import contextlib
import secrets
import ssl
import time
from collections.abc import Callable
from statistics import median
from typing import Any, cast
from urllib.parse import SplitResult, parse_qs, urlsplit, urlunsplit

import redis
from redis.exceptions import NoPermissionError

from common.config import Durability
from common.errors import ConfigError
from common.stream import check_server, connect, redact
from common.stream.connection import is_local, is_plain
from deploy.doctor.finding import Case, Check, Verdict, beside, fine, poor, wrong
from deploy.memory import gib, relay_bytes
from deploy.store import EmbeddedStore

RAYS_PORT = 6379
"""What `ray start` takes on a head, and Redis by default."""
_PINGS = 100
_SCRATCH = 30
"""Seconds after which a frame that was written to measure is gone by itself."""
_SLOW, _SKEW = 0.1, 0.05
_START = "start it; check host, port, firewall, and whether it wants rediss://"
_TRUST = "name the authority that signed its certificate, ssl_ca_certs=… in the URL, and the host as that has it"
_READ = "see docs/doctor.md"
_ENDS_SOON = 14
"""Days before its end in which a certificate is to be renewed."""


def _of_the_users(look: Callable[[Case], Verdict]) -> Callable[[Case], Verdict]:
    """A check of the user's own server, where the run uses one."""

    def looked(case: Case) -> Verdict:
        if not case.run.redis_url:
            return beside("the run has an embedded server")
        try:
            return look(case)
        except (redis.ConnectionError, ValueError):  # the latter may quote a part of a password
            return beside("the server is not reached")

    return looked


def _look_at_embedded(case: Case) -> Verdict:
    if case.run.redis_url:
        return beside("the run uses a server of its user's")
    if case.run.cluster:
        fix = "set ENGRAM_REDIS_URL: a server that all hosts reach, not on Ray's port"
        return poor("none: an embedded server listens on loopback, where other hosts do not see it", fix)
    began = time.monotonic()
    server = EmbeddedStore(case.run.stream.budget, extra=relay_bytes(case.run))
    try:
        with connect(server.url) as client:
            version = cast(Any, client).info("server").get("valkey_version", "?")
    finally:
        server.stop()
    return fine(f"Valkey {version} starts and ends within {time.monotonic() - began:.1f} s")


@_of_the_users
def _look_at_server(case: Case) -> Verdict:
    url, stream = case.run.redis_url, case.run.stream
    try:
        check_server(url, budget=stream.budget, stream=f"doctor-{secrets.token_hex(4)}", durability=stream.durability)
    except ConfigError as error:
        said = error.allowed
        if said.startswith("does not answer"):
            return wrong(f"{error.value} {said}", _TRUST if "CERTIFICATE" in said else _START)
        said, _, fix = said.partition(": ")
        return wrong(f"{error.value} {said}", fix or _READ)
    with connect(url) as client:
        info = cast(Any, client).info("server")
    name, version = ("Valkey", info["valkey_version"]) if "valkey_version" in info else ("Redis", info["redis_version"])
    return fine(f"{name} {version} at {redact(url)} takes writes")


@_of_the_users
def _look_at_memory(case: Case) -> Verdict:
    with connect(case.run.redis_url) as client:
        info = cast(Any, client).info("memory")
    used, limit, policy = int(info["used_memory"]), int(info.get("maxmemory", 0)), info.get("maxmemory_policy", "?")
    wanted = case.run.stream.budget + relay_bytes(case.run)
    said = f"{policy}, {gib(used)} used of {gib(limit) if limit else 'no limit'}; the run takes {gib(wanted)}"
    if policy not in ("noeviction", "?"):
        return wrong(said, "CONFIG SET maxmemory-policy noeviction: a whole stream could vanish")
    if not limit:
        return poor(said, f"set maxmemory: above {gib(used + wanted)}, below what the host can spare")
    if limit < used + wanted:
        return wrong(said, f"raise maxmemory above {gib(used + wanted)}, or lower stream.budget")
    return fine(said)


@_of_the_users
def _look_at_persistence(case: Case) -> Verdict:
    with connect(case.run.redis_url) as client:
        info = cast(Any, client).info("persistence")
        saves = ""
        with contextlib.suppress(redis.ResponseError):  # managed services forbid CONFIG
            saves = str(cast(Any, client).config_get("save").get("save", ""))
    appends = bool(int(info.get("aof_enabled", 0)))
    wanted = case.run.stream.durability
    does = " and ".join(words for words, so in (("appends to a file", appends), ("saves itself", bool(saves))) if so)
    said = f"the server {does or 'keeps nothing'}; stream.durability = {wanted}"
    if info.get("rdb_last_bgsave_status") == "err":
        return wrong(f"{said}; its last save failed", "free its disk, or CONFIG SET save ''; it may refuse all writes")
    if wanted is Durability.AOF and not appends:
        return wrong(said, "CONFIG SET appendonly yes, and appendfsync everysec")
    if wanted is Durability.MEMORY and does:
        return poor(said, "CONFIG SET save '' and appendonly no: frames are written to disk for nobody")
    return fine(said)


@_of_the_users
def _look_at_latency(case: Case) -> Verdict:
    frame = secrets.token_bytes(case.run.world.image_size[0] * case.run.world.image_size[1] * 3)
    key = f"engram:doctor:{secrets.token_hex(8)}"
    with connect(case.run.redis_url) as client:
        asked: Any = client
        asked.ping()
        pings = sorted(_seconds(asked.ping) for _ in range(_PINGS))
        try:
            writes = sorted(_seconds(lambda: asked.xadd(key, {"data": frame}, maxlen=4)) for _ in range(_PINGS // 4))
            asked.expire(key, _SCRATCH)
        finally:
            asked.unlink(key)
    slowest = pings[int(0.99 * len(pings))]
    write, rate = median(writes), case.run.actors.total * case.run.actors.fps
    said = f"PING {_ms(median(pings))} (99 %: {_ms(slowest)}), a frame of {len(frame) // 1000} kB {_ms(write)}"
    if write * rate > 1:
        return wrong(f"{said}; {rate:g} frames a second come", "smaller frames, stream.codec jpeg, a nearer server")
    if slowest > _SLOW or write * rate > 0.5:
        return poor(said, "a nearer or less busy server; `redis-cli --latency` from here")
    return fine(said)


@_of_the_users
def _look_at_login(case: Case) -> Verdict:
    parts = urlsplit(case.run.redis_url)
    if parts.scheme == "unix":
        return fine("a socket file: its permissions decide")
    with connect(_anonymous(parts)) as client:
        pool: Any = client.connection_pool
        connection = pool.make_connection()  # the pool itself takes tickets of TLS for an answer that is left over
        try:
            connection.connect()
            connection.send_command("XLEN", "engram:doctor")
            connection.read_response()
        except (redis.AuthenticationError, NoPermissionError):
            return fine("who has no password is refused")
        except redis.ResponseError as error:
            return fine(f"who has no password is refused ({str(error).split()[0]})")
        finally:
            connection.disconnect()
    fix = "give it a password (`engram keys`), or requirepass; then protect the port"
    if is_local(case.run.redis_url):
        return poor("reads and writes without a password, for every user of this machine", fix)
    return wrong("reads and writes without a password, for everybody who reaches it", fix)


@_of_the_users
def _look_at_encryption(case: Case) -> Verdict:
    parts = urlsplit(case.run.redis_url)
    if is_plain(case.run.redis_url):
        return poor("password and pictures cross the network in the clear", "rediss:// (`engram keys`), or a VPN")
    if parts.scheme != "rediss":
        return beside("nothing leaves this machine")
    with connect(case.run.redis_url) as client:
        pool: Any = client.connection_pool
        connection = pool.get_connection()
        try:
            version, shown = connection._sock.version(), connection._sock.getpeercert() or {}
        finally:
            pool.release(connection)
    if "none" in parse_qs(parts.query).get("ssl_cert_reqs", []):
        return poor(f"{version}, its certificate unchecked", "ssl_ca_certs=… in the URL in place of ssl_cert_reqs=none")
    days = (ssl.cert_time_to_seconds(shown["notAfter"]) - time.time()) / 86400 if "notAfter" in shown else None
    if days is not None and days < _ENDS_SOON:
        return poor(f"{version}, its certificate ends in {days:.1f} days", "renew it (`engram keys`)")
    return fine(f"{version}, certificate checked" + (f", {days:.0f} days left" if days is not None else ""))


@_of_the_users
def _look_at_time(case: Case) -> Verdict:
    with connect(case.run.redis_url) as client:
        asked: Any = client
        tries = [_offset(asked.time) for _ in range(9)]
    offset, within = min(tries, key=lambda one: one[1])
    said = f"{_ms(offset)} from this machine's clock, known to {_ms(within)}"
    if abs(offset) - within > _SKEW:
        return poor(said, "a time service (chrony) on both hosts: latencies compare their clocks")
    return fine(said)


@_of_the_users
def _look_at_port(case: Case) -> Verdict:
    parts = urlsplit(case.run.redis_url)
    if parts.scheme == "unix" or (parts.port or RAYS_PORT) != RAYS_PORT:
        return beside("not Ray's")
    fix = "move Redis to 6380: `ray start --head` takes 6379 by default"
    if case.run.cluster and parts.hostname == urlsplit(f"//{case.run.cluster}").hostname:
        return wrong(f"{RAYS_PORT} on the cluster's head", fix)
    return poor(f"{RAYS_PORT}", fix)


def _anonymous(parts: SplitResult) -> str:
    """The same server without user and password, of which options of TLS stay."""
    options = "&".join(one for one in parts.query.split("&") if one.startswith("ssl_"))
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, options, ""))


def _seconds(what: Callable[[], object]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def _offset(ask: Callable[[], tuple[int, int]]) -> tuple[float, float]:
    """How far another clock is ahead, and half the time of the question: the error has no more."""
    before = time.time()
    seconds, micros = ask()
    after = time.time()
    return seconds + micros / 1e6 - (before + after) / 2, (after - before) / 2


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if abs(seconds) < 0.0995 else f"{seconds:.2f} s"


CHECKS = (
    Check(name="embedded server", look=_look_at_embedded),
    Check(name="redis", look=_look_at_server),
    Check(name="redis memory", look=_look_at_memory),
    Check(name="redis files", look=_look_at_persistence),
    Check(name="redis login", look=_look_at_login),
    Check(name="redis encryption", look=_look_at_encryption, needed=False),
    Check(name="redis latency", look=_look_at_latency),
    Check(name="redis clock", look=_look_at_time, needed=False),
    Check(name="redis port", look=_look_at_port),
)
