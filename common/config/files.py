"""Configurations as YAML: what a run resolved to, ready to be run again."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

import yaml

from common.config.run import RunConfig
from common.errors import ConfigError

SCHEMA = 1


def to_yaml(config: RunConfig) -> str:
    """Writes a configuration; the Redis URL, which may hold a password, is left out."""
    content = _plain(replace(config, redis_url=""))
    return yaml.safe_dump({"v": SCHEMA, **content}, sort_keys=False, allow_unicode=True, width=120)


def from_yaml(path: Path) -> RunConfig:
    """Reads a configuration back, checking every field.

    Raises:
        ConfigError: The file is missing, no YAML of this schema, or holds a field or value that is not allowed.
    """
    try:
        content: Any = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError("config", str(path), f"cannot be read: {str(error).splitlines()[0]}") from None
    return from_content(content, str(path))


def from_content(content: Any, where: str) -> RunConfig:
    """Makes a configuration of what YAML holds.

    Args:
        content: What was read.
        where: Where it was read, for the message.

    Raises:
        ConfigError: It is of another schema, or holds a field or value that is not allowed.
    """
    if not isinstance(content, dict) or cast(dict[str, Any], content).pop("v", None) != SCHEMA:
        raise ConfigError("config", where, f"must be a configuration of schema {SCHEMA}")
    return _build(RunConfig, cast(dict[str, Any], content), "")


def with_values(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """Changes fields by dotted path.

    Args:
        config: What to begin with.
        values: New values as YAML has them: `{"learner.optim.lr": 1e-3}`.

    Raises:
        ConfigError: There is no such field, or it cannot have this value.
    """
    content = _plain(config)
    for path, value in values.items():
        *groups, name = path.split(".")
        group: Any = content
        for part in groups:
            group = cast(dict[str, Any], group).get(part) if isinstance(group, dict) else None
        if not isinstance(group, dict) or name not in group:
            raise ConfigError(path, value, "is no field of the configuration")
        cast(dict[str, Any], group)[name] = value
    return _build(RunConfig, content, "")


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in cast(tuple[Any, ...], value)]
    return value


def _build[T](kind: type[T], content: dict[str, Any], prefix: str) -> T:
    hints = get_type_hints(kind)
    hints.pop("GROUP")
    if unknown := content.keys() - hints.keys():
        name = sorted(unknown)[0]
        raise ConfigError(f"{prefix}{name}", content[name], f"unknown field; allowed are {', '.join(hints)}")
    return kind(**{name: _value(hints[name], value, f"{prefix}{name}") for name, value in content.items()})


def _value(hint: Any, value: Any, name: str) -> Any:
    hint = getattr(hint, "__value__", hint)  # a `type` alias stands for its value
    if get_args(hint) and hasattr(hint, "__metadata__"):
        hint = get_args(hint)[0]
    if is_dataclass(hint):
        if not isinstance(value, dict):
            raise ConfigError(name, value, "must be a group of fields")
        return _build(cast(type[Any], hint), cast(dict[str, Any], value), f"{name}.")
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ConfigError(name, value, "must be a list")
        inner = get_args(hint)
        items = cast(list[Any], value)
        if inner[-1] is not Ellipsis and len(items) != len(inner):
            raise ConfigError(name, value, f"must be a list of {len(inner)}")
        return tuple(_value(inner[0], item, name) for item in items)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        try:
            return hint(value)
        except ValueError:
            raise ConfigError(name, value, f"must be one of {', '.join(hint)}") from None
    assert not isinstance(hint, UnionType), f"{name}: unions have no place in a configuration"
    if not isinstance(value, int | float if hint is float else hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(name, value, f"must be of type {hint.__name__}")
    return float(value) if hint is float else value
