"""A study as it is written down: which conditions are compared, on which streams, with which seeds.

    base ─┬─ axes: product of their levels ─┐
          └─ variants: by name ─────────────┴─► Variant × seed ─► Trial: one configuration on one recording

The stream's own fields (worlds, actors, duration) may be conditions too: each distinct set of them is one recording,
made with the stream's seed, whatever the seed of the learner. So trials on one recording are paired.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, reduce
from hashlib import blake2b
from itertools import combinations, product
from pathlib import Path
from typing import Any

import torch

from common.config import RunConfig
from common.config.files import with_values
from common.config.presets import preset
from common.config.run import flatten
from common.errors import ConfigError
from common.ijepa.model import IJepa
from deploy.studies.pace import Match

PARAMETERS = "parameters"
"""What an axis may be drawn over that is no field: the encoder's parameters."""
IID = "iid"
_LONGEST = 200
_STREAM = ("duration", "world.", "actors.count", "actors.fps", "actors.agent", "actors.script", "stream.experience")
"""Fields that decide what a stream is."""
_BETWEEN = "-"

type Changes = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Conditions that differ in one respect.

    Attributes:
        name: One word.
        levels: Changes to the configuration, by the level's name.
        value: Where a level's number comes from: a dotted field, or `parameters`; empty where levels are no numbers.
        label: What stands beside the axis of a figure.
        unit: Of the number.
        log: Whether the number is shown on a logarithmic scale.
    """

    name: str
    levels: Mapping[str, Changes]
    value: str = ""
    label: str = ""
    unit: str = ""
    log: bool = False

    @property
    def fields(self) -> set[str]:
        """What its levels change."""
        return {name for changes in self.levels.values() for name in changes}

    def number(self, config: RunConfig) -> float | None:
        """The number of a configuration on this axis; None where levels are no numbers."""
        if not self.value:
            return None
        if self.value == PARAMETERS:
            return float(encoder_parameters(config))
        try:
            return float(reduce(getattr, self.value.split("."), config))
        except (AttributeError, TypeError, ValueError):
            allowed = f"must be `{PARAMETERS}`, or a field that is a number"
            raise ConfigError(f"study.axes.{self.name}.value", self.value, allowed) from None


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One condition.

    Attributes:
        name: Its name, usable as that of a folder.
        levels: Level on each axis; empty for one beside the axes.
        changes: What it changes in the base.
        iid: It has the whole stream before its first step: a bound.
    """

    name: str
    levels: Mapping[str, str]
    changes: Changes
    iid: bool = False


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run of a study.

    Attributes:
        study: Name of the study.
        variant: Its condition.
        seed: Seed of initialisation, masks, sampling.
        config: All of its configuration.
        recording: Folder of its stream.
        numbers: Number on each axis that has numbers.
        match: What trials have in common.
        rate: Operations a second that `Match.CLOCK` grants.
        digest: Checksum of the stream; empty where it is not known yet.
    """

    study: str
    variant: Variant
    seed: int
    config: RunConfig
    recording: Path
    numbers: Mapping[str, float]
    match: Match
    rate: float
    digest: str = ""

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.variant.name}-s{self.seed}"


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is compared; `deploy.studies.files` reads it.

    Attributes:
        name: One word.
        title: One line.
        question: What it is to find out.
        preset: Configuration that everything begins with.
        base: Fields that all trials change, by dotted path.
        axes: Their levels are combined, each with each.
        variants: Conditions beside those.
        seeds: Each condition is run with each.
        match: Optimiser steps, or time.
        rate: Operations a second, for `Match.CLOCK`.
        stream_seed: Seed of worlds, actors and what is withheld, where the study makes its recordings.
        recording: One that is there already, in place of those.
        videos: A video or a folder of videos that is made into one.
        source: Fields that such a stream decides.
        digest: Checksum that the recording must have; empty for any.
        bound: Name of the i.i.d. condition that gains are held against.
        reference: Name of the condition that the others are compared with.
        gpus: GPUs of a trial, or a part of one.
    """

    name: str
    title: str = ""
    question: str = ""
    preset: str = "demo"
    base: Changes = field(default_factory=dict[str, Any])
    axes: tuple[Axis, ...] = ()
    variants: tuple[Variant, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    match: Match = Match.STEPS
    rate: float = 0.0
    stream_seed: int = 100
    recording: Path | None = None
    videos: Path | None = None
    source: Changes = field(default_factory=dict[str, Any])
    digest: str = ""
    bound: str = ""
    reference: str = ""
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if not self.conditions:
            raise ConfigError("study.axes", len(self.axes), "a study needs levels on its axes, or variants")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError("study.seeds", list(self.seeds), "must be at least one seed, each once")
        if (self.match is Match.CLOCK) != (self.rate > 0):
            allowed = "must be above 0 with `match: clock`, operations a second, and be left out with `match: steps`"
            raise ConfigError("study.rate", self.rate, allowed)
        if self.recording is not None and self.videos is not None:
            raise ConfigError("study.videos", str(self.videos), "stands in place of a recording: give one of both")
        self._check_names()
        self._check_axes()
        self._check_changes()

    def _check_names(self) -> None:
        names = [variant.name for variant in self.conditions]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError("study.variants", twice[0], "each condition must have a name of its own")
        if long := [name for name in names if len(name) > _LONGEST]:
            raise ConfigError("study.axes", long[0], f"names of levels make folders of more than {_LONGEST} letters")
        known = {variant.name: variant for variant in self.conditions}
        for role, name in (("bound", self.bound), ("reference", self.reference)):
            if name and name not in known:
                raise ConfigError(f"study.{role}", name, f"must be one of {', '.join(known)}")
        if self.bound and not known[self.bound].iid:
            raise ConfigError("study.bound", self.bound, "must be a condition with `iid: true`")

    def _check_axes(self) -> None:
        for axis, other in combinations(self.axes, 2):
            if twice := sorted(axis.fields & other.fields):
                allowed = f"is changed by the axis {other.name} too: one of both would have no effect"
                raise ConfigError(f"study.axes.{axis.name}", twice[0], allowed)

    def _check_changes(self) -> None:
        for where, changes in (("base", self.base), *((one.name, one.changes) for one in self.conditions)):
            if "seed" in changes:
                raise ConfigError(f"{where}: seed", changes["seed"], "seeds of the learner stand in `seeds`")
            if decided := sorted(changes.keys() & self.source.keys()):
                allowed = f"is decided by the stream, {self.recording or self.videos}"
                raise ConfigError(f"{where}: {decided[0]}", changes[decided[0]], allowed)

    @property
    def given(self) -> bool:
        """Whether the stream is one that is there already."""
        return self.recording is not None or self.videos is not None

    @cached_property
    def conditions(self) -> tuple[Variant, ...]:
        """All conditions: the product of the axes, then those beside them."""
        return (*self._grid(), *self.variants)

    def _grid(self) -> Iterator[Variant]:
        if not self.axes:
            return
        for levels in product(*(axis.levels for axis in self.axes)):
            chosen = dict(zip((axis.name for axis in self.axes), levels, strict=True))
            changes = {
                name: value for axis in self.axes for name, value in axis.levels[chosen[axis.name]].items()
            }  # fmt: skip
            iid = bool(changes.pop(IID, False))
            yield Variant(name=_BETWEEN.join(levels), levels=chosen, changes=changes, iid=iid)

    def config(self, variant: Variant, seed: int) -> RunConfig:
        """Builds the configuration of a trial.

        Raises:
            ConfigError: A field is unknown or impossible, or an axis has no number; the condition is named.
        """
        salt = f"seed-{self.stream_seed}"
        try:
            values = {"stream.salt": salt, **self.base, **variant.changes, **self.source}
            changed = with_values(preset(self.preset), values)
            config = replace(changed, seed=seed)
        except ConfigError as error:
            raise ConfigError(f"{variant.name}: {error.field}", error.value, error.allowed) from None
        if config.learner.ranks > 1:
            raise ConfigError(f"{variant.name}: learner.ranks", config.learner.ranks, "must be 1 in a study")
        if not config.duration and not self.given:
            raise ConfigError(f"{variant.name}: duration", config.duration, "must be above 0: a stream needs an end")
        return config

    def stream(self, variant: Variant) -> RunConfig:
        """The configuration that the stream of a condition is lived with."""
        return self.config(variant, self.stream_seed)

    def trials(self, recordings: Path) -> list[Trial]:
        """Lists all trials, seed by seed, so that a study that is stopped early has compared something.

        Args:
            recordings: Folder of the recordings that the study makes.

        Raises:
            ConfigError: A condition's configuration is not possible.
        """
        found: list[Trial] = []
        for seed in self.seeds:
            for variant in self.conditions:
                config = self.config(variant, seed)
                found.append(
                    Trial(
                        study=self.name,
                        variant=variant,
                        seed=seed,
                        config=config,
                        recording=self.recording or recordings / f"{self.stream_name(variant)}.rec",
                        numbers=self._numbers(variant, config),
                        match=self.match,
                        rate=self.rate,
                    )
                )
        return found

    def _numbers(self, variant: Variant, config: RunConfig) -> dict[str, float]:
        if not variant.levels:
            return {}
        found = {axis.name: axis.number(config) for axis in self.axes}
        return {name: number for name, number in found.items() if number is not None}

    def stream_name(self, variant: Variant) -> str:
        """Names the recording of a condition by what decides it."""
        leaves = flatten(self.stream(variant))
        deciding = {name: str(value) for name, value in leaves.items() if name == "seed" or _of_stream(name)}
        if self.videos is not None:
            files = [self.videos] if self.videos.is_file() else sorted(self.videos.rglob("*"))
            deciding["videos"] = str([(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files])
        digest = blake2b(json.dumps(deciding, sort_keys=True).encode(), digest_size=6).hexdigest()
        return f"{self.videos.stem}-{digest}" if self.videos is not None else digest


@lru_cache(maxsize=256)
def encoder_parameters(config: RunConfig) -> int:
    """Counts the parameters of one encoder, exactly."""
    with torch.device("meta"):
        encoder = IJepa(config.learner.model, config.world.image_size).context_encoder
    return sum(parameter.numel() for parameter in encoder.parameters())


def _of_stream(name: str) -> bool:
    return name.startswith(_STREAM)
