"""What hosts outside Ray must know of a run, kept beside its frames: the configuration, and whether to go on.

    driver ── configuration (YAML), phase, seconds stood still ─► Redis ◄── RunFollower ── actor on another host
    actor on another host ── its status, once a second ─► Redis ◄── driver

All of it is plain data of bounded size, checked field by field as it is read. Where the run has a key, configuration
and commands are signed: nobody else can send an actor into another world, or stop it.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, cast

import msgpack
import redis
import yaml

from common.config import RunConfig
from common.config.files import from_content, to_yaml
from common.curiosity.status import CuriosityStatus
from common.errors import ConfigError, WireError
from common.signing import KEY_VARIABLE, Signer
from common.status import ActorStatus, WriterCounts
from common.stream.keys import StreamKeys
from common.wire import checked_name

_LONGEST = 64 * 1024
"""Bytes of a configuration, or of a status."""
_SIGNED = b"# sig: "
"""Begins a configuration's last line, which is its signature: a comment to YAML."""


_MARKS = {"[": 64, "{": 64, "-": 2048, "?": 64}
"""How often marks that nest may stand in a configuration."""
_MOST = 1024
"""Names in one mapping of a status: each becomes a line of metrics."""


class Phase(StrEnum):
    """What is wanted of every part."""

    RUNNING = "running"
    PAUSED = "paused"
    ENDED = "ended"


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """What the driver wants.

    Attributes:
        phase: Of the whole run.
        stood: Seconds that the run has stood still so far.
        generation: Grows by one at each change of phase.
        told_ns: When the driver said so last, ns since the epoch by its own clock: one that says nothing is gone.
    """

    phase: Phase
    stood: float = 0.0
    generation: int = 0
    told_ns: int = 0


def announce_run(client: redis.Redis, keys: StreamKeys, run: RunConfig, key: bytes | None = None) -> None:
    """Writes down what the run is made of; no address or password is in it.

    Args:
        client: The server.
        keys: Names of the stream's keys.
        run: The run.
        key: Key to sign with; that of this process by default, and none where it has none. The others as here.

    Raises:
        redis.RedisError: The server does not answer.
    """
    text, signer = to_yaml(run).encode(), Signer.of(keys.stream, key)
    signed = _SIGNED + signer.message("run", text).hex().encode() + b"\n" if signer else b""
    client.set(keys.run, text + signed)


def read_run(client: redis.Redis, keys: StreamKeys) -> RunConfig:
    """Reads what the run is made of.

    Raises:
        ConfigError: There is no such run, its configuration is none that this version knows, or it is not signed with
            the key of this process.
        redis.RedisError: The server does not answer.
    """
    written = cast("bytes | None", client.getrange(keys.run, 0, _LONGEST)) or b""
    if not written or len(written) > _LONGEST:
        raise ConfigError("stream", keys.stream, "is no stream of a run that takes actors from other hosts")
    written = _unsigned(written, keys)
    try:
        text = written.decode()
        # What refers to itself has no end, and nested brackets take the parser the square of their number.
        if any(text.count(mark) > _MARKS[mark] for mark in _MARKS) or any(
            isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)
        ):
            raise ConfigError("stream", keys.stream, "holds no configuration that a run writes")
        content: Any = yaml.safe_load(text)
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError):
        raise ConfigError("stream", keys.stream, "holds no readable configuration") from None
    return from_content(content, f"the configuration of {keys.stream}")


def _unsigned(written: bytes, keys: StreamKeys) -> bytes:
    """A configuration without its signature, once that is checked."""
    text, mark, signature = written.rpartition(_SIGNED)
    signer = Signer.of(keys.stream)
    if signer is None and not mark:
        return written
    if signer is None:
        raise ConfigError("stream", keys.stream, f"is signed: set {KEY_VARIABLE} to the run's key, or its _FILE")
    try:
        given = bytes.fromhex(signature.decode()) if mark else b""
    except ValueError:
        given = b""
    if not signer.said("run", text, given):
        wrong = "is signed with another key than" if mark else "is not signed, as it must be with"
        raise ConfigError("stream", keys.stream, f"{wrong} the one of {KEY_VARIABLE}")
    return text


def runs_on(client: redis.Redis) -> list[str]:
    """Lists the streams on a server that take actors from other hosts.

    Raises:
        redis.RedisError: The server does not answer.
    """
    found = cast(Any, client).scan_iter(match=StreamKeys("*").run, count=1000)
    names = [key.removeprefix(b"engram:").removesuffix(b":run") for key in cast("list[bytes]", list(found))]
    return sorted(checked_name("stream", name) for name in names if _is_name(name))


def _is_name(name: bytes) -> bool:
    try:
        return bool(checked_name("stream", name))
    except WireError:
        return False


def announce(client: redis.Redis, keys: StreamKeys, control: Control, key: bytes | None = None) -> None:
    """Writes down what is wanted, signed as the configuration is.

    Raises:
        redis.RedisError: The server does not answer.
    """
    said = [str(control.phase), float(control.stood), control.generation, time.time_ns()]
    packed = cast(bytes, cast(Any, msgpack).packb(said))
    if (signer := Signer.of(keys.stream, key)) is not None:
        packed = cast(bytes, cast(Any, msgpack).packb([*said, signer.message("control", packed)]))
    client.set(keys.control, packed)


