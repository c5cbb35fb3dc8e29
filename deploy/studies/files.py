"""Studies as YAML files, and those that come with the program."""

import re
from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from math import isfinite, nan
from pathlib import Path
from typing import Any, cast

import yaml

from common.config.presets import PRESETS
from common.config.run import flatten
from common.errors import ConfigError
from common.recording import Recording
from deploy.studies.pace import Match
from deploy.studies.plan import IID, Axis, Study, Variant

SCHEMA = 2
HERE = Path(__file__).parent / "presets"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+×-]{0,63}")
_PATHS = ("recording", "videos")
_TEXTS = {"title", "question", "preset", "digest", "bound", "reference"}


class _EachOnce(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping: YAML's last one wins, and a condition would be gone."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [str(self.construct_object(key, deep=True)) for key, _ in node.value]  # pyright: ignore[reportUnknownMemberType]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands here twice", node.start_mark)
        return super().construct_mapping(node, deep)


def presets() -> dict[str, list[str]]:
    """Lists the scales of each study that comes with the program, by its name."""
    found: dict[str, list[str]] = {}
    for path in sorted(HERE.glob("*.yaml")):
        name, _, scale = path.stem.partition(".")
        found.setdefault(name, []).append(scale)
    return found


def find(word: str, scale: str) -> Path:
    """Finds the file that is meant: one on disk, or a study of the program's own at a scale.

    Raises:
        ConfigError: There is neither.
    """
    if Path(word).is_file():
        return Path(word)
    if scale in presets().get(word, []):
        return HERE / f"{word}.{scale}.yaml"
    known = "; ".join(f"{name} ({', '.join(scales)})" for name, scales in presets().items())
    raise ConfigError("study", f"{word} --scale {scale}", f"must be a YAML file, or one of {known}")


def load(path: Path) -> Study:
    """Reads a study, and builds the configuration of every condition to see that it can be.

    Paths in it are relative to the file.

    Raises:
        ConfigError: A field is unknown, missing or impossible.
    """
    try:
        content: Any = _EachOnce(path.read_text("utf-8")).get_single_data()
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError("study", str(path), f"cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or cast(dict[str, Any], content).pop("v", None) != SCHEMA:
        raise ConfigError("study", str(path), f"must be a study of schema {SCHEMA}: `v: {SCHEMA}`")
    given = cast(dict[str, Any], content)
    known = {item.name for item in fields(Study)} - {"source"}
    if wrong := sorted(given.keys() - known):
        raise ConfigError(
            f"study.{wrong[0]}", given[wrong[0]], f"unknown field; allowed are {', '.join(sorted(known))}"
        )
    given["name"] = _name("study.name", given.get("name", path.stem.partition(".")[0]))
    _read_plain(given, path.parent)
    if given.get("preset", "demo") not in PRESETS:
        raise ConfigError("study.preset", given["preset"], f"must be one of {', '.join(PRESETS)}")
    try:
        given["match"] = Match(given.get("match", Match.STEPS))
    except ValueError:
        raise ConfigError("study.match", given["match"], f"must be one of {', '.join(Match)}") from None
    given["rate"] = _number("study.rate", given.get("rate", 0.0))
    given["gpus"] = _number("study.gpus", given.get("gpus", 0.0))
    given["seeds"] = _seeds(given.get("seeds", [0, 1, 2]))
    given["base"] = _mapping("study.base", given.get("base"))
    axes = _mapping("study.axes", given.get("axes"))
    given["axes"] = tuple(_axis(name, axis) for name, axis in axes.items())
    given["source"] = _source(given.get("recording"), given.get("videos"))
    variants = _mapping("study.variants", given.get("variants"))
    given["variants"] = tuple(_variant(name, changes) for name, changes in variants.items())
    study = Study(**given)
    for variant in study.conditions:
        config = study.config(variant, study.seeds[0])
        for axis in study.axes:
            axis.number(config)
    return study


def _read_plain(given: dict[str, Any], folder: Path) -> None:
    """Reads paths, texts and the stream's seed in their places."""
    for name in _PATHS:
        if given.get(name) is not None:
            given[name] = folder / _text(name, given[name])
            if given[name] == folder:
                raise ConfigError(f"study.{name}", "", "must be a path, relative to the file")
    for name in _TEXTS & given.keys():
        given[name] = _text(name, given[name] or "")
    seed = given.get("stream_seed", 0)
    if type(seed) is not int or seed < 0:
        raise ConfigError("study.stream_seed", seed, "must be a whole number from 0")


def _source(recording: Path | None, videos: Path | None) -> dict[str, Any]:
    """What a stream that is there already decides of the configuration."""
    if videos is not None:
        if not videos.exists():
            raise ConfigError("study.videos", str(videos), "must be a video, or a folder of videos")
        return {"world.kind": "video", "world.worlds": [videos.name], "world.placebo_worlds": [], "actors.count": 1}
    if recording is None:
        return {}
    found = Recording(recording)
    recorded, counted = found.config(), found.counted
    if recorded is None:
        raise ConfigError("study.recording", str(recording), "does not say how it was made")
    actors = max(1, len(counted.actors))
    leaves = flatten(recorded)
    decided = {
        name: _as_in_yaml(value)
        for name, value in leaves.items()
        if name.startswith("world.") or name in ("actors.fps", "stream.experience", "stream.withhold")
    }
    salt = recorded.stream.salt or f"seed-{recorded.seed}"
    duration = counted.data / (recorded.actors.fps * actors)
    return {**decided, "actors.count": actors, "stream.salt": salt, "duration": duration}


def _as_in_yaml(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(cast("tuple[Any, ...]", value))
    return str(value) if isinstance(value, StrEnum) else value


def _axis(name: str, content: Any) -> Axis:
    where = f"study.axes.{name}"
    given = _mapping(where, content)
    known = {item.name for item in fields(Axis)} - {"name"}
    if wrong := sorted(given.keys() - known):
        raise ConfigError(f"{where}.{wrong[0]}", given[wrong[0]], f"unknown; allowed are {', '.join(sorted(known))}")
    levels = _mapping(f"{where}.levels", given.get("levels"))
    if not levels:
        raise ConfigError(f"{where}.levels", given.get("levels"), "must be at least one, each with what it changes")
    given["levels"] = {_name(f"{where}.levels", level): _mapping(where, changes) for level, changes in levels.items()}
    for level, changes in given["levels"].items():
        _check_iid(f"{where}.levels.{level}", changes.get(IID, False))
    if not isinstance(given.get("log", False), bool):
        raise ConfigError(f"{where}.log", given["log"], "must be true or false")
    for item in ("value", "label", "unit"):
        given[item] = _text(f"axes.{name}.{item}", given.get(item) or "")
    return Axis(name=_name(where, name), **given)


def _variant(name: Any, content: Any) -> Variant:
    changes = dict(_mapping(f"study.variants.{name}", content))
    iid = changes.pop(IID, False)
    _check_iid(f"study.variants.{name}", iid)
    return Variant(name=_name("study.variants", name), levels={}, changes=changes, iid=iid)


def _check_iid(where: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ConfigError(f"{where}.{IID}", value, "must be true or false")


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigError(f"study.{name}", value, "must be text")
    return str(value)


def _name(where: str, name: Any) -> str:
    if not isinstance(name, str | int | float) or not _NAME.fullmatch(str(name)):
        raise ConfigError(where, name, "names are up to 64 letters, digits and . _ + × -: they name folders")
    return str(name)


def _mapping(where: str, content: Any) -> dict[str, Any]:
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise ConfigError(where, content, "must be a mapping")
    for name in cast("Mapping[Any, Any]", content):
        if isinstance(name, bool) or not isinstance(name, str | int | float):
            raise ConfigError(where, name, "is no name: put it in quotes, as YAML takes it for something else")
    return {str(name): value for name, value in cast("Mapping[Any, Any]", content).items()}


def _number(where: str, value: Any) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = nan
    if isinstance(value, bool) or not isfinite(found) or found < 0:
        raise ConfigError(where, value, "must be a number, at least 0")
    return found


def _seeds(value: Any) -> tuple[int, ...]:
    if isinstance(value, int) and not isinstance(value, bool):
        return tuple(range(value))
    found = cast("list[Any]", value) if isinstance(value, list) else []
    seeds = [seed for seed in found if isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0]
    if not seeds or len(seeds) < len(found):
        raise ConfigError("study.seeds", value, "must be a list of numbers from 0, or how many")
    return tuple(seeds)
