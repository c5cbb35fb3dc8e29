"""What a host says of itself: a small file on it, since one start command serves all hosts of a cluster.

    # ~/.config/pamiq-engram/host.yaml
    resources: {vrchat: 1}            # which parts may live here, and how many of each
    gpus: 1                           # what Ray finds by itself, unless given
    address: 192.168.1.11             # where the other hosts reach it
    environment: {DISPLAY: ":0"}      # of the desktop that is captured

A host without a file declares nothing.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self, cast

import yaml

from common.errors import ConfigError

HOST_VARIABLE = "ENGRAM_HOST_FILE"
"""Names the file where it lies elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """One host of a cluster, by its own word.

    Attributes:
        resources: Capacity by name: `vrchat` and `screen` for actors of these worlds, and any names of your own that
            `placement` asks for.
        cpus: CPUs that Ray may count on; None takes what it finds.
        gpus: GPUs likewise.
        objects: Bytes of Ray's object store; None takes Ray's choice.
        address: Where other hosts reach this one; empty takes Ray's choice.
        environment: Variables of all processes here.
    """

    resources: Mapping[str, float] = field(default_factory=dict[str, float])
    cpus: int | None = None
    gpus: int | None = None
    objects: int | None = None
    address: str = ""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def path(cls) -> Path:
        """Where this host's file is, or would be."""
        if given := os.environ.get(HOST_VARIABLE):
            return Path(given)
        return Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config")) / "pamiq-engram" / "host.yaml"

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads a host's file; one that does not exist declares nothing.

        Raises:
            ConfigError: It is no YAML mapping, or has a field or value that is not allowed.
        """
        try:
            content: Any = yaml.safe_load(path.read_text("utf-8"))
        except FileNotFoundError:
            return cls()
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError("host", str(path), f"cannot be read: {str(error).splitlines()[0]}") from None
        content = {} if content is None else content
        allowed = [item.name for item in fields(cls)]
        if not isinstance(content, dict):
            raise ConfigError("host", str(path), f"must be a mapping of {', '.join(allowed)}")
        values = cast(dict[str, Any], content)
        for name, value in values.items():
            if name not in allowed:
                raise ConfigError(f"host.{name}", value, f"is unknown in {path}; allowed are {', '.join(allowed)}")
            if wrong := _wrong(name, value):
                raise ConfigError(f"host.{name}", value, f"{wrong} ({path})")
        return cls(**values)


def _wrong(name: str, value: Any) -> str:
    """What is wrong with a value of a host's file; nothing where it is right."""
    match name:
        case "address":
            return "" if isinstance(value, str) else "must be a host's name or address"
        case "resources":
            return "" if _maps(value, _is_capacity) else "must map names to numbers above 0"
        case "environment":
            return "" if _maps(value, lambda text: isinstance(text, str)) else "must map names to texts in quotes"
        case _:
            return "" if type(value) is int and value >= 0 else "must be a whole number from 0"


def _maps(value: Any, fits: Callable[[Any], bool]) -> bool:
    if not isinstance(value, dict):
        return False
    return all(isinstance(key, str) and fits(one) for key, one in cast(dict[Any, Any], value).items())


def _is_capacity(value: Any) -> bool:
    return type(value) in (int, float) and value > 0
