"""What a command begins with: a preset, a file, or an earlier run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common.config import RunConfig
from common.config.files import from_yaml
from common.config.presets import preset
from common.errors import ConfigError
from common.options import take_option
from learner.checkpoint import Checkpoint


def starting_point(words: Sequence[str]) -> tuple[list[str], RunConfig]:
    """Finds `--config` or `--preset` before the fields are parsed, since they decide their defaults.

    Returns:
        The other words, and the configuration that they change.
    """
    rest, file = take_option(words, "--config")
    rest, name = take_option(rest, "--preset")
    for option, more in (
        ("--config", take_option(rest, "--config")[1]),
        ("--preset", take_option(rest, "--preset")[1]),
    ):
        if more is not None:
            raise ConfigError(option.lstrip("-"), more, "must be given once")
    if file is None:
        return rest, preset("demo" if name is None else name)
    if name is not None:
        raise ConfigError("preset", name, "cannot be combined with --config, which decides every field")
    return rest, replace(from_yaml(Path(file)), run_dir="")


def saved_run(run_dir: Path) -> tuple[RunConfig, Checkpoint]:
    """Reads a run's configuration and its newest checkpoint."""
    from learner import checkpoint as checkpoints

    if not run_dir.is_dir():
        raise ConfigError("run_dir", str(run_dir), "is no folder: give the run directory of an earlier run")
    config = from_yaml(run_dir / "config.yaml")
    newest = checkpoints.latest(run_dir / "checkpoints")
    if newest is None:
        raise ConfigError("run_dir", str(run_dir), "holds no complete checkpoint: start a new run")
    return config, checkpoints.load(newest)
