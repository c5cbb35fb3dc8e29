"""A cohort's file: who learns from one stream, and in what they differ.

v: 1
acting: small                       whose weights act; the first by default
base: {actors.fps: 10}              fields of the configuration, for all
members:
small: {learner.model.dim: 96}    fields of learner, evaluator and seed, for one
large: {learner.model.dim: 192, gpu: 0.5}
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self, cast

import yaml

from common.cohort import NAME
from common.config import RunConfig
from common.config.files import from_yaml, with_values
from common.errors import ConfigError
from common.exposure import ExposureRule

SCHEMA = 1
FILE = "cohort.yaml"
"""What a run directory holds where its run is a cohort's."""
FOLDER = "members"
"""Below the run directory: the run directories of the members that do not act."""
SHARE = "gpu"
_OWN = ("learner.", "evaluator.")
"""What members may differ in, besides the seed."""


@dataclass(frozen=True, kw_only=True)
class Enrolment:
    """A cohort that is ready to run.

    Attributes:
        acting: Name of the member whose weights act.
        run: Its configuration, which is that of the run.
        others: Configurations of the others by name.
        gpus: What each member takes of a GPU, by name; NaN for an equal part of what is left.
    """

    acting: str
    run: RunConfig
    others: Mapping[str, RunConfig]
    gpus: Mapping[str, float]

    def write(self) -> str:
        """Writes what the run directory must hold beside the configurations, YAML."""
        given = {name: share for name, share in self.gpus.items() if math.isfinite(share)}
        members = {name: {SHARE: given[name]} if name in given else {} for name in (self.acting, *self.others)}
        return yaml.safe_dump({"v": SCHEMA, "acting": self.acting, "members": members}, sort_keys=False)

    @classmethod
    def read(cls, run: RunConfig) -> Self | None:
        """Reads a cohort that has run before; None where its run directory is that of a plain run.

        Args:
            run: The run's configuration, as it is to go on.

        Raises:
            ConfigError: The file is damaged, or a member's configuration is.
        """
        if not (run.path / FILE).exists():
            return None
        plan = Plan.load(run.path / FILE)
        others = {name: from_yaml(folder_of(run, name) / "config.yaml") for name in plan.members if name != plan.acting}
        here = {name: replace(other, run_dir=str(folder_of(run, name))) for name, other in others.items()}
        return cls(acting=plan.acting, run=run, others=here, gpus=plan.gpus)


def folder_of(run: RunConfig, member: str) -> Path:
    """The run directory of a member that does not act."""
    return run.path / FOLDER / member


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a cohort's file says.

    Attributes:
        acting: Name of the member whose weights act; empty for the first.
        base: Fields of the configuration that all change, by dotted path.
        members: By name, fields that this one changes.
    """

    acting: str = ""
    base: Mapping[str, Any] = field(default_factory=dict[str, Any])
    members: Mapping[str, Mapping[str, Any]]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads a cohort's YAML file.

        Raises:
            ConfigError: A field is unknown, missing or impossible; named by member.
        """
        try:
            content: Any = yaml.safe_load(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError("cohort", str(path), f"cannot be read: {str(error).splitlines()[0]}") from None
        if not isinstance(content, dict) or cast(dict[str, Any], content).pop("v", None) != SCHEMA:
            raise ConfigError("cohort", str(path), f"must be a cohort of schema {SCHEMA}: `v: {SCHEMA}`")
        given = cast(dict[str, Any], content)
        known = {item.name for item in fields(cls)}
        if wrong := sorted(map(str, given.keys() - known)):
            raise ConfigError(f"cohort.{wrong[0]}", given.get(wrong[0]), f"fields are v, {', '.join(sorted(known))}")
        base, members = _group("base", given.get("base")), _group("members", given.get("members"))
        plan = cls(
            acting=str(given.get("acting") or next(iter(members), "")),
            base=base,
            members={name: _group(f"members.{name}", changes) for name, changes in members.items()},
        )
        plan.check()
        return plan

    def check(self) -> None:
        """Makes sure that there are members, that they have names, and that they differ in nothing of the stream's.

        Raises:
            ConfigError: They do not.
        """
        if len(self.members) < 2:
            allowed = "must be at least 2: `engram run` trains one"
            raise ConfigError("cohort.members", len(self.members), allowed)
        seen: dict[str, str] = {}
        for name, changes in self.members.items():
            if not NAME.fullmatch(name):
                allowed = "must be 1 to 32 letters, digits, _ and -, the first of them no sign: it names a folder"
                raise ConfigError("cohort.members", name, allowed)
            if (twin := seen.setdefault(name.lower(), name)) != name:
                raise ConfigError("cohort.members", name, f"must differ from {twin} in more than capitals")
            for path, value in changes.items():
                if path == SHARE:
                    _check_share(name, value)
                elif path != "seed" and not path.startswith(_OWN):
                    allowed = "is the stream's, for all: set it in base; members differ in learner.*, evaluator.*, seed"
                    raise ConfigError(f"{name}: {path}", value, f"{allowed} and {SHARE}")
        if self.acting not in self.members:
            raise ConfigError("cohort.acting", self.acting, f"must be a member: {', '.join(self.members)}")

    @property
    def gpus(self) -> dict[str, float]:
        """What each member takes of a GPU, by name; NaN for an equal part of what is left."""
        return {name: float(changes.get(SHARE, math.nan)) for name, changes in self.members.items()}

    def start(self, config: RunConfig) -> RunConfig:
        """Changes what all members change.

        Raises:
            ConfigError: There is no such field, or it cannot have this value.
        """
        try:
            return with_values(config, self.base)
        except ConfigError as error:
            raise ConfigError(f"base: {error.field}", error.value, error.allowed) from None

    def enrol(self, config: RunConfig) -> Enrolment:
        """Makes the configuration of each member.

        Args:
            config: What all have in common, flags of the command line included.

        Raises:
            ConfigError: A field is unknown or impossible, or would make members train on different frames; named by
                member.
        """
        made = {name: self._member(config, name) for name in self.members}
        rule = ExposureRule.of(made[self.acting])
        common = replace(config.stream, salt=rule.salt)
        made = {
            name: replace(run, stream=common, run_dir=str(folder_of(config, name)), redis_url="")
            for name, run in made.items()
        }
        acting = replace(made.pop(self.acting), run_dir=config.run_dir, redis_url=config.redis_url)
        return Enrolment(acting=self.acting, run=acting, others=made, gpus=self.gpus)

    def _member(self, config: RunConfig, name: str) -> RunConfig:
        changes = {path: value for path, value in self.members[name].items() if path != SHARE}
        try:
            run = with_values(config, changes)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error.field}", error.value, error.allowed) from None
        replay = run.learner.replay
        for path, value, wanted, why in (
            ("learner.ranks", run.learner.ranks, 1, "each member trains in one process"),
            ("learner.replay.max_staleness", replay.max_staleness, 0, "all members admit the same frames"),
            ("learner.replay.staleness_half_life", replay.staleness_half_life, 0, "the weights that act are not all's"),
        ):
            if value != wanted:
                raise ConfigError(f"{name}: {path}", value, f"must be {wanted} in a cohort: {why}")
        return run


def _group(name: str, value: Any) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise ConfigError(f"cohort.{name}", value, "must be a group of fields, by name")
    return {str(key): item for key, item in cast(dict[Any, Any], value or {}).items()}


def _check_share(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ConfigError(f"{name}: {SHARE}", value, "must be a share of a GPU, above 0 and at most 1")
