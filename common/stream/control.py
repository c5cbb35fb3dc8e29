"""What hosts outside Ray must know of a run, kept beside its frames: the configuration, and whether to go on.

    driver ── configuration (YAML), phase, seconds stood still ─► Redis ◄── RunFollower ── actor on another host
    actor on another host ── its status, once a second ─► Redis ◄── driver

All of it is plain data of bounded size, checked field by field as it is read.
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
from common.status import ActorStatus, WriterCounts
from common.stream.keys import StreamKeys

_LONGEST = 64 * 1024
"""Bytes of a configuration, or of a status."""


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


def announce_run(client: redis.Redis, keys: StreamKeys, run: RunConfig) -> None:
    """Writes down what the run is made of; no address or password is in it.

    Raises:
        redis.RedisError: The server does not answer.
    """
    client.set(keys.run, to_yaml(run).encode())


def read_run(client: redis.Redis, keys: StreamKeys) -> RunConfig:
    """Reads what the run is made of.

    Raises:
        ConfigError: There is no such run, or its configuration is none that this version knows.
        redis.RedisError: The server does not answer.
    """
    written = cast("bytes | None", client.getrange(keys.run, 0, _LONGEST)) or b""
    if not written or len(written) > _LONGEST:
        raise ConfigError("stream", keys.stream, "is no stream of a run that takes actors from other hosts")
    try:
        content: Any = yaml.safe_load(written.decode())
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError):
        raise ConfigError("stream", keys.stream, "holds no readable configuration") from None
    return from_content(content, f"the configuration of {keys.stream}")


def runs_on(client: redis.Redis) -> list[str]:
    """Lists the streams on a server that take actors from other hosts.

    Raises:
        redis.RedisError: The server does not answer.
    """
    found = cast(Any, client).scan_iter(match=StreamKeys("*").run, count=1000)
    names = [key.decode(errors="replace") for key in cast("list[bytes]", list(found))]
    return sorted(name.removeprefix("engram:").removesuffix(":run") for name in names)


def announce(client: redis.Redis, keys: StreamKeys, control: Control) -> None:
    """Writes down what is wanted.

    Raises:
        redis.RedisError: The server does not answer.
    """
    packed = cast(
        bytes, cast(Any, msgpack).packb([str(control.phase), float(control.stood), control.generation, time.time_ns()])
    )
    client.set(keys.control, packed)


def read_control(client: redis.Redis, keys: StreamKeys) -> Control | None:
    """Reads what is wanted; None where nothing is said.

    Raises:
        WireError: It is none.
        redis.RedisError: The server does not answer.
    """
    written = cast("bytes | None", client.getrange(keys.control, 0, _LONGEST)) or b""
    if not written:
        return None
    match _unpacked(written):
        case [str(phase), float(stood), int(generation), int(told_ns)] if phase in set(Phase) and stood >= 0:
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
    if not all(isinstance(name, str) and type(count) is int for name, count in numbers.items()):
        raise WireError("is no mapping of names to numbers")
    return cast(dict[str, int], numbers)