def read_control(client: redis.Redis, keys: StreamKeys) -> Control | None:
    """Reads what is wanted; None where nothing is said.

    Raises:
        WireError: It is none, or is not signed with the key of this process.
        redis.RedisError: The server does not answer.
    """
    written = cast("bytes | None", client.getrange(keys.control, 0, _LONGEST)) or b""
    if not written:
        return None
    match _unpacked(written):
        case [str(phase), float(stood), int(generation), int(told_ns), *signed] if phase in set(Phase) and stood >= 0:
            signer = Signer.of(keys.stream)
            if signer is not None:
                said = cast(bytes, cast(Any, msgpack).packb([phase, stood, generation, told_ns]))
                given = signed[0] if len(signed) == 1 and isinstance(signed[0], bytes) else b""
                if not signer.said("control", said, given):
                    raise WireError("a command on the control channel is not signed with the run's key")
            return Control(phase=Phase(phase), stood=stood, generation=generation, told_ns=told_ns)
        case _:
            raise WireError("what the control channel holds is no command")


def tell_status(client: redis.Redis, keys: StreamKeys, status: ActorStatus) -> None:
    """Writes down how an actor on another host does.

    Raises:
        redis.RedisError: The server does not answer.
    """
    packed = cast(bytes, cast(Any, msgpack).packb({"t": time.time_ns(), **asdict(status)}))
    cast(Any, client).hset(keys.statuses, status.name, packed)


def read_statuses(client: redis.Redis, keys: StreamKeys) -> dict[str, tuple[int, ActorStatus]]:
    """Reads how actors on other hosts do, by name, and when they said so, ns by their own clocks.

    What is no status is left out.

    Raises:
        redis.RedisError: The server does not answer.
    """
    found: dict[str, tuple[int, ActorStatus]] = {}
    for name, packed in cast(dict[bytes, bytes], client.hgetall(keys.statuses)).items():
        try:
            content = _unpacked(packed)
            status = _status(content)
        except WireError:
            continue
        if status.name.encode() == name and type(content.get("t")) is int:
            found[status.name] = content["t"], status
    return found


def _unpacked(packed: bytes) -> Any:
    if len(packed) > _LONGEST:
        raise WireError(f"is of {len(packed)} bytes, more than {_LONGEST}")
    try:
        return cast(Any, msgpack).unpackb(packed)
    except (ValueError, msgpack.exceptions.UnpackException):
        raise WireError("is no msgpack") from None


def _status(content: Any) -> ActorStatus:
    """Makes a status of what was read, each value of the type that its field has."""
    if not isinstance(content, dict):
        raise WireError("is no status")
    given = cast(dict[Any, Any], content)
    blank = ActorStatus(name="")
    values: dict[str, Any] = {}
    for item in fields(ActorStatus):
        wanted, value = getattr(blank, item.name), given.get(item.name)
        if item.name == "curiosity":
            values[item.name] = None if value is None else _curiosity(value)
        elif isinstance(wanted, WriterCounts):
            values[item.name] = _counts(value)
        elif isinstance(wanted, Mapping):
            values[item.name] = _numbers(value)
        elif isinstance(value, str) and isinstance(wanted, str):
            values[item.name] = value and checked_name(item.name, value.encode(errors="replace"))
        elif type(value) is type(wanted):
            values[item.name] = value
        else:
            raise WireError(f"{item.name} has no value of its type")
    return ActorStatus(**values)


def _curiosity(content: Any) -> CuriosityStatus:
    match content:
        case {
            "steps": int(steps),
            "reward": float(reward),
            "entropy": float(entropy),
            "value": float(value),
            "errors": [*errors],
            "persistence": [*persistence],
        } if all(type(one) is float for one in (*errors, *persistence)):
            return CuriosityStatus(
                steps=steps,
                reward=reward,
                entropy=entropy,
                value=value,
                errors=tuple(cast(list[float], errors)),
                persistence=tuple(cast(list[float], persistence)),
            )
        case _:
            raise WireError("curiosity is none")


def _counts(content: Any) -> WriterCounts:
    match content:
        case {"captured": int(captured), "written": int(written), "dropped": dropped, "spooled": int(spooled)}:
            return WriterCounts(captured=captured, written=written, dropped=_numbers(dropped), spooled=spooled)
        case _:
            raise WireError("counts are none")


def _numbers(content: Any) -> dict[str, int]:
    if not isinstance(content, dict):
        raise WireError("is no mapping")
    numbers = cast(dict[Any, Any], content)
    if len(numbers) > _MOST or not all(isinstance(name, str) and type(count) is int for name, count in numbers.items()):
        raise WireError(f"is no mapping of at most {_MOST} names to numbers")
    for name in numbers:
        checked_name("name", name.encode(errors="replace"))
    return cast(dict[str, int], numbers)
